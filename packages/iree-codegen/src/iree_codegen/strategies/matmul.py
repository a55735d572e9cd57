"""``matmul``: matrix products (batched, transposed, any rank) with fused epilogues, on register tiles.

B comes as panels of ``[K][tile columns]``: packed when the artefact is written if it is a constant, read in
place when its rows are contiguous, else packed into worker scratch. While a tile is worked on, its share of
the panel that comes next is fetched. Rows are split into tiles that differ by at most one row. Which rows,
which part of the reduction and which panels are done in which order is the plan's schedule (``cost_model``).

A cheap epilogue takes the sums from the registers; else, and between chunks of the reduction, sums wait in
scratch, from which the epilogue reads them while they are hot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from iree_base.records import record
from iree_codegen import cost_model, indexing
from iree_codegen import dims as dim_ops
from iree_codegen.cost_model import LINE_BYTES, PORTS, STREAM_BYTES, balanced, partial_sums
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.matmul_factors import Chunk, MatmulFactors, Rows, merged_levels
from iree_codegen.matmul_plan import (
    PACKED,
    ROWS,
    SCRATCH,
    MatmulPlan,
    epilogue_cost,
    panel_layout,
    plan_matmul,
    read_rows_in_place,
)
from iree_codegen.packing import PANELS
from iree_codegen.register_tile import Ahead, Loop, RegisterTile, accumulate, turn_steps
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value

NAME = "matmul"
CHEAP_EPILOGUE = 12
"""Epilogues of up to so many instructions are written out for every sum of a tile."""
STREAMED_ROWS = 2
"""With so few rows B is all there is to read: in order, as fast as it comes, without help."""


def matmul(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    plan = plan_matmul(dispatch, description)
    if plan is None:
        return None
    if plan.layout == PACKED and plan.b is not None:
        wanted = panel_layout(plan)
        assert wanted is not None
        if plan.b.binding.packed is None:
            # The constant was not laid out for us: read it as it is.
            direct = plan.b.address.coefficient(plan.root.vars[plan.n]) == 1
            plan.layout = ROWS if direct else SCRATCH
            read_rows_in_place(plan, description)
            if plan.layout == SCRATCH and not plan.fits_scratch:
                return None
        elif not plan.b.binding.is_packed(PANELS, wanted[1]):
            return None
    return _Emitter(dispatch, description, plan).emit()


@record(frozen=True)
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


class _Emitter(MatmulFactors):
    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, plan: MatmulPlan) -> None:
        super().__init__(dispatch, description, plan)
        root, schedule = plan.root, plan.schedule
        contiguous = root.contiguous is root.vars[plan.n]
        self.store_masks = description.masks and contiguous
        """Results that are not contiguous along the columns have no masked store."""
        self.in_registers = (
            not self.chunked
            and contiguous
            and (description.masks or plan.whole_panels)
            and epilogue_cost(dispatch, root) <= CHEAP_EPILOGUE
        )
        if not self.in_registers:
            # Sums that wait for the epilogue, or for the next chunk.
            n_tiles = dim_ops.mul(self.block_tiles, schedule.panels) if self.chunked else 1
            assert isinstance(n_tiles, int)
            self.sums = self.frame.scratch_view(n_tiles * plan.tile.rows * plan.width, self.element)

    # -- what a workgroup does ------------------------------------------------------------------------

    def emit(self) -> Kernel:
        schedule, k = self.schedule, self.kernel
        blocks: Dim = 1 if schedule.tiles is None else dim_ops.ceildiv(self.n_tiles, self.block_tiles)
        groups = dim_ops.ceildiv(dim_ops.ceildiv(self.plan.columns, self.plan.width), schedule.panels)
        batch = dim_ops.total([self.root.extents[i] for i in self.plan.batch])
        units = dim_ops.mul(dim_ops.mul(blocks, groups), batch)
        together = 1
        if isinstance(units, int) and units > 1:
            cycles = self._cycles()
            if cycles is not None and isinstance(batch, int):
                together = cost_model.together(units, cycles * batch / units)
        number: Index = self.frame.ids[0]
        if units == 1:
            self._unit(0, blocks, groups)
        elif together == 1:
            self._unit(number, blocks, groups)
        else:
            assert isinstance(units, int)
            first, end = self.frame.part(number if together < units else 0, together, units)
            k.loop(first, end, 1, (), lambda i: self._unit(i, blocks, groups))
        counts = dim_ops.ceildiv(units, together)
        return self.frame.finish([counts], self.frame.scratch_bytes, NAME, self._why())

    def _cycles(self) -> float | None:
        """Of one product of the batch: to multiply, or with few rows to read the larger factor."""
        rows, columns, depth = self.plan.rows, self.plan.columns, self.plan.depth
        if not (isinstance(rows, int) and isinstance(columns, int) and isinstance(depth, int)):
            return None
        size = depth * columns * self.plan.element_bytes
        return max(rows * columns * depth / (PORTS * self.plan.lanes), size / STREAM_BYTES)

    def _unit(self, number: Index, blocks: Dim, groups: Dim) -> None:
        """A group of panels of a block of rows; neighbours share rows of A and follow each other in B."""
        plan, k, schedule = self.plan, self.kernel, self.schedule
        n_tiles, per_block = self.n_tiles, self.block_tiles
        panels = dim_ops.ceildiv(plan.columns, plan.width)
        group, number = k.mod(number, k.dim(groups)), k.floordiv(number, k.dim(groups))
        block, number = k.mod(number, k.dim(blocks)), k.floordiv(number, k.dim(blocks))
        at = Bindings(k).numbered(number, [(self.root.vars[i], self.root.extents[i]) for i in plan.batch])
        first = k.mul(block, k.dim(per_block)) if blocks != 1 else 0
        end = k.add(first, k.dim(per_block))
        if blocks == 1:
            end = k.dim(n_tiles)
        elif not (isinstance(n_tiles, int) and isinstance(per_block, int) and n_tiles % per_block == 0):
            end = k.min(end, k.dim(n_tiles))
        rows = Rows(first, end)
        first_panel = k.mul(group, schedule.panels) if groups != 1 else 0
        end_panel = k.add(first_panel, schedule.panels)
        if groups == 1:
            end_panel = k.dim(panels)
        elif schedule.panels > 1 and not (isinstance(panels, int) and panels % schedule.panels == 0):
            end_panel = k.min(end_panel, k.dim(panels))

        def chunk(part: Chunk) -> None:
            if schedule.copy_rows:
                self.copy_rows(at, rows, part)

            def one(p: Index) -> None:
                self._one_panel(at, rows, part, p, first_panel, end_panel)

            k.loop(first_panel, end_panel, 1, (), one)

        depth = k.dim(plan.depth)
        if schedule.chunk is None:
            chunk(Chunk(0, depth, 0, 0))
            return
        assert isinstance(depth, int)
        size, last = schedule.chunk, -(-depth // schedule.chunk) - 1

        def one_chunk(c: Index) -> None:
            start = k.mul(c, size)
            chunk(Chunk(start, size if depth % size == 0 else k.min(size, k.sub(depth, start)), c, last))

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
        self, at: Bindings, rows: Rows, chunk: Chunk, p: Index, first_panel: Index, end_panel: Index
    ) -> None:
        plan, k = self.plan, self.kernel
        n0 = k.mul(p, plan.width)
        start = n0
        if plan.layout == ROWS and not plan.masked and not plan.whole_panels:
            # Rows of B end with the last column: the last panel is moved back.
            start = k.min(n0, k.dim(dim_ops.sub(plan.columns, plan.width)))
        at = at.child({self.n_base: start})
        if plan.layout == SCRATCH:
            self.pack_panel(at)

        def lanes_there() -> tuple[Value | None, ...]:
            valid = k.sub(k.dim(plan.columns), start)
            return tuple(
                k.mask_below(k.add(valid, -v * plan.lanes), plan.lanes) for v in range(plan.tile.vectors)
            )

        masks: tuple[Value | None, ...] = ()
        if self.masks and not plan.whole_panels and (plan.masked or self.in_registers):
            masks = lanes_there()
        follows = None
        if plan.layout == PACKED:
            follows = self._follows(at, chunk, p, first_panel, end_panel)
        panel = _Panel(p, k.sub(p, first_panel), n0, start, masks, plan.masked, follows)
        if not plan.masked or self.masks:
            self._tiles(at, rows, chunk, panel)
            return
        # Masked loads are slow here: only where B's rows do end inside.
        whole = k.compare("sle", k.add(n0, plan.width), k.dim(plan.columns))
        masks = lanes_there()
        k.if_(
            whole,
            lambda: self._tiles(at, rows, chunk, replace(panel, masked=False)),
            lambda: self._tiles(at, rows, chunk, replace(panel, masks=masks)),
        )

    # -- tiles of rows ----------------------------------------------------------------------------------

    def _tiles(self, at: Bindings, rows: Rows, chunk: Chunk, panel: _Panel) -> None:
        """All rows of a block times one panel."""
        plan, k = self.plan, self.kernel
        extent, most = plan.rows, plan.tile.rows
        origin = self.row_of(rows.first) if self.schedule.copy_rows else 0

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
        self, at: Bindings, height: int, row: Index, number: Index, chunk: Chunk, panel: _Panel
    ) -> None:
        """Accumulate a tile and do with its sums what is to be done; ``row``: its first among copied rows."""
        plan, k = self.plan, self.kernel
        vectors, lanes = plan.tile.vectors, plan.lanes
        a, a_row, a_steps = self.a_side(at, row, chunk)
        b, b_steps = self.b_side(at, panel.number, chunk)
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
            tiles = self.block_tiles
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

    def _follows(self, at: Bindings, chunk: Chunk, p: Index, first_panel: Index, end_panel: Index) -> Index:
        """Where in B the part begins that this workgroup, or its neighbour, needs next."""
        plan, k = self.plan, self.kernel
        depth, size = plan.depth, self.schedule.chunk
        assert isinstance(depth, int)
        here, _ = self.b_side(at, p, chunk)
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
        tiles = self.block_tiles
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

    def _finish_registers(self, at: Bindings, height: int, sums: Sequence[Value], panel: _Panel) -> None:
        """The dispatch's results from the sums as they stand in registers."""
        plan = self.plan
        forms = self.forms(self.root.result_forms)
        for i in range(height):
            for v in range(plan.tile.vectors):
                here = sums[i * plan.tile.vectors + v]
                self._provide(lambda own, point, here=here: here)  # type: ignore[misc]
                inner = at.child({self.m_in: i, self.n_in: v * plan.lanes}, self.n_in, plan.lanes)
                self.frame.store_results(forms, Point(inner, panel.masks[v] if panel.masks else None))

    def _epilogue(self, at: Bindings, height: int, place: Index, panel: _Panel) -> None:
        """The dispatch's results from the sums that wait at ``place``."""
        plan, k = self.plan, self.kernel
        forms = self.forms(self.root.result_forms)
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
                self.frame.store_results(forms, Point(inner.child({self.n_in: j}, lane_var, lanes), mask))

            vector_loop(k, shift, end, plan.lanes, self.store_masks, once, unroll=plan.tile.vectors)

        k.loop(0, height, 1, (), row)
