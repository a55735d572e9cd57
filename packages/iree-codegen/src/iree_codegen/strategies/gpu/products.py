"""Contractions as GPU kernels see them: batches of ``rows x depth`` times ``depth x columns``.

Matrix products of any rank and convolutions become the same thing: every loop of the op belongs to one of
four flat loops. Columns are what the result is contiguous along, rows the other factor's own loops, depth
the reduction, batch what is left. A loop's index is an affine form of those (with quotients and remainders
where several loops lie in one), so addresses that run on over loops simplify to one step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.accesses import AccessWalker
from iree_codegen.contraction import Root, find_root
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.indexing import Affine, Var
from iree_codegen.strategies.gpu.factors import Computed, Direct, Factor, direct_factor
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, IntegerType, element_of, f32, i32

CASTS = frozenset({"arith.extf", "arith.extsi"})
WIDE_TILE = 128
MAX_WASTE = 1.1
"""Where tiles of ``WIDE_TILE`` columns would be so much more than there are, images of a batch lie side by
side."""
TRANSPOSE = "transpose"
"""The constant transform that lays weights out with their depth contiguous."""


@record(frozen=True)
class Depth:
    """The reduction in slabs: ``slab`` counts them, ``inner`` runs inside one; ``forms`` index the loops."""

    slab: Var
    inner: Var
    flat: Affine
    forms: dict[int, Affine]
    extent: Dim
    step: int

    @property
    def slabs(self) -> Dim:
        return dim_ops.ceildiv(self.extent, self.step)

    @property
    def is_exact(self) -> bool:
        """Every slab is full."""
        return isinstance(self.extent, int) and self.extent % self.step == 0


@record
class Product:
    """``result[batch, rows, columns] = epilogue(sum over depth of a[batch, rows, depth] * b[...])``."""

    dispatch: Dispatch
    root: Root
    batch_loops: list[int]
    row_loops: list[int]
    column_loops: list[int]
    depth_loops: list[int]
    a_operand: int
    b_operand: int
    batch: Var
    rows: Var
    columns: Var
    sum_type: Type
    """What products are summed in: f32, f64 or i32."""

    def __post_init__(self) -> None:
        self.forms: dict[int, Affine] = {}
        for var, loops in (
            (self.batch, self.batch_loops),
            (self.rows, self.row_loops),
            (self.columns, self.column_loops),
        ):
            extents = tuple(self.root.extents[i] for i in loops)
            for loop, form in zip(loops, indexing.delinearize(indexing.of(var), extents), strict=True):
                self.forms[loop] = form

    @property
    def value(self) -> Value:
        return self.root.value

    @property
    def depth_extent(self) -> Dim:
        return dim_ops.total([self.root.extents[i] for i in self.depth_loops])

    @property
    def sizes(self) -> tuple[Dim, Dim, Dim, Dim]:
        """Extents of batch, rows, columns and depth."""
        return extent(self.batch), extent(self.rows), extent(self.columns), self.depth_extent

    def element(self, operand: int) -> Type:
        """Element type of a factor in memory."""
        return element_of(self.root.op.operands[operand].type)

    def result_forms(self) -> tuple[Affine, ...]:
        """The results' indices as forms of batch, rows and columns."""
        by_var = {v: self.forms.get(i, indexing.ZERO) for i, v in enumerate(self.root.vars)}
        return tuple(by_var.get(v, indexing.ZERO) for v in self.root.result_vars)

    def depth(self, step: int) -> Depth:
        """The reduction in slabs of ``step``. Where the innermost loop is made of whole slabs, the others
        are constant in a slab."""
        extents = [self.root.extents[i] for i in self.depth_loops]
        total = dim_ops.total(extents)
        slab, inner = Var("slab", dim_ops.ceildiv(total, step)), Var("step", step)
        flat = indexing.of(slab).scaled(step) + indexing.of(inner)
        last = extents[-1]
        if isinstance(last, int) and last % step == 0:
            parts = indexing.delinearize(indexing.of(slab), (*extents[:-1], last // step))
            parts[-1] = parts[-1].scaled(step) + indexing.of(inner)
        else:
            parts = indexing.delinearize(flat, tuple(extents))
        return Depth(slab, inner, flat, dict(zip(self.depth_loops, parts, strict=True)), total, step)

    def factor(self, operand: int, depth: Depth) -> Factor | None:
        """How elements of a factor are read; None where reading them needs more than a condition."""
        forms = [
            indexing.ZERO if extent == 1 else self.forms[i] if i in self.forms else depth.forms[i]
            for i, extent in enumerate(self.root.extents)
        ]
        op = self.root.op
        own = tuple(indexing.apply(e, forms) for e in op.indexing_maps[operand].results)
        value = op.operands[operand]
        binding = self.dispatch.binding_of(value)
        if binding is not None and binding.packed is not None:
            return self._transposed_factor(binding, own)
        found = direct_factor(self.dispatch, value, own)
        if found is not None:
            return found
        walk = AccessWalker(self.dispatch, ()).walk(value, own)
        if any(inner.name in ("linalg_ext.gather", "linalg_ext.scatter") for inner in walk.ops):
            return None
        if any(isinstance(o, StructuredOp) and o.reduction_dims for o in walk.ops):
            return None
        return Computed(self.dispatch, value, own)

    def _transposed_factor(self, binding: Binding, forms: Sequence[Affine]) -> Factor | None:
        assert binding.packed is not None
        given = json.loads(binding.packed)
        if given["kind"] != TRANSPOSE:
            return None
        order = given["parameters"]["permutation"]
        dims = [binding.dims[i] for i in order]
        return Direct(binding, indexing.linearize([forms[i] for i in order], dims))


def extent(var: Var) -> Dim:
    """The extent of a flat loop, which all have."""
    assert var.extent is not None
    return var.extent


def sum_type(op: Any) -> Type | None:
    """The type that products are added up in, when the body is ``out + cast(a) * cast(b)``."""
    if len(op.outputs) != 1 or op.n_inputs < 2:
        return None
    block = op.body
    positions = op.body_arguments()
    arguments = {block.args[i]: p for i, p in enumerate(positions)}
    total = block.terminator.operands[0].defining_op
    if total is None or total.name not in ("arith.addf", "arith.addi"):
        return None
    n_ops = 3
    for i in (0, 1):
        accumulator, term = total.operands[i], total.operands[1 - i].defining_op
        if arguments.get(accumulator) != op.n_inputs or term is None:
            continue
        if term.name != total.name.replace("add", "mul"):
            continue
        factors = []
        for value in term.operands:
            inner = value.defining_op
            if inner is not None and inner.name in CASTS:
                n_ops += 1
                value = inner.operands[0]
            factors.append(arguments.get(value))
        if sorted(f for f in factors if f is not None) != [0, 1] or len(list(block)) != n_ops:
            continue
        return _sum_type(accumulator.type)
    return None


def _sum_type(type: Type) -> Type | None:
    """Halves are summed in f32 and rounded once."""
    if isinstance(type, FloatType):
        return f32 if type.width <= 32 else type
    return i32 if isinstance(type, IntegerType) and type.width == 32 else None


def _accepts(op: Any) -> bool:
    return sum_type(op) is not None and op.indexing_maps[op.n_inputs].is_projected_permutation


def find_product(dispatch: Dispatch) -> Product | None:
    """The contraction of a dispatch; None when it has none or more than elementwise ops around it."""
    root = find_root(dispatch, _accepts)
    if root is None or any(extent == 0 for extent in root.extents):
        return None
    if any(d != 1 and v not in root.vars for v, d in zip(root.result_vars, root.result_dims, strict=True)):
        return None
    used = [frozenset().union(*[e.dims_used() for e in m.results]) for m in root.op.indexing_maps]
    order = _result_order(root)
    if any(i not in used[0] and i not in used[1] for i in order):
        return None
    depth = [i for i in root.op.reduction_dims if root.extents[i] != 1]
    if not depth or any(i not in used[0] or i not in used[1] for i in depth):
        return None
    own = [[i for i in order if i in used[n] and i not in used[1 - n]] for n in (0, 1)]
    b_operand = _columns_operand(order, own)
    a_operand = 1 - b_operand
    columns = _columns(root, order, own[b_operand])
    rows = own[a_operand]
    batch = [i for i in order if i not in columns and i not in rows]
    kind = sum_type(root.op)
    assert kind is not None

    def flat(name: str, loops: Sequence[int]) -> Var:
        return Var(name, dim_ops.total([root.extents[i] for i in loops]))

    product = Product(
        dispatch, root, batch, rows, columns, depth, a_operand, b_operand, flat("batch", batch),
        flat("row", rows), flat("column", columns), kind,
    )  # fmt: skip
    product.depth_loops = _depth_order(product)
    return product


def _result_order(root: Root) -> list[int]:
    """The parallel loops with an extent, slowest of the result first."""
    loops = [i for i in root.op.parallel_dims if root.extents[i] != 1]
    return sorted(loops, key=lambda i: root.result_vars.index(root.vars[i]))


def _columns_operand(order: Sequence[int], own: Sequence[Sequence[int]]) -> int:
    """The factor whose own loops the result is contiguous along."""
    for loop in reversed(order):
        for number in (0, 1):
            if loop in own[number]:
                return number
    return 1


def _columns(root: Root, order: Sequence[int], own: Sequence[int]) -> list[int]:
    """The loops along which the result runs on; all of the factor's loops when those fill tiles badly."""
    found: list[int] = []
    for loop in reversed(order):
        if loop not in own:
            break
        found.insert(0, loop)
    total = dim_ops.total([root.extents[i] for i in found])
    if isinstance(total, int) and -(-total // WIDE_TILE) * WIDE_TILE > MAX_WASTE * total:
        return [i for i in order if i in own]
    return found


def _depth_order(product: Product) -> list[int]:
    """The reduction loops so that the factor with the simpler address is read along its memory."""
    loops = product.depth_loops
    if len(loops) == 1:
        return loops
    depth = product.depth(1)
    variables = {i: Var(f"k{i}", product.root.extents[i]) for i in loops}
    forms = {i: indexing.of(v) for i, v in variables.items()}
    probe = Depth(depth.slab, depth.inner, depth.flat, forms, depth.extent, 1)
    for operand in (product.a_operand, product.b_operand):
        factor = product.factor(operand, probe)
        if not isinstance(factor, Direct) or factor.bounds:
            continue
        steps = {i: factor.address.coefficient(v) for i, v in variables.items()}
        if all(isinstance(s, int) and s > 0 for s in steps.values()):
            return sorted(loops, key=lambda i: -_known(steps[i]))
    return loops


def _known(step: Dim) -> int:
    assert isinstance(step, int)
    return step


__all__ = ["TRANSPOSE", "Depth", "Product", "extent", "find_product", "sum_type"]
