"""Which products ``tile_matmul`` takes, and how they are cut into tiles, panels and blocks of rows.

A block of A's rows is converted to bf16 once, in worker scratch, and meets a group of B's panels.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.accesses import AccessWalker
from iree_codegen.contraction import MOVEMENT, Root, operand_forms
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.matmul_plan import MatmulPlan, Operand, panel_axes, plan_matmul
from iree_codegen.tile_kernel import LINE, WORDS
from iree_codegen.tile_panels import COLUMNS, DEPTH, ROWS, tile_panel_parameters
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import bf16, element_of, f32

PARTS = {"high": 2, "medium": 1}
"""``matmul_precision`` -> bf16 numbers that stand for an f32."""
BLOCK_BYTES = 1 << 20
"""Converted rows of A that a worker keeps, at most: they and the panels at hand stay in the L2 cache."""
SUMS_BYTES = 512 << 10
"""Sums that wait in worker scratch where the reduction is cut into chunks, at most."""
MOST_CHUNKS = 16
FEWEST_ROWS = 4
"""With fewer the weights' bytes bound a product, and two bf16 are as many as an f32."""
SHORTEST = 16
"""Products of fewer terms are not worth converting for."""
GROUPS = 2
"""Workgroups that a product is cut into where rows alone give fewer, so that several workers share it."""
MOST_PREFETCHED = 4
"""Lines that a product of tiles may ask for: more keep loads waiting."""
PANEL_BYTES = 48 << 10
"""The first cache of every machine with tiles: a panel that fits stays there while rows pass by."""
PANELS_PER_GROUP = 8
"""Panels that pay for converting the rows of A once more, at least."""


