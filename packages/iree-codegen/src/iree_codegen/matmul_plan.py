"""Which products ``matmul`` takes and how it lays them out: roles of loops and factors, tile, form of B."""

from __future__ import annotations

from typing import Any

from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.contraction import Root, direct_access, find_root, operand_forms, product_operands
from iree_codegen.cost_model import Core, Product, Schedule, choose_schedule
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.indexing import Affine
from iree_codegen.packing import panel_parameters
from iree_codegen.tiles import Tile, choose_tile
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.types import f32

PACKED, ROWS, SCRATCH = "packed", "rows", "scratch"
"""Forms of B: panels in the artefact, rows read in place, panels packed into scratch."""
MAX_PANEL = 1 << 20
"""Largest panel (bytes) packed in scratch."""


@record
class Operand:
    """How a factor is addressed: elements of an argument, linear in the loops."""

    binding: Binding
    address: Affine


@record
class MatmulPlan:
    root: Root
    m: int | None
    """Loop over rows; None when there is one row."""
    n: int
    batch: list[int]
    k: list[int]
    a_operand: int
    b_operand: int
    a: Operand | None
    """None: computed, packed row by row."""
    b: Operand | None
    layout: str
    """Of B: ``PACKED``, ``ROWS`` or ``SCRATCH``."""
    tile: Tile
    lanes: int
    masked: bool = False
    """B's rows may be shorter than a tile: loads of the last panel are masked."""
    schedule: Schedule = field(default_factory=Schedule)
    """What a workgroup does in which order; settled with ``layout``."""

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.tile.vectors * self.lanes

    @property
    def rows(self) -> Dim:
        return 1 if self.m is None else self.root.extents[self.m]

    @property
    def columns(self) -> Dim:
        return self.root.extents[self.n]

    @property
    def whole_panels(self) -> bool:
        """True when the last panel is known to be as wide as the others."""
        return isinstance(self.columns, int) and self.columns % self.width == 0

    @property
    def depth(self) -> Dim:
        return dim_ops.total([self.root.extents[i] for i in self.k])

    @property
    def element_bytes(self) -> int:
        return 4 if self.root.op.outputs[0].type.element_type is f32 else 8

    @property
    def fits_scratch(self) -> bool:
        """True when a panel of B can be packed in scratch."""
        depth = self.depth
        return isinstance(depth, int) and depth * self.width * self.element_bytes <= MAX_PANEL


def is_product(op: Any) -> bool:
    """A sum of products with a plain result; operands may be indexed by windows."""
    return product_operands(op) is not None and op.indexing_maps[op.n_inputs].is_projected_permutation


