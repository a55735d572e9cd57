"""``matmul``: matrix products (batched, transposed, any rank) with fused epilogues, on register tiles.

B comes as panels of ``[K][tile columns]``: packed when the artefact is written if it is a constant, read in
place when its rows are contiguous, else packed into worker scratch. A tile's sums go to scratch; the
epilogue reads them there while they are hot and stores the results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.contraction import operand_forms
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import Lanes, vector_loop
from iree_codegen.matmul_plan import (
    PACKED,
    ROWS,
    SCRATCH,
    MatmulPlan,
    panel_axes,
    panel_layout,
    plan_matmul,
    read_rows_in_place,
)
from iree_codegen.micro_kernel import ARGUMENT, Loop, MicroKernel, MicroKernels, Number
from iree_codegen.packing import PANELS
from iree_core_ir.ir.operation import Value

NAME = "matmul"
ROWS_PER_BLOCK = 256
"""Rows of A that one workgroup goes through with one panel of B."""


def matmul(dispatch: Dispatch, description: Any) -> Kernel | None:
    plan = plan_matmul(dispatch, description)
    if plan is None:
        return None
    if plan.layout == PACKED and plan.b is not None:
        wanted = panel_layout(plan)
        assert wanted is not None
        given = plan.b.binding.packed
        if given is None:
            # The constant was not laid out for us: read it as it is.
            direct = plan.b.address.coefficient(plan.root.vars[plan.n]) == 1
            plan.layout = ROWS if direct else SCRATCH
            read_rows_in_place(plan, description)
            if plan.layout == SCRATCH and not plan.fits_scratch:
                return None
        elif json.loads(given) != {"kind": PANELS, "parameters": wanted[1]}:
            return None
    return _Emitter(dispatch, description, plan).emit()


@dataclass(frozen=True)
class _Panel:
    """The columns that a workgroup does."""

    number: Index
    first: Index
    """The first column it stores."""
    start: Index
    """The first column it computes."""
    masked: bool
    """B's rows may end inside."""


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, plan: MatmulPlan) -> None:
        self.plan = plan
        self.root = plan.root
        self.description = description
        self.dispatch = dispatch
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.lanes = Lanes(plan.lanes, description.masks)
        inner = next(
            (
                v
                for v, d in zip(reversed(plan.root.result_vars), reversed(plan.root.result_dims), strict=True)
                if d != 1
            ),
            None,
        )
        self.store_masks = description.masks and inner is plan.root.vars[plan.n]
        """Results that are not contiguous along the columns have no masked store."""
        self.tiles = MicroKernels(dispatch.name, description.fma)
        self.element = plan.root.op.outputs[0].type.element_type
        self.m_base, self.m_in = Var("m0"), Var("m", plan.tile.rows)
        self.n_base, self.n_in = Var("n0"), Var("n", plan.width)
        self.tile = self.frame.scratch_view(plan.tile.rows * plan.width, self.element)
        self.panel: Value | None = None
        if plan.layout == SCRATCH:
            depth = plan.depth
            assert isinstance(depth, int)
            self.panel = self.frame.scratch_view(depth * plan.width, self.element)
        self.a_rows: Value | None = None
        if plan.a is None:
            depth = plan.depth
            assert isinstance(depth, int)
            self.a_rows = self.frame.scratch_view(depth * plan.tile.rows, self.element)

    def emit(self) -> Kernel:
        plan, k = self.plan, self.kernel
        tile_rows = plan.tile.rows
        n_tiles = dim_ops.ceildiv(plan.rows, tile_rows)
        per_block = max(1, ROWS_PER_BLOCK // tile_rows)
        if plan.layout == SCRATCH and isinstance(n_tiles, int):
            # One workgroup uses a panel it packed for all rows.
            per_block = max(1, n_tiles)
        blocks = dim_ops.ceildiv(n_tiles, per_block)
        panels = dim_ops.ceildiv(plan.columns, plan.width)
        batch_extents = [self.root.extents[i] for i in plan.batch]
        total = dim_ops.mul(dim_ops.mul(blocks, panels), dim_ops.total(batch_extents))
        number: Index = self.frame.ids[0]
        block, number = k.mod(number, k.dim(blocks)), k.floordiv(number, k.dim(blocks))
        panel, number = k.mod(number, k.dim(panels)), k.floordiv(number, k.dim(panels))
        if total == 1:
            block = panel = number = 0
        values: dict[Var, Index] = {}
        for loop in reversed(plan.batch):
            extent = k.dim(self.root.extents[loop])
            values[self.root.vars[loop]] = number if loop == plan.batch[0] else k.mod(number, extent)
            number = k.floordiv(number, extent)
        n0 = k.mul(panel, plan.width)
        start = n0
        if plan.layout == ROWS and not plan.masked and not plan.whole_panels:
            # Rows of B end with the last column: the last panel is moved back.
            start = k.min(n0, k.dim(dim_ops.sub(plan.columns, plan.width)))
        at = Bindings(k).child({**values, self.n_base: start})
        if self.panel is not None:
            self._pack_panel(at)
        first = k.mul(block, per_block)
        last = k.min(k.add(first, per_block), k.dim(n_tiles))
        if isinstance(n_tiles, int) and n_tiles % per_block == 0:
            last = k.add(first, per_block)
        if isinstance(n_tiles, int) and n_tiles <= per_block:
            first, last = 0, n_tiles

        def tiles(masked: bool) -> None:
            k.loop(first, last, 1, (), lambda t: self._tile_row(t, at, _Panel(panel, n0, start, masked)))

        if plan.masked and not isinstance(plan.columns, int):
            whole = k.compare("sle", k.add(n0, plan.width), k.dim(plan.columns))
            k.if_(whole, lambda: tiles(False), lambda: tiles(True))
        else:
            tiles(plan.masked)
        self.frame.private = self.tiles.functions
        shape = f"{plan.tile.rows}x{plan.tile.vectors} tiles of {plan.lanes} lanes, B {plan.layout}"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, shape)

    def _tile_row(self, t: Index, at: Bindings, panel: _Panel) -> None:
        plan, k = self.plan, self.kernel
        rows = plan.tile.rows
        m0 = k.mul(t, rows)
        extent = plan.rows
        if isinstance(extent, int):
            first = m0
            if extent % rows:
                first = k.min(m0, extent - rows)
            self._one_tile(at.child({self.m_base: first}), rows, k.sub(m0, first), panel)
            return
        limit = k.dim(extent)

        def full() -> None:
            # The last tile is moved back; rows that are there already are not stored again.
            first = k.min(m0, k.add(limit, -rows))
            self._one_tile(at.child({self.m_base: first}), rows, k.sub(m0, first), panel)

        def single() -> None:
            k.loop(m0, limit, 1, (), lambda m: self._one_tile(at.child({self.m_base: m}), 1, 0, panel))

        if rows == 1:
            full()
        else:
            k.if_(k.compare("sge", limit, rows), full, single)

    def _one_tile(self, at: Bindings, rows: int, first_row: Index, panel: _Panel) -> None:
        """Accumulate a tile and run the epilogue on its rows from ``first_row`` and the panel's columns."""
        plan, k = self.plan, self.kernel
        numbers: list[Index] = []

        def number(dim: Dim) -> Number:
            if isinstance(dim, int):
                return dim
            numbers.append(k.dim(dim))
            return ARGUMENT

        a_memory, a_start, a_row, a_steps = self._a_side(at, rows)
        b_memory, b_start, b_steps = self._b_side(at, panel.number)
        row_number = number(a_row)
        levels = merged_levels([self.root.extents[i] for i in plan.k], a_steps, b_steps)
        loops: list[Loop] = []
        taps: tuple[tuple[int, int], ...] = ((0, 0),)
        for level, (extent, a_step, b_step) in enumerate(levels):
            if level == len(levels) - 1 and isinstance(extent, int):
                unroll = _unroll(extent, plan.tile.ways)
                if isinstance(a_step, int) and isinstance(b_step, int):
                    taps = tuple((u * a_step, u * b_step) for u in range(unroll))
                    extent, a_step, b_step = extent // unroll, a_step * unroll, b_step * unroll
            loops.append(Loop(number(extent), number(a_step), number(b_step)))
        ways = plan.tile.ways if rows == plan.tile.rows else 4
        while ways > len(taps):
            ways //= 2
        spec = MicroKernel(
            rows, plan.tile.vectors, plan.lanes, self.element, row_number, tuple(loops), taps,
            c_row=plan.width, ways=ways, masked=panel.masked,
        )  # fmt: skip
        if panel.masked:
            numbers.append(k.sub(k.dim(plan.columns), panel.start))
        self.tiles.call(k, spec, (a_memory, a_start), (b_memory, b_start), (self.tile, 0), numbers)
        self._epilogue(at, rows, first_row, panel)

    # -- the factors ----------------------------------------------------------------------------

    def _a_side(self, at: Bindings, rows: int) -> tuple[Value, Index, Dim, list[Dim]]:
        """Memory, start, step per row and step per reduction loop of A."""
        plan = self.plan
        extents = [self.root.extents[i] for i in plan.k]
        if plan.a is None:
            assert self.a_rows is not None
            self._pack_rows(at, rows)
            return self.a_rows, 0, dim_ops.total(extents), list(dim_ops.strides(extents))
        memory = self.frame.binding_args[plan.a.binding.index]
        variables = [self.root.vars[i] for i in plan.k]
        steps = [plan.a.address.coefficient(v) for v in variables]
        row = plan.a.address.coefficient(self.root.vars[plan.m]) if plan.m is not None else 0
        fixed = Affine(
            tuple(t for t in plan.a.address.terms if t[0] not in variables), plan.a.address.constant
        )
        return memory, at.scalar(self._substituted(fixed)), row, steps

    def _b_side(self, at: Bindings, panel: Index) -> tuple[Value, Index, list[Dim]]:
        plan, k = self.plan, self.kernel
        extents = [self.root.extents[i] for i in plan.k]
        packed_steps = [dim_ops.mul(s, plan.width) for s in dim_ops.strides(extents)]
        if plan.layout == SCRATCH:
            assert self.panel is not None
            return self.panel, 0, packed_steps
        assert plan.b is not None
        memory = self.frame.binding_args[plan.b.binding.index]
        if plan.layout == PACKED:
            axes = panel_axes(self.root, plan.b, plan.n, plan.k)
            assert axes is not None
            dims = plan.b.binding.dims
            depth, columns = plan.depth, plan.columns
            assert isinstance(depth, int) and isinstance(columns, int)
            n_panels = -(-columns // plan.width)
            strides = dim_ops.strides(dims)
            position: Index = 0
            for axis in axes[0]:
                if dims[axis] == 1:
                    continue
                loop = next(
                    i for i, v in enumerate(self.root.vars) if plan.b.address.coefficient(v) == strides[axis]
                )
                position = k.add(k.mul(position, k.dim(dims[axis])), at.values[self.root.vars[loop]])
            position = k.add(k.mul(position, n_panels), panel)
            return memory, k.mul(position, depth * plan.width), packed_steps
        variables = [self.root.vars[i] for i in plan.k]
        steps = [plan.b.address.coefficient(v) for v in variables]
        fixed = Affine(
            tuple(t for t in plan.b.address.terms if t[0] not in variables), plan.b.address.constant
        )
        return memory, at.scalar(self._substituted(fixed)), steps

    def _substituted(self, form: Affine, inner: bool = False) -> Affine:
        """Row and column variables replaced by the tile's base (plus, ``inner``, the place inside)."""
        replaced = indexing.constant(form.constant)
        for var, coefficient in form.terms:
            part = indexing.of(var)
            if self.plan.m is not None and var is self.root.vars[self.plan.m]:
                part = indexing.of(self.m_base) + (indexing.of(self.m_in) if inner else indexing.ZERO)
            elif var is self.root.vars[self.plan.n]:
                part = indexing.of(self.n_base) + (indexing.of(self.n_in) if inner else indexing.ZERO)
            replaced = replaced + part.scaled(coefficient)
        return replaced

    def _forms(self, forms: Sequence[Affine]) -> tuple[Affine, ...]:
        return tuple(self._substituted(f, True) for f in forms)

    def _pack_panel(self, at: Bindings) -> None:
        """B's panel into scratch: [K][columns]; beyond the last column zeros."""
        plan, k = self.plan, self.kernel
        assert self.panel is not None
        operand = self.root.op.operands[plan.b_operand]
        forms = self._forms(operand_forms(self.root, plan.b_operand))
        memory = self._panel_memory(plan.width)
        valid: Index = plan.width
        if not plan.whole_panels:
            valid = k.min(k.sub(k.dim(plan.columns), at.values[self.n_base]), plan.width)

        def nest(level: int, at: Bindings, place: list[Affine]) -> None:
            if level < len(plan.k):
                var = self.root.vars[plan.k[level]]
                k.loop(
                    0,
                    k.dim(self.root.extents[plan.k[level]]),
                    1,
                    (),
                    lambda i: nest(level + 1, at.child({var: i}), [*place, indexing.of(var)]),
                )
                return

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(at.child({self.n_in: j}, self.n_in if lanes > 1 else None, lanes), mask)
                value = self.elements.element(operand, forms, point)
                self.elements.store(value, memory, [*place, indexing.of(self.n_in)], point)

            vector_loop(k, 0, valid, plan.lanes, self.lanes.masks, once)

        nest(0, at, [])

    def _panel_memory(self, width: int) -> Memory:
        assert self.panel is not None
        extents = [self.root.extents[i] for i in self.plan.k]
        strides = [dim_ops.mul(s, width) for s in dim_ops.strides(extents)]
        return Memory(self.panel, (*strides, 1))

    def _pack_rows(self, at: Bindings, rows: int) -> None:
        """Rows of a computed A into scratch: [rows][K]."""
        plan, k = self.plan, self.kernel
        assert self.a_rows is not None
        operand = self.root.op.operands[plan.a_operand]
        forms = self._forms(operand_forms(self.root, plan.a_operand))
        extents = [self.root.extents[i] for i in plan.k]
        depth = dim_ops.total(extents)
        memory = Memory(self.a_rows, (depth, *dim_ops.strides(extents)))
        place = [indexing.of(self.m_in), *[indexing.of(self.root.vars[i]) for i in plan.k]]

        def nest(level: int, at: Bindings) -> None:
            var = self.root.vars[plan.k[level]]
            extent = k.dim(self.root.extents[plan.k[level]])
            if level < len(plan.k) - 1:
                k.loop(0, extent, 1, (), lambda i: nest(level + 1, at.child({var: i})))
                return

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(at.child({var: j}, var if lanes > 1 else None, lanes), mask)
                self.elements.store(self.elements.element(operand, forms, point), memory, place, point)

            vector_loop(k, 0, extent, plan.lanes, self.lanes.masks, once)

        k.loop(0, rows, 1, (), lambda i: nest(0, at.child({self.m_in: i})))

    # -- the results ----------------------------------------------------------------------------

    def _epilogue(self, at: Bindings, rows: int, first_row: Index, panel: _Panel) -> None:
        plan, k = self.plan, self.kernel
        root = self.root
        results = self.dispatch.results
        forms = self._forms(root.result_forms)
        tile = Memory(self.tile, (plan.width, 1))
        output_map = root.op.indexing_maps[root.op.n_inputs]
        positions = output_map.dim_positions()
        m_axis = positions.index(plan.m) if plan.m is not None else None
        n_axis = positions.index(plan.n)

        def sums(own: tuple[Affine, ...], point: Point) -> Value:
            row = own[m_axis] + indexing.of(self.m_base).scaled(-1) if m_axis is not None else indexing.ZERO
            column = own[n_axis] + indexing.of(self.n_base).scaled(-1) if plan.columns != 1 else indexing.ZERO
            total = self.elements.load(tile, (row, column), point)
            if root.zero:
                return total
            return k.binary("arith.addf", self.elements.element(root.op.outputs[0], own, point), total)

        self.elements.overrides[root.value] = sums
        shift = k.sub(panel.first, panel.start)
        end: Index = plan.width
        if panel.masked or (plan.layout != ROWS and not plan.whole_panels):
            end = k.min(k.sub(k.dim(plan.columns), panel.start), plan.width)

        def row(i: Index) -> None:
            inner = at.child({self.m_in: i})

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(inner.child({self.n_in: j}, self.n_in if lanes > 1 else None, lanes), mask)
                values = [self.elements.element(value, forms, point) for value, _ in results]
                for value, (_, binding) in zip(values, results, strict=True):
                    self.elements.store(value, self.frame.binding_memory(binding), forms, point)

            vector_loop(k, shift, end, plan.lanes, self.store_masks, once, unroll=plan.tile.vectors)

        k.loop(first_row, rows, 1, (), row)


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


def _unroll(extent: int, ways: int) -> int:
    """How many steps of the innermost loop are written out."""
    for unroll in range(8 if ways > 1 else 5, 1, -1):
        if extent % unroll == 0:
            return unroll
    return 1