@record
class TilePlan:
    """Sizes are in elements."""

    base: MatmulPlan
    b: Operand
    rows: int
    """Rows of a tile."""
    row_tiles: int
    column_tiles: int
    parts: int
    depth: int
    apart: int
    """Rows from one tile of rows to the next: fewer than a tile's where there are too few for two."""
    narrow: Operand | None
    """A, where it is stored as bf16 and its rows serve as tiles where they lie."""

    @property
    def root(self) -> Root:
        return self.base.root

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return self.column_tiles * COLUMNS

    @property
    def step(self) -> int:
        """Rows that are multiplied at once."""
        return (self.row_tiles - 1) * self.apart + self.rows

    @property
    def share(self) -> int:
        """Rows of the tiles before that an iteration stores."""
        return -(-self.step // self.chunk)

    @property
    def n_steps(self) -> int:
        """Tiles along the reduction."""
        return -(-self.depth // DEPTH)

    @property
    def pitch(self) -> int:
        """From row to row of the converted A: an odd number of cache lines, so that rows use all sets."""
        return DEPTH * (self.chunk | 1)

    @property
    def chunk(self) -> int:
        """Tiles along the reduction that are gone through at once.

        Rows that do not fit the second cache would be taken in blocks, and the weights read for each. Where
        the sums of all rows can wait, the reduction is cut up instead.
        """
        rows, columns, steps = self.base.rows, self.base.columns, self.n_steps
        loops = [i for i in self.base.k if self.root.extents[i] != 1]
        if not isinstance(rows, int) or not isinstance(columns, int) or len(loops) != 1:
            return steps
        rows = -(-rows // self.step) * self.step
        waiting = rows * self.panels * self.width * 4
        for chunks in range(1, MOST_CHUNKS + 1):
            fits = rows * (steps // chunks | 1) * DEPTH * 2 * self.parts <= BLOCK_BYTES
            if steps % chunks == 0 and fits:
                return steps // chunks if chunks == 1 or waiting <= SUMS_BYTES else steps
        return steps

    @property
    def chunks(self) -> int:
        return self.n_steps // self.chunk

    @property
    def block(self) -> int:
        """Rows of A converted at once."""
        fitting = BLOCK_BYTES // (self.pitch * 2 * self.parts)
        wanted = max(self.step, fitting // self.step * self.step)
        extent = self.base.rows
        if not isinstance(extent, int):
            return wanted
        whole = -(-extent // self.step)
        blocks = -(-whole * self.step // wanted)
        return -(-whole // blocks) * self.step

    @property
    def blocks(self) -> Dim:
        return dim_ops.ceildiv(self.base.rows, self.block)

    @property
    def panels(self) -> int:
        columns = self.base.columns
        assert isinstance(columns, int)
        return -(-columns // self.width)

    @property
    def prefetched(self) -> int:
        """Cache lines of the next panel that a step asks for, so that the tiles of a block ask for all.

        Without tiles enough the panel is read faster than it comes in any case.
        """
        lines = self.parts * self.column_tiles * WORDS // LINE
        tiles = self.block // self.step
        products = self.row_tiles * self.column_tiles * (1 if self.parts == 1 else 3)
        return 0 if tiles < 2 else min(MOST_PREFETCHED * products, -(-lines // tiles))

    @property
    def streams(self) -> tuple[bool, bool]:
        """Whether rows, and whether panels, pass by the first cache for the other's sake: panels stay there
        for the next tile of rows where they fit."""
        again = self.block > self.step
        fits = 4 * self.chunk * self.parts * self.column_tiles * WORDS <= PANEL_BYTES
        return again and fits, again and not fits

    @property
    def group(self) -> int:
        """Panels that one workgroup goes through."""
        others = dim_ops.mul(self.blocks, dim_ops.total([self.root.extents[i] for i in self.base.batch]))
        wanted = -(-GROUPS // others) if isinstance(others, int) and others else 1
        groups = max(1, min(wanted, self.panels // PANELS_PER_GROUP))
        return -(-self.panels // groups)


def plan_tiles(dispatch: Dispatch, description: Any) -> TilePlan | None:
    """The plan, the same when constants are laid out and when code is generated."""
    parts = PARTS.get(description.matmul_precision)
    if parts is None or "bf16" not in description.matrix_tiles:
        return None
    base = plan_matmul(dispatch, description)
    if base is None or base.b is None or not base.b.binding.constant:
        return None
    types = [base.root.op.operands[i].type.element_type for i in range(3)]
    if any(type is not f32 for type in types):
        return None
    if panel_axes(base.root, base.b, base.n, base.k) is None:
        return None
    of_a = frozenset().union(*[e.dims_used() for e in base.root.op.indexing_maps[base.a_operand].results])
    if any(loop not in of_a for loop in base.batch):
        # Rows of A would be converted for each of several matrices.
        return None
    depth, columns = base.depth, base.columns
    if not isinstance(depth, int) or not isinstance(columns, int) or depth < SHORTEST:
        return None
    if parts == 2 and isinstance(base.rows, int) and base.rows < FEWEST_ROWS:
        return None
    rows, row_tiles = ROWS, 2
    if isinstance(base.rows, int):
        row_tiles = 1 if base.rows <= ROWS else 2
        count = -(-base.rows // (row_tiles * ROWS))
        rows = -(-base.rows // (row_tiles * count))
    apart = min(rows, base.rows - rows) if isinstance(base.rows, int) else rows
    column_tiles = 1 if columns <= COLUMNS else 2
    narrow = _narrow_rows(dispatch, base) if parts == 1 else None
    return TilePlan(base, base.b, rows, row_tiles, column_tiles, parts, depth, apart, narrow)


def _narrow_rows(dispatch: Dispatch, base: MatmulPlan) -> Operand | None:
    """A, when it is an argument of bf16, widened element by element, whose rows are whole tiles."""
    root, number = base.root, base.a_operand
    walk = AccessWalker(dispatch, ()).walk(root.op.operands[number], operand_forms(root, number))
    if walk.guarded or len(walk.accesses) != 1:
        return None
    if any(op.name == "tensor.pad" or not (op.name in MOVEMENT or _widens(op)) for op in walk.ops):
        return None
    access = walk.accesses[0]
    binding = dispatch.binding_of(access.value)
    if binding is None or element_of(access.value.type) is not bf16 or not isinstance(base.rows, int):
        return None
    address = indexing.linearize(access.forms, binding.dims)
    if any(v.definition is not None or v not in root.vars for v, _ in address.terms):
        return None
    extents = [root.extents[i] for i in base.k]
    steps = [address.coefficient(root.vars[i]) for i in base.k]
    row = 0 if base.m is None else address.coefficient(root.vars[base.m])
    # Between tiles of the reduction there is no edge, and behind the last one no column.
    if base.depth % DEPTH or steps != list(dim_ops.strides(extents)) or not isinstance(row, int):  # type: ignore[operator]
        return None
    return Operand(binding, address)


def _widens(op: Op) -> bool:
    """An elementwise op that makes f32 of bf16 and does nothing else."""
    if not isinstance(op, StructuredOp) or op.reduction_dims:
        return False
    return [inner.name for inner in op.body] == ["arith.extf", "linalg.yield"]


def tile_layout(plan: TilePlan) -> tuple[int, dict[str, Any]]:
    """(argument, parameters of the layout) that this plan wants."""
    axes = panel_axes(plan.root, plan.b, plan.base.n, plan.base.k)
    assert axes is not None
    return plan.b.binding.argument, tile_panel_parameters(*axes, plan.width, plan.parts)
