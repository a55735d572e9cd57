"""``matmul``: matrix products (batched, transposed, any rank) with fused epilogues, on register tiles.

B comes as panels of ``[K][tile columns]``: packed when the artefact is written if it is a constant, read in
place when its rows are contiguous, else packed into worker scratch. While a tile is worked on, its share of
the panel that comes next is fetched. Rows are split into tiles that differ by at most one row. Which rows,
which part of the reduction and which panels are done in which order is the plan's schedule (``cost_model``).

A cheap epilogue takes the sums from the registers; else, and between chunks of the reduction, sums wait in
scratch, from which the epilogue reads them while they are hot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.contraction import operand_forms
from iree_codegen.cost_model import LINE_BYTES, balanced, partial_sums, units_of_work
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.matmul_plan import (
    PACKED,
    ROWS,
    SCRATCH,
    MatmulPlan,
    epilogue_cost,
    panel_axes,
    panel_layout,
    plan_matmul,
    read_rows_in_place,
)
from iree_codegen.packing import PANELS
from iree_codegen.register_tile import Ahead, Factor, Loop, RegisterTile, accumulate, turn_steps
from iree_core_ir.ir.operation import Value

NAME = "matmul"
CHEAP_EPILOGUE = 12
"""Epilogues of up to so many instructions are written out for every sum of a tile."""
STREAMED_ROWS = 2
"""With so few rows B is all there is to read: in order, as fast as it comes, without help."""
ROW_PADDING = 16
"""Elements between rows in scratch, so that they do not meet in few sets of the first cache."""


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
class _Rows:
    """Tiles of rows that a workgroup does: ``first`` to ``end``."""

    first: Index
    end: Index


@dataclass(frozen=True)
class _Chunk:
    """A part of the reduction."""

    start: Index
    depth: Index
    number: Index
    last: int
    """The last chunk's number."""


