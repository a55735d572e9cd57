"""What an attention reads and writes, and the tiles in which the strategy ``attention`` does it.

Queries run along lanes: a block of ``vectors * lanes`` of them, transposed once, meets keys and values that
are read in place, one broadcast element a multiply-add, whatever their strides. Scores of a chunk of keys are
a slab ``[keys][queries]`` that stays in the L1 cache.
"""

from __future__ import annotations

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.dialects import linalg
from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, f32, i1

SLAB_BYTES = 24 << 10
"""Scores of a chunk of keys: half of an L1 cache, the rest is for the values they meet."""
MOST_VECTORS = 3
"""Vectors of queries in a block, at most."""


@record(frozen=True)
class Operand:
    """Elements of an argument at an address linear in the loops over rows, keys, depth and width."""

    binding: Binding
    address: Affine

    def step(self, var: Var | None) -> Dim:
        return 0 if var is None else self.address.coefficient(var)


@record
class AttentionRoles:
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

    @property
    def n_rows(self) -> Dim:
        return 1 if self.row is None else self.extents[self.vars.index(self.row)]

    @property
    def n_keys(self) -> Dim:
        return self.extents[self.vars.index(self.key)]

    @property
    def n_heads(self) -> Dim:
        return dim_ops.total([self.extents[i] for i in self.batch])

    def size(self, var: Var) -> int:
        """The extent of a loop that must be static: depth or width."""
        extent = self.extents[self.vars.index(var)]
        assert isinstance(extent, int)
        return extent


@record
class AttentionPlan(AttentionRoles):
    """How queries are taken along lanes."""

    lanes: int
    registers: int
    vectors: int
    """Vectors of queries in a block."""

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


@record(frozen=True)
class Head:
    """Where the operands of one head lie."""

    roles: AttentionRoles
    at: Bindings

    @staticmethod
    def numbered(k: KernelBuilder, roles: AttentionRoles, number: Index) -> Head:
        """Head ``number`` of the batch."""
        batch = [(roles.vars[i], roles.extents[i]) for i in roles.batch]
        return Head(roles, Bindings(k, dict.fromkeys(roles.vars, 0)).numbered(number, batch))

    def address(self, operand: Operand, **places: Index) -> Index:
        """Where the element of an operand at ``row``, ``key``, ``depth``, ``width`` (0) is."""
        roles = self.roles
        own = {"row": roles.row, "key": roles.key, "depth": roles.depth, "width": roles.width}
        values = {var: place for name, place in places.items() if (var := own[name]) is not None}
        return self.at.child(values).scalar(operand.address)


def find_attention(
    dispatch: Dispatch, description: WorkgroupDescription, *, narrow: bool = False
) -> AttentionRoles | None:
    """The roles in a dispatch that is one attention in f32 on its arguments; None for any other.

    The result may be rounded as it is stored, with ``narrow`` query, key and value may come as bf16.
    """
    attentions = [op for op in dispatch.ops if isinstance(op, Attention)]
    if len(attentions) != 1 or len(dispatch.results) != 1 or description.vector_bits < 128:
        return None
    op = attentions[0]
    result, destination = dispatch.results[0]
    if result is not op.results[0] and converted(result, "arith.truncf") is not op.results[0]:
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
    row = max(rows, key=lambda i: dim_ops.nominal(extents[i]), default=None)
    inner = {vars[i] for i in (row, keys, depth, width) if i is not None}

    def elements(binding: Binding | None, map: AffineMap) -> Operand | None:
        return None if binding is None else _elements(binding, map, vars, inner)

    query, key, values = (
        elements(dispatch.binding_of(_source(value) if narrow else value), map)
        for value, map in zip(op.inputs[:3], op.indexing_maps[:3], strict=True)
    )
    output = elements(destination, op.indexing_maps[-1])
    if query is None or key is None or values is None or output is None:
        return None
    mask = None
    if op.mask is not None:
        mask = elements(dispatch.binding_of(op.mask), op.indexing_maps[-2])
        if mask is None:
            return None
    batch = tuple(i for i in (*loops.batch, *loops.rows) if i != row and extents[i] != 1)
    return AttentionRoles(
        op, vars, extents, batch, None if row is None else vars[row], vars[keys], vars[depth], vars[width],
        query, key, values, mask, output,
    )  # fmt: skip


def converted(value: Value, cast: str) -> Value | None:
    """What ``value`` is made from by that conversion, element by element; None when it is not."""
    op = value.defining_op
    if not isinstance(op, linalg.Generic) or len(op.inputs) != 1:
        return None
    inner = op.body.terminator.operands[0].defining_op
    own = inner is not None and inner.name == cast and inner.operands[0] is op.body.args[0]
    plain = all(m.is_identity for m in op.indexing_maps)
    return op.inputs[0] if own and plain else None


def _source(value: Value) -> Value:
    """``value`` as it is stored: bf16 that is widened counts as the f32 that it is."""
    source = converted(value, "arith.extf")
    return source if source is not None and source.type.element_type is bf16 else value


def plan_attention(dispatch: Dispatch, description: WorkgroupDescription) -> AttentionPlan | None:
    """The plan of a dispatch that is one attention on its arguments; None for any other."""
    roles = find_attention(dispatch, description)
    if roles is None:
        return None
    lanes = description.vector_bits // 32
    vectors = _vectors(roles.n_rows, lanes, description.registers)
    return AttentionPlan(**vars(roles), lanes=lanes, registers=description.registers, vectors=vectors)


def _vectors(n_rows: Dim, lanes: int, registers: int) -> int:
    """Vectors of queries in a block: two, or three where blocks of two would leave a lone vector."""
    if not isinstance(n_rows, int):
        return 2
    total = -(-n_rows // lanes)
    if total % 2 and total > 1 and total % MOST_VECTORS == 0 and registers >= 32:
        return MOST_VECTORS
    return min(2, total)


def _elements(binding: Binding, map: AffineMap, vars: tuple[Var, ...], inner: set[Var]) -> Operand | None:
    """What ``map`` reads of an argument; None when its address is not linear in ``inner``."""
    if binding.packed is not None:
        return None
    forms = [indexing.ZERO if v.extent == 1 else indexing.of(v) for v in vars]
    address = indexing.linearize([indexing.apply(e, forms) for e in map.results], binding.dims)
    if any(_hides(v, inner) for v, _ in address.terms):
        return None
    return Operand(binding, address)


def _hides(var: Var, inner: set[Var]) -> bool:
    """True when one of ``inner`` occurs in a quotient or remainder."""
    if var.definition is None:
        return False
    return any(v in inner or _hides(v, inner) for v, _ in var.definition[1].terms)
