"""Which attentions the strategy ``attention`` takes, and the tiles it does them in.

Queries run along lanes: a block of ``vectors * lanes`` of them, transposed once, meets keys and values that
are read in place, one broadcast element a multiply-add, whatever their strides. Scores of a chunk of keys are
a slab ``[keys][queries]`` that stays in the L1 cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iree_codegen import indexing
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.indexing import Affine, Var
from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, i1

SLAB_BYTES = 24 << 10
"""Scores of a chunk of keys: half of an L1 cache, the rest is for the values they meet."""
MOST_VECTORS = 3
"""Vectors of queries in a block, at most."""


@dataclass(frozen=True)
class Operand:
    """Elements of an argument at an address linear in the loops over rows, keys, depth and width."""

    binding: Binding
    address: Affine

    def step(self, var: Var | None) -> Dim:
        return 0 if var is None else self.address.coefficient(var)


@dataclass
class AttentionPlan:
    """Roles of loops and operands; ``row`` is None when there is one query."""

    op: Attention
    vars: tuple[Var, ...]
    extents: tuple[Dim, ...]
    batch: tuple[int, ...]
    row: Var | None
    key: Var
    depth: Var
    width: Var
    query: Operand
    keys: Operand
    values: Operand
    mask: Operand | None
    output: Operand
    lanes: int
    registers: int
    vectors: int
    """Vectors of queries in a block."""

    @property
    def n_rows(self) -> Dim:
        return 1 if self.row is None else self.extents[self.vars.index(self.row)]

    @property
    def n_keys(self) -> Dim:
        return self.extents[self.vars.index(self.key)]

    def size(self, var: Var) -> int:
        """The extent of a loop that must be static: depth or width."""
        extent = self.extents[self.vars.index(var)]
        assert isinstance(extent, int)
        return extent

    def tile_rows(self, vectors: int, total: Dim) -> int:
        """Rows of the register tile for ``total`` of them: as large as registers allow, evenly split."""
        most = min(28, (self.registers - 1 - vectors) // vectors)
        if not isinstance(total, int):
            return most
        return -(-total // -(-total // most))

    @property
    def chunk(self) -> int:
        """Keys whose scores are there at once."""
        most: int = max(self.lanes, SLAB_BYTES // (self.vectors * self.lanes * 4))
        if not isinstance(self.n_keys, int) or self.op.causal is not None:
            return most
        return -(-self.n_keys // -(-self.n_keys // most))


def plan_attention(dispatch: Dispatch, description: Any) -> AttentionPlan | None:
    """The plan of a dispatch that is one attention on its arguments; None for any other."""
    attentions = [op for op in dispatch.ops if isinstance(op, Attention)]
    if len(attentions) != 1 or len(dispatch.results) != 1 or description.vector_bits < 128:
        return None
    op = attentions[0]
    if dispatch.results[0][0] is not op.results[0]:
        return None
    floats = [*op.inputs[:3], op.outputs[0]]
    if any(v.type.element_type is not f32 for v in floats) or op.inputs[3].type is not f32:
        return None
    if op.mask is not None and op.mask.type.element_type not in (f32, i1):
        return None
    extents = dispatch.loop_dims(op)
    loops = op.loops
    depth, width, keys = loops.depth[0], loops.width[0], loops.keys[0]
    if not isinstance(extents[depth], int) or not isinstance(extents[width], int):
        return None
    if any(extent == 0 for extent in extents):
        return None
    vars = tuple(Var(f"d{i}", extent) for i, extent in enumerate(extents))
    rows = [i for i in loops.rows if extents[i] != 1]
    row = max(rows, key=lambda i: _size(extents[i]), default=None)
    inner = {vars[i] for i in (row, keys, depth, width) if i is not None}
    operands: list[Operand | None] = []
    for number, value in enumerate((*op.inputs[:3], op.mask, op.results[0])):
        operands.append(None if value is None else _operand(dispatch, op, number, value, vars, inner))
    query, key, values, mask, output = operands
    if query is None or key is None or values is None or output is None:
        return None
    if op.mask is not None and mask is None:
        return None
    batch = tuple(i for i in (*loops.batch, *loops.rows) if i != row and extents[i] != 1)
    lanes: int = description.vector_bits // 32
    n_rows = extents[row] if row is not None else 1
    return AttentionPlan(
        op, vars, extents, batch, None if row is None else vars[row], vars[keys], vars[depth], vars[width],
        query, key, values, mask, output, lanes, description.registers,
        _vectors(n_rows, lanes, description.registers),
    )  # fmt: skip


def _size(extent: Dim) -> int:
    return extent if isinstance(extent, int) else 1 << 30


def _vectors(n_rows: Dim, lanes: int, registers: int) -> int:
    """Vectors of queries in a block: two, or three where blocks of two would leave a lone vector."""
    if not isinstance(n_rows, int):
        return 2
    total = -(-n_rows // lanes)
    if total % 2 and total > 1 and total % MOST_VECTORS == 0 and registers >= 32:
        return MOST_VECTORS
    return min(2, total)


def _operand(
    dispatch: Dispatch, op: Attention, number: int, value: Value, vars: tuple[Var, ...], inner: set[Var]
) -> Operand | None:
    """Operand ``number`` (3: mask, 4: output) as elements of an argument; None when it is computed."""
    if number == 4:
        binding: Binding | None = dispatch.results[0][1]
        map = op.indexing_maps[-1]
    else:
        binding = dispatch.binding_of(value)
        map = op.indexing_maps[number if number < 3 else 4]
    if binding is None or binding.packed is not None:
        return None
    forms = [indexing.ZERO if v.extent == 1 else indexing.of(v) for v in vars]
    own = [indexing.apply(e, forms) for e in map.results]
    address = indexing.linearize(own, binding.dims)
    if any(_hides(v, inner) for v, _ in address.terms):
        return None
    return Operand(binding, address)


def _hides(var: Var, inner: set[Var]) -> bool:
    """True when one of ``inner`` occurs in a quotient or remainder."""
    if var.definition is None:
        return False
    return any(v in inner or _hides(v, inner) for v, _ in var.definition[1].terms)