@dataclass(frozen=True)
class _Panel:
    """The columns at hand."""

    number: Index
    place: Index
    """Among the panels of the workgroup."""
    first: Index
    """The first column to store."""
    start: Index
    """The first column computed."""
    masks: tuple[Value | None, ...]
    """Columns that are there, a mask for each vector; empty: all."""
    masked: bool
    """B's rows may end inside."""
    follows: Index | None = None
    """Where the part of B that comes next begins, in elements; None: nothing is fetched."""


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, plan: MatmulPlan) -> None:
        self.plan = plan
        self.root = plan.root
        self.schedule = plan.schedule
        self.description = description
        self.dispatch = dispatch
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.masks: bool = description.masks
        inner = next(
            (
                v
                for v, d in zip(reversed(plan.root.result_vars), reversed(plan.root.result_dims), strict=True)
                if d != 1
            ),
            None,
        )
        contiguous = inner is plan.root.vars[plan.n]
        self.store_masks = description.masks and contiguous
        """Results that are not contiguous along the columns have no masked store."""
        self.element = plan.root.op.outputs[0].type.element_type
        self.m_base, self.m_in = Var("m0"), Var("m", plan.tile.rows)
        self.n_base, self.n_in = Var("n0"), Var("n", plan.width)
        self.chunked = self.schedule.chunk is not None
        self.in_registers = (
            not self.chunked
            and contiguous
            and (description.masks or plan.whole_panels)
            and epilogue_cost(dispatch, plan.root) <= CHEAP_EPILOGUE
        )
        self._use_scratch()

    def _use_scratch(self) -> None:
        """Memory for sums that wait, for a panel of B and for rows of A."""
        plan, schedule = self.plan, self.schedule
        tiles = self._block_tiles()
        if not self.in_registers:
            n_tiles = dim_ops.mul(tiles, schedule.panels) if self.chunked else 1
            assert isinstance(n_tiles, int)
            self.sums = self.frame.scratch_view(n_tiles * plan.tile.rows * plan.width, self.element)
        if plan.layout == SCRATCH:
            depth = plan.depth
            assert isinstance(depth, int)
            self.panel = self.frame.scratch_view(depth * plan.width, self.element)
        if schedule.copy_rows:
            depth = schedule.chunk if schedule.chunk is not None else plan.depth
            assert isinstance(depth, int) and isinstance(tiles, int)
            self.row_pitch = depth + -depth % ROW_PADDING + ROW_PADDING
            rows = tiles * plan.tile.rows
            if isinstance(plan.rows, int):
                rows = min(rows, plan.rows)
            self.rows = self.frame.scratch_view(rows * self.row_pitch, self.element)

    # -- what a workgroup does ------------------------------------------------------------------------

    @property
    def n_tiles(self) -> Dim:
        return dim_ops.ceildiv(self.plan.rows, self.plan.tile.rows)

    def _block_tiles(self) -> Dim:
        """Tiles of rows of a block."""
        return self.n_tiles if self.schedule.tiles is None else self.schedule.tiles

    def emit(self) -> Kernel:
        schedule, k = self.schedule, self.kernel
        blocks: Dim = 1 if schedule.tiles is None else dim_ops.ceildiv(self.n_tiles, self._block_tiles())
        groups = dim_ops.ceildiv(dim_ops.ceildiv(self.plan.columns, self.plan.width), schedule.panels)
        batch = dim_ops.total([self.root.extents[i] for i in self.plan.batch])
        units = dim_ops.mul(dim_ops.mul(blocks, groups), batch)
        together = 1
        if isinstance(units, int) and units > 1:
            products = dim_ops.mul(dim_ops.mul(self.plan.rows, self.plan.columns), self.plan.depth)
            if isinstance(products, int) and isinstance(batch, int):
                together = min(units, units_of_work(products * batch // units))
        number: Index = self.frame.ids[0]
        if units == 1:
            self._unit(0, blocks, groups)
        elif together == 1:
            self._unit(number, blocks, groups)
        else:
            assert isinstance(units, int)
            first = k.mul(number, together) if together < units else 0
            end = k.min(k.add(first, together), units)
            k.loop(first, end, 1, (), lambda i: self._unit(i, blocks, groups))
        counts = dim_ops.ceildiv(units, together)
        return self.frame.finish([counts], self.frame.scratch_bytes, NAME, self._why())

    def _unit(self, number: Index, blocks: Dim, groups: Dim) -> None:
        """A group of panels of a block of rows; neighbours share rows of A and follow each other in B."""
        plan, k, schedule = self.plan, self.kernel, self.schedule
        n_tiles, per_block = self.n_tiles, self._block_tiles()
        panels = dim_ops.ceildiv(plan.columns, plan.width)
        group, number = k.mod(number, k.dim(groups)), k.floordiv(number, k.dim(groups))
        block, number = k.mod(number, k.dim(blocks)), k.floordiv(number, k.dim(blocks))
        values: dict[Var, Index] = {}
        for loop in reversed(plan.batch):
            extent = k.dim(self.root.extents[loop])
            values[self.root.vars[loop]] = number if loop == plan.batch[0] else k.mod(number, extent)
            number = k.floordiv(number, extent)
        at = Bindings(k).child(values)
        first = k.mul(block, k.dim(per_block)) if blocks != 1 else 0
        end = k.add(first, k.dim(per_block))
        if blocks == 1:
            end = k.dim(n_tiles)
        elif not (isinstance(n_tiles, int) and isinstance(per_block, int) and n_tiles % per_block == 0):
            end = k.min(end, k.dim(n_tiles))
        rows = _Rows(first, end)
        first_panel = k.mul(group, schedule.panels) if groups != 1 else 0
        end_panel = k.add(first_panel, schedule.panels)
        if groups == 1:
            end_panel = k.dim(panels)
        elif schedule.panels > 1 and not (isinstance(panels, int) and panels % schedule.panels == 0):
            end_panel = k.min(end_panel, k.dim(panels))

        def chunk(part: _Chunk) -> None:
            if schedule.copy_rows:
                self._copy_rows(at, rows, part)

            def one(p: Index) -> None:
                self._one_panel(at, rows, part, p, first_panel, end_panel)

            k.loop(first_panel, end_panel, 1, (), one)

        depth = k.dim(plan.depth)
        if schedule.chunk is None:
            chunk(_Chunk(0, depth, 0, 0))
            return
        assert isinstance(depth, int)
        size, last = schedule.chunk, -(-depth // schedule.chunk) - 1

        def one_chunk(c: Index) -> None:
            start = k.mul(c, size)
            chunk(_Chunk(start, size if depth % size == 0 else k.min(size, k.sub(depth, start)), c, last))

        k.loop(0, last + 1, 1, (), one_chunk)

    def _why(self) -> str:
        plan, schedule = self.plan, self.schedule
        parts = [f"{plan.tile.rows}x{plan.tile.vectors} tiles of {plan.lanes} lanes, B {plan.layout}"]
        if schedule.tiles is not None and isinstance(self.n_tiles, int):
            parts.append(f"{schedule.tiles} of {self.n_tiles} row tiles a block")
        if schedule.chunk is not None:
            parts.append(f"chunks of {schedule.chunk}")
        if schedule.panels > 1:
            parts.append(f"{schedule.panels} panels a group")
        if schedule.copy_rows:
            parts.append("A copied")
        if self.in_registers:
            parts.append("result from registers")
        return ", ".join(parts)

    def _one_panel(
        self, at: Bindings, rows: _Rows, chunk: _Chunk, p: Index, first_panel: Index, end_panel: Index
    ) -> None:
        plan, k = self.plan, self.kernel
        n0 = k.mul(p, plan.width)
        start = n0
        if plan.layout == ROWS and not plan.masked and not plan.whole_panels:
            # Rows of B end with the last column: the last panel is moved back.
            start = k.min(n0, k.dim(dim_ops.sub(plan.columns, plan.width)))
        at = at.child({self.n_base: start})
        if plan.layout == SCRATCH:
            self._pack_panel(at)
        masks: tuple[Value | None, ...] = ()
        if self.masks and not plan.whole_panels and (plan.masked or self.in_registers):
            valid = k.sub(k.dim(plan.columns), start)
            masks = tuple(
                k.mask_below(k.add(valid, -v * plan.lanes), plan.lanes) for v in range(plan.tile.vectors)
            )
        follows = None
        if plan.layout == PACKED:
            follows = self._follows(at, chunk, p, first_panel, end_panel)
        panel = _Panel(p, k.sub(p, first_panel), n0, start, masks, plan.masked, follows)
        if not plan.masked or self.masks:
            self._tiles(at, rows, chunk, panel)
            return
        # Masked loads are slow here: only where B's rows do end inside.
        whole = k.compare("sle", k.add(n0, plan.width), k.dim(plan.columns))
        valid = k.sub(k.dim(plan.columns), start)
        masks = tuple(
            k.mask_below(k.add(valid, -v * plan.lanes), plan.lanes) for v in range(plan.tile.vectors)
        )
        k.if_(
            whole,
            lambda: self._tiles(at, rows, chunk, replace(panel, masked=False)),
            lambda: self._tiles(at, rows, chunk, replace(panel, masks=masks)),
        )

    # -- tiles of rows ----------------------------------------------------------------------------------

    def _row_of(self, tile: Index) -> Index:
        """The first row of a tile."""
        k, extent = self.kernel, self.plan.rows
        if not isinstance(extent, int):
            return k.mul(tile, self.plan.tile.rows)
        larger, small, _ = balanced(extent, self.plan.tile.rows)
        return k.add(k.mul(tile, small), k.min(tile, larger) if larger else 0)

    def _tiles(self, at: Bindings, rows: _Rows, chunk: _Chunk, panel: _Panel) -> None:
        """All rows of a block times one panel."""
        plan, k = self.plan, self.kernel
        extent, most = plan.rows, plan.tile.rows
        origin = self._row_of(rows.first) if self.schedule.copy_rows else 0

        def tile(height: int, m0: Index, number: Index) -> None:
            self._one_tile(at.child({self.m_base: m0}), height, k.sub(m0, origin), number, chunk, panel)

        if isinstance(extent, int):
            larger, small, rest = balanced(extent, most)

            def part(first: Index, end: Index, height: int, offset: int) -> None:
                k.loop(
                    first, end, 1, (),
                    lambda t: tile(height, k.add(k.mul(t, height), offset), k.sub(t, rows.first)),
                )  # fmt: skip

            if larger:
                part(rows.first, k.min(rows.end, larger), small + 1, 0)
            if rest:
                part(k.max(rows.first, larger) if larger else rows.first, rows.end, small, larger)
            return
        # The last tile's rows in powers of two.
        limit = k.min(k.mul(rows.end, most), k.dim(extent))
        whole = k.floordiv(limit, most)
        k.loop(rows.first, whole, 1, (), lambda t: tile(most, k.mul(t, most), k.sub(t, rows.first)))
        done = k.max(k.mul(whole, most), k.mul(rows.first, most))
        height = 1
        while height * 2 < most:
            height *= 2
        number = k.sub(rows.end, rows.first)
        number = k.add(number, -1)
        while height and most > 1:
            end = k.add(done, k.mul(k.floordiv(k.sub(limit, done), height), height))
            k.loop(done, end, height, (), lambda m0, h=height: tile(h, m0, number))
            done, height = end, height // 2

    def _one_tile(
        self, at: Bindings, height: int, row: Index, number: Index, chunk: _Chunk, panel: _Panel
    ) -> None:
        """Accumulate a tile and do with its sums what is to be done; ``row``: its first among copied rows."""
        plan, k = self.plan, self.kernel
        vectors, lanes = plan.tile.vectors, plan.lanes
        a, a_row, a_steps = self._a_side(at, row, chunk)
        b, b_steps = self._b_side(at, panel.number, chunk)
        extents = [self.root.extents[i] for i in plan.k]
        levels = merged_levels(extents, a_steps, b_steps)
        loops = tuple(Loop(k.dim(extent), k.dim(x), k.dim(y)) for extent, x, y in levels)
        if self.chunked:
            assert len(loops) == 1
            loops = (replace(loops[0], count=chunk.depth),)
        ways = partial_sums(height, vectors, self.description.registers)
        masks = panel.masks if panel.masked else ()
        tile = RegisterTile(height, vectors, lanes, self.element, k.dim(a_row), loops, ways, masks)
        inits: list[Value] | None = None
        place: Index = 0
        if self.chunked:
            # Sums of a group's panels side by side, each with all rows of the block.
            tiles = self._block_tiles()
            assert isinstance(tiles, int)
            place = k.add(k.mul(panel.place, tiles), number)
            place = k.mul(place, plan.tile.rows * plan.width)
            zero = k.splat(k.constant(0.0, self.element), lanes)

            def waiting() -> list[Value]:
                starts = [
                    k.add(place, i * plan.width + v * lanes) for i in range(height) for v in range(vectors)
                ]
                return [k.vload(self.sums, start, lanes) for start in starts]

            fresh = [zero] * tile.n_sums
            inits = k.if_(k.compare("eq", chunk.number, 0), lambda: fresh, waiting)
        sums = accumulate(k, tile, a, b, inits, self._ahead(tile, number, panel))
        if self.in_registers:
            self._finish_registers(at, height, sums, panel)
            return
        for i in range(height):
            for v in range(vectors):
                k.vstore(sums[i * vectors + v], self.sums, k.add(place, i * plan.width + v * lanes))
        if not self.chunked:
            self._epilogue(at, height, place, panel)
            return
        k.if_(
            k.compare("eq", chunk.number, chunk.last),
            lambda: self._epilogue(at, height, place, panel),
        )

    # -- fetching ahead -------------------------------------------------------------------------------

    def _follows(self, at: Bindings, chunk: _Chunk, p: Index, first_panel: Index, end_panel: Index) -> Index:
        """Where in B the part begins that this workgroup, or its neighbour, needs next."""
        plan, k = self.plan, self.kernel
        depth, size = plan.depth, self.schedule.chunk
        assert isinstance(depth, int)
        here, _ = self._b_side(at, p, chunk)
        panel = depth * plan.width
        if size is None:
            return k.add(here.start, panel)
        more = k.compare("slt", k.add(p, 1), end_panel)
        down = k.add(k.mul(k.sub(first_panel, p), panel), size * plan.width)
        return k.add(here.start, k.select(more, k.value(panel), k.value(down)))

    def _ahead(self, tile: RegisterTile, number: Index, panel: _Panel) -> Ahead | None:
        """Fetches this tile's share of what follows, a line or a few a turn. Behind the last panel follows
        the next constant: they lie in order of use."""
        plan, k = self.plan, self.kernel
        tiles = self._block_tiles()
        if panel.follows is None or not isinstance(tiles, int) or plan.b is None:
            return None
        if tile.rows * tiles <= STREAMED_ROWS:
            return None
        loops = tile.loops
        depth = self.schedule.chunk or plan.depth
        assert isinstance(depth, int)
        line = LINE_BYTES // plan.element_bytes
        lines = -(-depth * plan.width // line)
        inner = depth if self.chunked else loops[-1].count
        steps = turn_steps(loops[-1].count, tile.ways)
        if not isinstance(inner, int):
            return None
        turns = max(1, inner // steps) * (depth // inner)
        share = -(-lines // tiles)
        per_turn = -(-share // turns)
        memory = self.frame.binding_args[plan.b.binding.index]
        begin = k.add(panel.follows, k.mul(number, share * line))

        def fetch(turn: Index) -> None:
            for i in range(per_turn):
                at = k.add(begin, k.add(k.mul(turn, per_turn * line), i * line))
                k.prefetch(memory, at, locality=2)

        return fetch

    # -- the factors ----------------------------------------------------------------------------

    def _a_side(self, at: Bindings, row: Index, chunk: _Chunk) -> tuple[Factor, Dim, list[Dim]]:
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
        start = at.scalar(self._substituted(fixed))
        if self.chunked:
            start = k.add(start, k.mul(chunk.start, k.dim(self._single(steps))))
        return Factor(memory, start), a_row, steps

    def _single(self, steps: Sequence[Dim]) -> Dim:
        """The step of the one reduction loop that runs."""
        extents = [self.root.extents[i] for i in self.plan.k]
        return next((s for s, e in zip(steps, extents, strict=True) if e != 1), 0)

    def _b_side(self, at: Bindings, panel: Index, chunk: _Chunk) -> tuple[Factor, list[Dim]]:
        plan, k = self.plan, self.kernel
        extents = [self.root.extents[i] for i in plan.k]
        packed_steps = [dim_ops.mul(s, plan.width) for s in dim_ops.strides(extents)]
        if plan.layout == SCRATCH:
            return Factor(self.panel, 0), packed_steps
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
            start = k.add(k.mul(position, depth * plan.width), k.mul(chunk.start, plan.width))
            return Factor(memory, start), packed_steps
        variables = [self.root.vars[i] for i in plan.k]
        steps = [plan.b.address.coefficient(v) for v in variables]
        fixed = Affine(
            tuple(t for t in plan.b.address.terms if t[0] not in variables), plan.b.address.constant
        )
        return Factor(memory, at.scalar(self._substituted(fixed))), steps

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
        """B's panel into scratch: [K][columns]; beyond the last column whatever was there."""
        plan, k = self.plan, self.kernel
        operand = self.root.op.operands[plan.b_operand]
        forms = self._forms(operand_forms(self.root, plan.b_operand))
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

    def _copy_rows(self, at: Bindings, rows: _Rows, chunk: _Chunk) -> None:
        """A's rows of a block, a chunk of each, into scratch: [rows][chunk], some elements apart."""
        plan, k = self.plan, self.kernel
        operand = self.root.op.operands[plan.a_operand]
        forms = self._forms(operand_forms(self.root, plan.a_operand))
        extents = [self.root.extents[i] for i in plan.k]
        variables = [self.root.vars[i] for i in plan.k]
        first = self._row_of(rows.first)
        end = self._row_of(rows.end)
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

    # -- the results ----------------------------------------------------------------------------

    def _provide(self, total: Callable[[tuple[Affine, ...], Point], Value]) -> None:
        """The product's elements, for the ops behind it, are ``total`` on top of what sums begin with."""

        def element(own: tuple[Affine, ...], point: Point) -> Value:
            value = total(own, point)
            if self.root.zero:
                return value
            start = self.elements.element(self.root.op.outputs[0], own, point)
            return self.kernel.binary("arith.addf", start, value)

        self.elements.overrides[self.root.value] = element

    def _store(self, forms: tuple[Affine, ...], point: Point) -> None:
        results = self.dispatch.results
        values = [self.elements.element(value, forms, point) for value, _ in results]
        for value, (_, binding) in zip(values, results, strict=True):
            self.elements.store(value, self.frame.binding_memory(binding), forms, point)

    def _finish_registers(self, at: Bindings, height: int, sums: Sequence[Value], panel: _Panel) -> None:
        """The dispatch's results from the sums as they stand in registers."""
        plan = self.plan
        forms = self._forms(self.root.result_forms)
        for i in range(height):
            for v in range(plan.tile.vectors):
                here = sums[i * plan.tile.vectors + v]
                self._provide(lambda own, point, here=here: here)  # type: ignore[misc]
                inner = at.child({self.m_in: i, self.n_in: v * plan.lanes}, self.n_in, plan.lanes)
                self._store(forms, Point(inner, panel.masks[v] if panel.masks else None))

    def _epilogue(self, at: Bindings, height: int, place: Index, panel: _Panel) -> None:
        """The dispatch's results from the sums that wait at ``place``."""
        plan, k = self.plan, self.kernel
        forms = self._forms(self.root.result_forms)
        tile = Memory(self.sums, (plan.width, 1), base=place)
        positions = self.root.op.indexing_maps[self.root.op.n_inputs].dim_positions()
        m_axis = positions.index(plan.m) if plan.m is not None else None
        n_axis = positions.index(plan.n)

        def total(own: tuple[Affine, ...], point: Point) -> Value:
            row = own[m_axis] + indexing.of(self.m_base).scaled(-1) if m_axis is not None else indexing.ZERO
            column = own[n_axis] + indexing.of(self.n_base).scaled(-1) if plan.columns != 1 else indexing.ZERO
            return self.elements.load(tile, (row, column), point)

        self._provide(total)
        shift = k.sub(panel.first, panel.start)
        end: Index = plan.width
        if panel.masked or (plan.layout != ROWS and not plan.whole_panels):
            end = k.min(k.sub(k.dim(plan.columns), panel.start), plan.width)

        def row(i: Index) -> None:
            inner = at.child({self.m_in: i})

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                lane_var = self.n_in if lanes > 1 else None
                self._store(forms, Point(inner.child({self.n_in: j}, lane_var, lanes), mask))

            vector_loop(k, shift, end, plan.lanes, self.store_masks, once, unroll=plan.tile.vectors)

        k.loop(0, height, 1, (), row)


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