def plan_matmul(dispatch: Dispatch, description: WorkgroupDescription) -> MatmulPlan | None:
    """The plan, the same when constants are laid out and when code is generated."""
    if description.vector_bits < 128:
        return None
    root = find_root(dispatch, is_product)
    if root is None:
        return None
    element = root.op.outputs[0].type.element_type
    lanes = description.vector_bits // (32 if element is f32 else 64)
    n = _column_loop(root, lanes)
    if n is None:
        return None
    maps = root.op.indexing_maps
    used = [frozenset().union(*[e.dims_used() for e in m.results]) for m in maps]
    a_operand, b_operand = (0, 1) if n in used[1] else (1, 0)
    if n in used[a_operand]:
        return None
    parallel = [i for i in root.op.parallel_dims if root.extents[i] != 1]
    rows = [i for i in parallel if i in used[a_operand] and i not in used[b_operand]]
    m = max(rows, key=lambda i: (dim_ops.nominal(root.extents[i]), _order(root, i))) if rows else None
    batch = [i for i in parallel if i not in (m, n)]
    if any(i not in used[a_operand] and i not in used[b_operand] for i in batch):
        return None
    k = list(root.op.reduction_dims)
    extents = root.extents
    columns = extents[n]
    if columns == 1 or any(extent == 0 for extent in extents):
        return None
    if any(i not in used[0] or i not in used[1] for i in k):
        return None
    a = direct_operand(dispatch, root, a_operand)
    b = direct_operand(dispatch, root, b_operand)
    layout = _layout(root, dispatch, n, k, b_operand, b, lanes)
    depth = dim_ops.total([extents[i] for i in k])
    if a is None and not isinstance(depth, int):
        return None
    n_rows = extents[m] if m is not None else 1
    tile = choose_tile(
        n_rows if isinstance(n_rows, int) else None,
        -(-columns // lanes) if isinstance(columns, int) else None,
        depth if isinstance(depth, int) else 256,
        description.registers,
        unaligned=layout == ROWS and not (isinstance(columns, int) and columns % lanes == 0),
    )
    plan = MatmulPlan(root, m, n, batch, k, a_operand, b_operand, a, b, layout, tile, lanes)
    read_rows_in_place(plan, description)
    if plan.layout == SCRATCH and not plan.fits_scratch:
        return None
    return plan


def read_rows_in_place(plan: MatmulPlan, description: WorkgroupDescription) -> None:
    """Settle how rows of B that may be shorter than a tile are read (under masks, or packed where the target
    has none and scratch suffices), and with it the schedule."""
    if plan.layout == ROWS and not plan.whole_panels:
        plan.masked = description.masks or not (isinstance(plan.columns, int) and plan.columns >= plan.width)
        if not description.masks and plan.masked and plan.fits_scratch:
            plan.layout, plan.masked = SCRATCH, False
    plan.schedule = _schedule(plan, description)


def _schedule(plan: MatmulPlan, description: WorkgroupDescription) -> Schedule:
    rows, columns, depth = plan.rows, plan.columns, plan.depth
    product = Product(
        rows if isinstance(rows, int) else None,
        columns if isinstance(columns, int) else None,
        depth if isinstance(depth, int) else None,
        plan.tile.rows,
        plan.tile.vectors,
        computed=plan.a is None,
        chunks=plan.layout == PACKED and len([i for i in plan.k if plan.root.extents[i] != 1]) == 1,
        one_panel=plan.layout == SCRATCH,
    )
    return choose_schedule(product, Core.of(description, plan.lanes, plan.element_bytes))


def epilogue_cost(dispatch: Dispatch, root: Root) -> int:
    """Rough instructions per vector of what is done with the product."""
    cost = len(dispatch.results)
    for op in root.epilogue:
        if isinstance(op, StructuredOp):
            cost += op.n_inputs
            cost += sum(20 if inner.name.startswith("math.") else 1 for inner in op.body)
    return cost


def _order(root: Root, loop: int) -> int:
    """Position of a parallel loop among the result's dims."""
    return root.result_vars.index(root.vars[loop]) if root.vars[loop] in root.result_vars else -1


def _column_loop(root: Root, lanes: int) -> int | None:
    """The loop along which vectors run: the one the result is contiguous along, unless it is much shorter
    than a vector and the next one is not (interleaved results, such as those of transposed convolutions)."""
    found: list[int] = []
    for var, dim in zip(reversed(root.result_vars), reversed(root.result_dims), strict=True):
        if dim != 1 and var in root.vars:
            found.append(root.vars.index(var))
    if not found:
        parallel = root.op.parallel_dims
        return parallel[-1] if parallel else None
    extents = [root.extents[i] for i in found]
    short = isinstance(extents[0], int) and 2 * extents[0] <= lanes
    if short and len(found) > 1 and dim_ops.nominal(extents[1]) >= lanes:
        return found[1]
    return found[0]


def direct_operand(dispatch: Dispatch, root: Root, number: int) -> Operand | None:
    """The factor as elements of an argument at a linear address; None when it is computed."""
    found = direct_access(dispatch, root.op.operands[number], operand_forms(root, number))
    if found is None:
        return None
    binding = dispatch.binding_of(found[0])
    if binding is None:
        return None
    address = indexing.linearize(found[1], binding.dims)
    if any(v.definition is not None or v not in root.vars for v, _ in address.terms):
        return None
    return Operand(binding, address)


def _layout(
    root: Root, dispatch: Dispatch, n: int, k: list[int], number: int, b: Operand | None, lanes: int
) -> str:
    if b is None:
        return SCRATCH
    if b.binding.constant and panel_axes(root, b, n, k) is not None:
        return PACKED
    if b.address.coefficient(root.vars[n]) == 1 or root.extents[n] == 1:
        return ROWS
    return SCRATCH


def panel_axes(root: Root, b: Operand, n: int, k: list[int]) -> tuple[list[int], list[int], int] | None:
    """(axes of other loops, axes of the reduction loops, axis of the columns) of B's argument."""
    strides = dim_ops.strides(b.binding.dims)
    axis_of: dict[int, int] = {}
    for loop, var in enumerate(root.vars):
        coefficient = b.address.coefficient(var)
        if coefficient == 0:
            continue
        axes = [
            i
            for i, (s, d) in enumerate(zip(strides, b.binding.dims, strict=True))
            if s == coefficient and d != 1
        ]
        if len(axes) != 1 or root.extents[loop] != b.binding.dims[axes[0]]:
            return None
        axis_of[loop] = axes[0]
    if b.address.constant != 0 or not all(isinstance(d, int) for d in b.binding.dims):
        return None
    used = [i for i, d in enumerate(b.binding.dims) if d != 1]
    if sorted(axis_of.values()) != used:
        return None
    if n not in axis_of and root.extents[n] != 1:
        return None
    units = [i for i, d in enumerate(b.binding.dims) if d == 1]
    outer = [axis_of[i] for i in range(len(root.vars)) if i in axis_of and i != n and i not in k]
    inner = [axis_of[i] for i in k if i in axis_of]
    if n in axis_of:
        columns = axis_of[n]
    elif units:
        columns = units.pop()
    else:
        return None
    return [*units, *outer], inner, columns


def panel_layout(plan: MatmulPlan) -> tuple[int, dict[str, Any]] | None:
    """(argument, parameters of the panel transform) that this plan wants."""
    if plan.layout != PACKED or plan.b is None:
        return None
    axes = panel_axes(plan.root, plan.b, plan.n, plan.k)
    assert axes is not None
    parameters = panel_parameters(axes[0], axes[1], axes[2], plan.width)
    return plan.b.binding.argument, parameters
