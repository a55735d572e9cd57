"""Where the factors of a matrix product are: in their own memory, as panels, or put into worker scratch."""

from __future__ import annotations

from collections.abc import Sequence

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.contraction import operand_forms
from iree_codegen.cost_model import balanced
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.matmul_plan import PACKED, SCRATCH, MatmulPlan, panel_axes
from iree_codegen.register_tile import Factor
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value

ROW_PADDING = 16
"""Elements between rows in scratch, so that they do not meet in few sets of the first cache."""


@record(frozen=True)
class Rows:
    """Tiles of rows that a workgroup does: ``first`` to ``end``."""

    first: Index
    end: Index


@record(frozen=True)
class Chunk:
    """A part of the reduction."""

    start: Index
    depth: Index
    number: Index
    last: int
    """The last chunk's number."""


class MatmulFactors:
    """Base of the emitter: the frame of the kernel and addresses of A and B.

    ``m_base`` and ``n_base`` are bound to a tile's first row and column, ``m_in`` and ``n_in`` to the place
    inside.
    """

    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, plan: MatmulPlan) -> None:
        self.plan = plan
        self.root = plan.root
        self.schedule = plan.schedule
        self.description = description
        self.dispatch = dispatch
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.masks: bool = description.masks
        self.element = plan.root.op.outputs[0].type.element_type
        self.m_base, self.m_in = Var("m0"), Var("m", plan.tile.rows)
        self.n_base, self.n_in = Var("n0"), Var("n", plan.width)
        self.chunked = plan.schedule.chunk is not None
        if plan.layout == SCRATCH:
            depth = plan.depth
            assert isinstance(depth, int)
            self.panel = self.frame.scratch_view(depth * plan.width, self.element)
        if plan.schedule.copy_rows:
            self._reserve_rows()

    def _reserve_rows(self) -> None:
        """Scratch for a block's rows of A, a chunk of each."""
        plan, tiles = self.plan, self.block_tiles
        depth = plan.schedule.chunk if plan.schedule.chunk is not None else plan.depth
        assert isinstance(depth, int) and isinstance(tiles, int)
        self.row_pitch = depth + -depth % ROW_PADDING + ROW_PADDING
        rows = tiles * plan.tile.rows
        if isinstance(plan.rows, int):
            rows = min(rows, plan.rows)
        self.rows = self.frame.scratch_view(rows * self.row_pitch, self.element)

    @property
    def n_tiles(self) -> Dim:
        return dim_ops.ceildiv(self.plan.rows, self.plan.tile.rows)

    @property
    def block_tiles(self) -> Dim:
        """Tiles of rows of a block."""
        return self.n_tiles if self.schedule.tiles is None else self.schedule.tiles

    def row_of(self, tile: Index) -> Index:
        """The first row of a tile."""
        k, extent = self.kernel, self.plan.rows
        if not isinstance(extent, int):
            return k.mul(tile, self.plan.tile.rows)
        larger, small, _ = balanced(extent, self.plan.tile.rows)
        return k.add(k.mul(tile, small), k.min(tile, larger) if larger else 0)

    def a_side(self, at: Bindings, row: Index, chunk: Chunk) -> tuple[Factor, Dim, list[Dim]]:
        """Where A's elements begin, step per row and step per reduction loop."""
        plan, k = self.plan, self.kernel
        extents = [self.root.extents[i] for i in plan.k]
        if self.schedule.copy_rows:
            return (
                Factor(self.rows, k.mul(row, self.row_pitch)),
                self.row_pitch,
                list(dim_ops.strides(extents)),
            )
        assert plan.a is not None
        memory = self.frame.binding_args[plan.a.binding.index]
        variables = [self.root.vars[i] for i in plan.k]
        steps = [plan.a.address.coefficient(v) for v in variables]
        a_row = plan.a.address.coefficient(self.root.vars[plan.m]) if plan.m is not None else 0
        fixed = Affine(
            tuple(t for t in plan.a.address.terms if t[0] not in variables), plan.a.address.constant
        )
        start = at.scalar(fixed.substituted(self._replaced(inner=False)))
        if self.chunked:
            start = k.add(start, k.mul(chunk.start, k.dim(self._single(steps))))
        return Factor(memory, start), a_row, steps

    def _single(self, steps: Sequence[Dim]) -> Dim:
        """The step of the one reduction loop that runs."""
        extents = [self.root.extents[i] for i in self.plan.k]
        return next((s for s, e in zip(steps, extents, strict=True) if e != 1), 0)

    def b_side(self, at: Bindings, panel: Index, chunk: Chunk) -> tuple[Factor, list[Dim]]:
        plan, k = self.plan, self.kernel
        extents = [self.root.extents[i] for i in plan.k]
        packed_steps = [dim_ops.mul(s, plan.width) for s in dim_ops.strides(extents)]
        if plan.layout == SCRATCH:
            return Factor(self.panel, 0), packed_steps
        assert plan.b is not None
        memory = self.frame.binding_args[plan.b.binding.index]
        if plan.layout == PACKED:
            depth, columns = plan.depth, plan.columns
            assert isinstance(depth, int) and isinstance(columns, int)
            position = k.add(first_panel(at, plan, -(-columns // plan.width)), panel)
            start = k.add(k.mul(position, depth * plan.width), k.mul(chunk.start, plan.width))
            return Factor(memory, start), packed_steps
        variables = [self.root.vars[i] for i in plan.k]
        steps = [plan.b.address.coefficient(v) for v in variables]
        fixed = Affine(
            tuple(t for t in plan.b.address.terms if t[0] not in variables), plan.b.address.constant
        )
        return Factor(memory, at.scalar(fixed.substituted(self._replaced(inner=False)))), steps

    def _replaced(self, *, inner: bool) -> dict[Var, Affine]:
        """What row and column variables stand for: the tile's base (plus, ``inner``, the place inside)."""
        plan, replaced = self.plan, {}
        for loop, base, place in ((plan.m, self.m_base, self.m_in), (plan.n, self.n_base, self.n_in)):
            if loop is not None:
                replaced[self.root.vars[loop]] = indexing.of(base) + (indexing.of(place) if inner else 0)
        return replaced

    def forms(self, forms: Sequence[Affine]) -> tuple[Affine, ...]:
        """``forms`` at a place inside the tile."""
        replaced = self._replaced(inner=True)
        return tuple(form.substituted(replaced) for form in forms)

    def pack_panel(self, at: Bindings) -> None:
        """B's panel into scratch: [K][columns]; beyond the last column whatever was there."""
        plan, k = self.plan, self.kernel
        operand = self.root.op.operands[plan.b_operand]
        forms = self.forms(operand_forms(self.root, plan.b_operand))
        extents = [self.root.extents[i] for i in plan.k]
        memory = Memory(self.panel, (*(dim_ops.mul(s, plan.width) for s in dim_ops.strides(extents)), 1))
        place = [*(indexing.of(self.root.vars[i]) for i in plan.k), indexing.of(self.n_in)]
        valid: Index = plan.width
        if not plan.whole_panels:
            valid = k.min(k.sub(k.dim(plan.columns), at.values[self.n_base]), plan.width)

        def nest(level: int, at: Bindings) -> None:
            if level < len(plan.k):
                var = self.root.vars[plan.k[level]]
                extent = k.dim(self.root.extents[plan.k[level]])
                k.loop(0, extent, 1, (), lambda i: nest(level + 1, at.child({var: i})))
                return

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(at.child({self.n_in: j}, self.n_in if lanes > 1 else None, lanes), mask)
                self.elements.store(self.elements.element(operand, forms, point), memory, place, point)

            vector_loop(k, 0, valid, plan.lanes, self.masks, once)

        nest(0, at)

    def copy_rows(self, at: Bindings, rows: Rows, chunk: Chunk) -> None:
        """A's rows of a block, a chunk of each, into scratch: [rows][chunk], some elements apart."""
        plan, k = self.plan, self.kernel
        operand = self.root.op.operands[plan.a_operand]
        forms = self.forms(operand_forms(self.root, plan.a_operand))
        extents = [self.root.extents[i] for i in plan.k]
        variables = [self.root.vars[i] for i in plan.k]
        first = self.row_of(rows.first)
        end = self.row_of(rows.end)
        if not isinstance(plan.rows, int):
            end = k.min(end, k.dim(plan.rows))
        row = Var("row")
        memory = Memory(self.rows, (self.row_pitch, *dim_ops.strides(extents)))
        place = [indexing.of(row), *(indexing.of(v) for v in variables)]
        if self.chunked:
            # Columns of the copy count from the chunk's first.
            column = Var("column")
            variable = next(v for v, e in zip(variables, extents, strict=True) if e != 1)
            place = [indexing.of(row), *(indexing.of(column if v is variable else v) for v in variables)]

        def nest(level: int, at: Bindings) -> None:
            var, extent = variables[level], k.dim(extents[level])
            if level < len(variables) - 1:
                k.loop(0, extent, 1, (), lambda i: nest(level + 1, at.child({var: i})))
                return

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                values: dict[Var, Index] = {var: j}
                if self.chunked and var is variable:
                    values = {var: k.add(chunk.start, j), column: j}
                inner = at.child(values, var if lanes > 1 else None, lanes)
                value = self.elements.element(operand, forms, Point(inner, mask))
                if self.chunked and var is variable:
                    inner = at.child(values, column if lanes > 1 else None, lanes)
                self.elements.store(value, memory, place, Point(inner, mask))

            limit = chunk.depth if self.chunked and var is variable else extent
            vector_loop(k, 0, limit, plan.lanes, self.masks, once, unroll=4)

        def one_row(m: Index) -> None:
            nest(0, at.child({self.m_base: m, self.m_in: 0, row: k.sub(m, first)}))

        k.loop(first, end, 1, (), one_row)


def first_panel(at: Bindings, plan: MatmulPlan, panels: int) -> Index:
    """The number of the first panel of the matrix that the batch stands at, in a packed B of matrices of
    ``panels`` each."""
    assert plan.b is not None
    axes = panel_axes(plan.root, plan.b, plan.n, plan.k)
    assert axes is not None
    k, dims = at.kernel, plan.b.binding.dims
    strides = dim_ops.strides(dims)
    position: Index = 0
    for axis in axes[0]:
        if dims[axis] == 1:
            continue
        var = next(v for v in plan.root.vars if plan.b.address.coefficient(v) == strides[axis])
        position = k.add(k.mul(position, k.dim(dims[axis])), at.values[var])
    return k.mul(position, panels)


def merged_levels(
    extents: Sequence[Dim], a_steps: Sequence[Dim], b_steps: Sequence[Dim]
) -> list[tuple[Dim, Dim, Dim]]:
    """The reduction loops as (extent, step of A, step of B), those that run on merged into one."""
    levels: list[tuple[Dim, Dim, Dim]] = []
    for extent, a, b in zip(extents, a_steps, b_steps, strict=True):
        if extent == 1:
            continue
        if levels:
            outer, a_outer, b_outer = levels[-1]
            if a_outer == dim_ops.mul(a, extent) and b_outer == dim_ops.mul(b, extent):
                levels[-1] = (dim_ops.mul(outer, extent), a, b)
                continue
        levels.append((extent, a, b))
    return levels or [(1, 0, 0)]


__all__ = ["Chunk", "MatmulFactors", "Rows", "first_panel", "merged_levels"]
