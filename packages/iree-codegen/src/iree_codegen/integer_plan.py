"""Which products of 8-bit integers the integer strategies take: unsigned by constant signed, sums of i32."""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.contraction import Root, direct_access, find_root, operand_forms
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.integer_panels import GROUP, panel_parameters
from iree_codegen.matmul_plan import Operand, direct_operand, panel_axes
from iree_codegen.tiles import choose_tile
from iree_core_ir.ir.types import i8, i32

BLOCK_BYTES = 512 << 10
"""Rows of A that a worker keeps, at most: they stay in the L2 cache beside the panel at hand."""
GROUPS = 4
"""Workgroups that a product is cut into where rows alone give fewer, so that several workers share it."""
PANELS_PER_GROUP = 4
"""Panels that pay for copying the rows of A once more, at least."""


def is_integer_product(op: Any) -> bool:
    """``out + zext(a) * sext(b)`` of 8-bit elements in i32; operands may be indexed by windows."""
    if len(op.outputs) != 1 or op.n_inputs != 2 or op.outputs[0].type.element_type is not i32:
        return False
    if any(getattr(v.type, "element_type", None) is not i8 for v in op.inputs):
        return False
    if not op.indexing_maps[2].is_projected_permutation or len(list(op.body)) != 5:
        return False
    args = list(op.body.args)
    total = op.body.terminator.operands[0].defining_op
    if total is None or total.name != "arith.addi":
        return False
    for i in (0, 1):
        accumulator, product = total.operands[i], total.operands[1 - i].defining_op
        if accumulator is not args[2] or product is None or product.name != "arith.muli":
            continue
        kinds = {}
        for value in product.operands:
            extension = value.defining_op
            if extension is not None and extension.operands[0] in args:
                kinds[args.index(extension.operands[0])] = extension.name
        return kinds == {0: "arith.extui", 1: "arith.extsi"}
    return False


def weights_of(dispatch: Dispatch, root: Root) -> Binding | None:
    """The constant argument that holds the second factor; None when it is anything else."""
    found = direct_access(dispatch, root.op.operands[1], operand_forms(root, 1))
    binding = None if found is None else dispatch.binding_of(found[0])
    return binding if binding is not None and binding.constant else None


@record
class IntegerPlan:
    """A matrix product: sizes in elements."""

    root: Root
    m: int | None
    n: int
    k: list[int]
    b: Operand
    rows: int
    """Rows of a tile."""
    vectors: int
    lanes: int
    depth: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes

    @property
    def groups_of_four(self) -> int:
        return -(-self.depth // GROUP)

    @property
    def pitch(self) -> int:
        """Bytes from row to row of the copied A: an odd number of cache lines."""
        return 64 * (-(-self.depth // 64) | 1)

    @property
    def row_count(self) -> Dim:
        return 1 if self.m is None else self.root.extents[self.m]

    @property
    def columns(self) -> int:
        columns = self.root.extents[self.n]
        assert isinstance(columns, int)
        return columns

    @property
    def block(self) -> int:
        """Rows of A that a workgroup copies."""
        wanted = max(1, BLOCK_BYTES // (self.pitch * self.rows)) * self.rows
        count = self.row_count
        if not isinstance(count, int):
            return wanted
        tiles = -(-count // self.rows)
        blocks = -(-tiles * self.rows // wanted)
        return -(-tiles // blocks) * self.rows

    @property
    def blocks(self) -> Dim:
        return dim_ops.ceildiv(self.row_count, self.block)

    @property
    def panels(self) -> int:
        return -(-self.columns // self.width)

    @property
    def group(self) -> int:
        """Panels that one workgroup goes through."""
        blocks = self.blocks
        wanted = -(-GROUPS // blocks) if isinstance(blocks, int) and blocks else 1
        groups = max(1, min(wanted, self.panels // PANELS_PER_GROUP))
        return -(-self.panels // groups)


def plan_integers(dispatch: Dispatch, description: Any) -> IntegerPlan | None:
    """The plan, the same when constants are laid out and when code is generated."""
    if not description.integer_dots:
        return None
    root = find_root(dispatch, is_integer_product)
    if root is None:
        return None
    b = direct_operand(dispatch, root, 1)
    if b is None or not b.binding.constant:
        return None
    maps = root.op.indexing_maps
    if not maps[0].is_projected_permutation:
        return None
    of_a, of_b = (frozenset().union(*[e.dims_used() for e in m.results]) for m in maps[:2])
    parallel = [i for i in root.op.parallel_dims if root.extents[i] != 1]
    rows = [i for i in parallel if i in of_a and i not in of_b]
    columns = [i for i in parallel if i in of_b and i not in of_a]
    if len(columns) != 1 or len(rows) > 1 or len(parallel) != len(rows) + 1:
        return None
    n, m = columns[0], rows[0] if rows else None
    k = list(root.op.reduction_dims)
    extents = root.extents
    if any(e == 0 for e in extents) or not all(isinstance(extents[i], int) for i in (n, *k)):
        return None
    axes = panel_axes(root, b, n, k)
    if axes is None or any(b.binding.dims[axis] != 1 for axis in axes[0]):
        return None
    if root.contiguous is not root.vars[n]:
        return None
    depth = dim_ops.total([extents[i] for i in k])
    assert isinstance(depth, int)
    lanes = description.vector_bits // 32
    count = extents[m] if m is not None else 1
    tile = choose_tile(
        count if isinstance(count, int) else None,
        -(-int(extents[n]) // lanes),
        -(-depth // GROUP),
        description.registers,
    )
    return IntegerPlan(root, m, n, k, b, tile.rows, tile.vectors, lanes, depth)


def integer_layout(plan: IntegerPlan) -> tuple[int, dict[str, Any]]:
    """(argument, parameters of the layout) that this plan wants."""
    axes = panel_axes(plan.root, plan.b, plan.n, plan.k)
    assert axes is not None
    depth = [*axes[0], *axes[1]]
    return plan.b.binding.argument, panel_parameters(depth, axes[2], plan.width)
