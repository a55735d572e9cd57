"""``tile-convolution``: convolutions of f32 images in channel blocks on matrix tiles, in bf16 parts.

A workgroup converts the rows it reads to bf16 in worker scratch, 32 channels of a pixel side by side, once.
Rows of tiles are pixels, columns are output channels, so the sums of a tile are pixels of a block of the
result. A patch of tiles goes through the window and the input channels with a panel of weights, which lie in
that order; its sums go to scratch, where the epilogue reads them while the next patch is multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.blocked_image import BlockedConvolution, match
from iree_codegen.blocked_tile_grid import Patches, Run
from iree_codegen.blocked_tile_panels import (
    BLOCKED_TILE_PANELS,
    PAIR,
    STEM_CHANNELS,
    WIDTH,
    blocked_tile_parameters,
    packed_size,
)
from iree_codegen.blocked_tile_plan import PatchPlan, n_steps, plan_patches
from iree_codegen.blocked_tile_rows import ConvertedRows
from iree_codegen.blocked_tiles import BlockedTiles, Panel
from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.dialects.amx import TileType
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType, bf16, f32
from iree_core_ir.target import ConstantLayout

NAME = "tile-convolution"
MOST_TAPS = 16
"""Steps of the reduction that are written out in its innermost loop."""
MOST_AHEAD = 16
"""Lines of weights fetched ahead in a step, at most."""
NEAR_WEIGHTS = 128 << 10
"""Weights of up to so many bytes are not worth fetching ahead."""
LINE = 16
"""Words of a cache line."""
TOGETHER = 8
"""Pixels that an epilogue writes out, at most."""
Place = tuple[Index, Index]
"""Row and column in the grid, rows from the workgroup's first one on."""


def layout(dispatch: Dispatch, description: WorkgroupDescription) -> ConstantLayout | None:
    """How the strategy wants the weights of ``dispatch``; None when it does not take it."""
    c = match(dispatch, description)
    plan = None if c is None else plan_patches(c, description)
    if c is None or plan is None:
        return None
    parameters = _parameters(c, plan)
    packed = TensorType([packed_size(parameters)], f32)
    return ConstantLayout(c.weights.argument, BLOCKED_TILE_PANELS, parameters, packed)


def tile_convolution(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    c = match(dispatch, description)
    plan = None if c is None else plan_patches(c, description)
    if c is None or plan is None or not c.weights.is_packed(BLOCKED_TILE_PANELS, _parameters(c, plan)):
        return None
    return _Emitter(dispatch, description, c, plan).run()


def _parameters(c: BlockedConvolution, plan: PatchPlan) -> dict[str, Any]:
    return blocked_tile_parameters(c.weight_shape(), plan.parts, c.stem)


@record(frozen=True)
class _Behind:
    """The epilogue of the patch before, done while the next one is multiplied."""

    patches: Patches
    place: Place
    sums: Index
    there: Value
    """Whether there is one."""


class _Emitter(BlockedTiles):
    def __init__(
        self, dispatch: Dispatch, description: WorkgroupDescription, c: BlockedConvolution, plan: PatchPlan
    ) -> None:
        super().__init__(dispatch, description, c)
        self.plan = plan
        self.form = plan.image(c)
        self.steps = n_steps(c)
        self.memory = self.frame.scratch_view(self.form.part * plan.parts, bf16)
        self.sums_size = 2 * plan.grid.tile * WIDTH * COLUMNS
        self.sums_memory = self.frame.scratch_view(2 * self.sums_size, f32)
        self.first_row: Index = 0

    def run(self) -> Kernel:
        k, c, plan = self.kernel, self.convolution, self.plan
        grid = plan.grid
        number: Index = self.frame.ids[0]
        share, rest = k.mod(number, plan.shares), k.floordiv(number, plan.shares)
        block: Index = k.mod(rest, plan.blocks) if plan.blocks > 1 else 0
        if c.out_blocks < c.blocks:
            # A wide image was written from its first row on, and will be again: its last rows are near still.
            block = k.sub(plan.blocks - 1, block)
        self.image = k.floordiv(rest, plan.blocks) if c.batch != 1 else 0
        first_band = k.mul(block, plan.bands)
        self.first_row = k.mul(first_band, grid.height)
        rows: Index = plan.rows
        if grid.rows % plan.rows:
            rows = k.min(k.sub(grid.rows, self.first_row), plan.rows)
        start = k.mul(self.image, c.blocks * c.inner * c.size[0] * c.size[1])
        ConvertedRows(k, c, plan, self.source, self.memory, start).emit(self.first_row, rows)
        whole = grid.rows // grid.height
        left: Index = plan.bands
        if plan.blocks == 1:
            left = whole
        elif whole % plan.bands or grid.rest:
            left = k.max(k.min(k.sub(whole, first_band), plan.bands), 0)
        last = None
        if grid.rest and plan.blocks > 1:
            last = k.compare("eq", block, plan.blocks - 1)
        rest_row = (whole - (plan.blocks - 1) * plan.bands) * grid.height

        def panel(number: Index, vectors: int) -> None:
            words = self.steps * plan.parts * DEPTH // PAIR * c.lanes
            own = Panel(vectors, k.mul(number, WIDTH), k.mul(number, WIDTH * words), 0, 0)
            self._bands(own, left)
            if grid.rest and last is not None:
                k.if_(last, lambda: self._band(own, grid.rest, rest_row, 0))
            elif grid.rest:
                self._band(own, grid.rest, rest_row, 0)

        self.panels(share, plan.shares, min(WIDTH, c.out_blocks), panel)
        groups = dim_ops.mul(c.batch, plan.blocks * plan.shares)
        why = (
            f"{plan.parts} bf16 a number, tiles of {grid.tile} pixels, {plan.bands} of {grid.bands} bands"
            f"{f' in {plan.shares} shares' if plan.shares > 1 else ''}"
            f"{', gathered' if plan.gathers(c) else ''}"
        )
        return self.frame.finish([groups], self.frame.scratch_bytes, NAME, why)

    # -- patches ---------------------------------------------------------------------------------------

    def _bands(self, panel: Panel, count: Index) -> None:
        """``count`` bands of the workgroup, whole ones."""
        k, grid = self.kernel, self.plan.grid
        if len(grid.band) > 1:
            k.loop(0, count, 1, (), lambda b: self._band(panel, grid.band, k.mul(b, grid.height), b))
            return
        (patches,) = grid.band

        def place(i: Index) -> Place:
            row = k.mul(k.floordiv(i, patches.count), grid.height)
            return row, k.mul(k.mod(i, patches.count), patches.step)

        self._patches(panel, patches, k.mul(count, patches.count), 0, place)

    def _band(self, panel: Panel, band: tuple[Patches, ...], row: Index, number: Index) -> None:
        k = self.kernel
        done: Index = k.mul(number, self.plan.grid.per_band)
        for patches in band:

            def place(i: Index, patches: Patches = patches) -> Place:
                at_row = k.add(row, patches.first[0])
                return at_row, k.add(k.mul(i, patches.step), patches.first[1])

            self._patches(panel, patches, patches.count, done, place)
            done = k.add(done, patches.count)

    def _patches(
        self, panel: Panel, patches: Patches, count: Index, number: Index, place: Callable[[Index], Place]
    ) -> None:
        """``count`` patches at ``place``; ``number``: how many others the workgroup did before."""
        k = self.kernel
        if count == 1:
            self._products(panel, patches, place(0), number, 0, None)
            self._finish(panel, patches, place(0), 0)
            return

        def sums(i: Index) -> Index:
            return k.mul(k.mod(i, 2), self.sums_size)

        def one(i: Index) -> None:
            behind = _Behind(patches, place(k.sub(i, 1)), sums(k.add(i, 1)), k.compare("ne", i, 0))
            self._products(panel, patches, place(i), k.add(number, i), sums(i), behind)

        k.loop(0, count, 1, (), one)
        last = k.sub(count, 1)

        def rest() -> None:
            self._finish(panel, patches, place(last), sums(last))

        if isinstance(count, int):
            rest()
        else:
            k.if_(k.compare("ne", count, 0), rest)

    # -- products --------------------------------------------------------------------------------------

    def _loops(self) -> tuple[list[tuple[int, int]], list[int]]:
        """(loops over the steps as (count, how far the image moves on), offsets of the steps written out)."""
        c, form = self.convolution, self.form
        loops = [(form.groups, form.plane), (c.kernel[0], form.tap[0])]
        if not c.stem:
            loops.append((c.kernel[1], form.tap[1]))
        taps = [0]
        while len(loops) > 1 and loops[-1][0] * len(taps) <= MOST_TAPS:
            count, step = loops.pop()
            taps = [i * step + tap for i in range(count) for tap in taps]
        return loops, taps

    def _products(
        self, panel: Panel, patches: Patches, place: Place, number: Index, sums: Index, behind: _Behind | None
    ) -> None:
        """The sums of a patch, at ``sums`` in scratch: ``[tile][pixel][block][16]``."""
        k, c, plan, form = self.kernel, self.convolution, self.plan, self.form
        grid, parts, vectors = plan.grid, plan.parts, panel.vectors
        # A stem's step ends with its window: what lies behind may be no number, and 0 times that is NaN.
        depth = c.kernel[1] * STEM_CHANNELS if c.stem else DEPTH
        a_type = TileType((grid.tile, depth), bf16)
        b_type = TileType((depth // PAIR, PAIR * COLUMNS), bf16)
        c_type = TileType((grid.tile, COLUMNS), f32)
        start = k.add(k.mul(place[0], form.down), k.mul(place[1], form.across))
        tiles = [run.row * form.down + run.column * form.across for run in patches.runs]
        loops, taps = self._loops()
        turns = math.prod(count for count, _ in loops)
        tile_words = DEPTH // PAIR * COLUMNS
        part_words = vectors * tile_words
        tap_words = parts * part_words
        lines = self._lines_ahead(panel, turns * len(taps))
        ahead = k.add(
            k.add(panel.start, turns * len(taps) * tap_words), k.mul(number, turns * len(taps) * lines * LINE)
        )

        def tile(name: str, operands: tuple[Value, ...], type: TileType) -> Value:
            return k.effect(f"amx.tile_{name}", operands, (type,)).results[0]

        def read(memory: Value, at: Index, pitch: int, type: TileType) -> Value:
            return tile("load", (memory, k.value(at), k.value(pitch)), type)

        def tap(a: Index, b: Index, totals: list[Value]) -> None:
            def left(part: int, i: int) -> Value:
                return read(self.memory, k.add(a, tiles[i] + part * form.part), form.across, a_type)

            def right(part: int, j: int) -> Value:
                return read(self.weights, k.add(b, part * part_words + j * tile_words), COLUMNS, b_type)

            def multiply(i: int, j: int, x: Value, y: Value) -> None:
                totals[i * vectors + j] = tile("mulf", (x, y, totals[i * vectors + j]), c_type)

            # High parts of pixels stay for both parts of weights, high parts of weights for both of pixels.
            pixels: list[Value] = []
            weights: list[Value] = []
            for part in reversed(range(parts)):
                weights = []
                for j in range(vectors):
                    for i in range(len(tiles)):
                        if len(pixels) == i:
                            pixels.append(left(0, i))
                        if len(weights) == j:
                            weights.append(right(part, j))
                        multiply(i, j, pixels[i], weights[j])
            for part in range(1, parts):
                for i in range(len(tiles)):
                    low = left(part, i)
                    for j in range(vectors):
                        multiply(i, j, low, weights[j])

        def turn(at: Index, number: Index, totals: list[Value]) -> list[Value]:
            b = k.add(panel.start, k.mul(number, len(taps) * tap_words))
            fetch = k.add(ahead, k.mul(number, len(taps) * lines * LINE))
            for u, offset in enumerate(taps):
                for line in range(lines):
                    k.prefetch(self.weights, k.add(fetch, (u * lines + line) * LINE), locality=2)
                tap(k.add(at, offset), k.add(b, u * tap_words), totals)
            if behind is not None:
                self._finish_part(panel, behind, number, turns)
            return totals

        def nest(level: int, at: Index, number: Index, totals: list[Value]) -> list[Value]:
            if level == len(loops):
                return turn(at, number, totals)
            count, step = loops[level]

            def body(i: Index, *now: Value) -> list[Value]:
                return nest(level + 1, k.add(at, k.mul(i, step)), k.add(k.mul(number, count), i), list(now))

            return k.loop(0, count, 1, totals, body)

        totals = [tile("zero", (), c_type) for _ in range(len(tiles) * vectors)]
        totals = nest(0, start, 0, totals)
        for i in range(len(tiles)):
            for j in range(vectors):
                at = k.add(sums, i * grid.tile * vectors * COLUMNS + j * COLUMNS)
                operands = (
                    self.sums_memory,
                    k.value(at),
                    totals[i * vectors + j],
                    k.value(vectors * COLUMNS),
                )
                k.effect("amx.tile_store", operands)

    def _lines_ahead(self, panel: Panel, steps: int) -> int:
        """Lines of the next panel that a step asks for, so that the patches of a panel ask for all."""
        c, plan = self.convolution, self.plan
        panel_bytes = panel.vectors * steps * plan.parts * DEPTH * COLUMNS * 2
        if c.out_blocks * panel_bytes // panel.vectors <= NEAR_WEIGHTS:
            return 0
        patches = plan.grid.per_band * plan.bands
        return min(MOST_AHEAD, -(-panel_bytes // 64 // (patches * steps)))

    # -- epilogues -------------------------------------------------------------------------------------

    def _pixels(
        self, panel: Panel, place: Place, segment: Run, first: Index, count: int, sums: Index
    ) -> None:
        """Store pixels ``first`` to ``first + count`` of a segment whose sums lie at ``sums``."""
        k, grid = self.kernel, self.plan.grid
        y = k.add(k.add(self.first_row, place[0]), segment.row)
        x = k.add(k.add(place[1], segment.column), first)
        at = k.add(sums, k.mul(first, panel.vectors * COLUMNS))
        for p in range(count):
            own = k.add(x, p)
            row, column = (0, k.add(k.mul(y, grid.columns), own)) if grid.flat else (y, own)
            for v in range(panel.vectors):
                value = k.vload(self.sums_memory, k.add(at, (p * panel.vectors + v) * COLUMNS), COLUMNS)
                self.store(panel, row, column, v, value)

    def _segments(self, panel: Panel, patches: Patches) -> list[tuple[Run, int]]:
        """The segments of a patch, and where their sums begin."""
        tile = self.plan.grid.tile * panel.vectors * COLUMNS
        return [(segment, i * tile) for i, segment in enumerate(patches.segments)]

    def _finish(self, panel: Panel, patches: Patches, place: Place, sums: Index) -> None:
        k = self.kernel
        for segment, offset in self._segments(panel, patches):
            at = k.add(sums, offset)
            step = _divisor(segment.pixels, TOGETHER)
            if step < TOGETHER // 2:
                step = TOGETHER
            whole = segment.pixels // step * step
            k.loop(
                0, whole, step, (),
                lambda p, segment=segment, at=at, step=step: self._pixels(panel, place, segment, p, step, at),
            )  # fmt: skip
            if whole < segment.pixels:
                self._pixels(panel, place, segment, whole, segment.pixels - whole, at)

    def _finish_part(self, panel: Panel, behind: _Behind, number: Index, turns: int) -> None:
        """The share that turn ``number`` of ``turns`` has in the epilogue of the patch before."""
        k = self.kernel
        segments = self._segments(panel, behind.patches)
        first, offset = segments[0][0], segments[-1][1]
        pixels = first.pixels * len(segments)
        wanted = -(-pixels // turns)
        side = next(n for n in range(min(wanted, first.pixels), first.pixels + 1) if first.pixels % n == 0)
        together = len(segments) if side == first.pixels and turns == 1 else 1
        chunks = pixels // side // together

        def some() -> None:
            if together > 1:
                for segment, at in segments:
                    self._pixels(panel, behind.place, segment, 0, side, k.add(behind.sums, at))
                return
            per = first.pixels // side
            which, part = k.floordiv(number, per), k.mod(number, per)
            row, column = behind.place
            if len(segments) > 1:
                second = segments[1][0]
                row = k.add(row, k.mul(which, second.row))
                column = k.add(column, k.mul(which, second.column))
            sums = k.add(behind.sums, k.mul(which, offset))
            self._pixels(panel, (row, column), Run(0, 0, side), k.mul(part, side), side, sums)

        there = behind.there
        if chunks < turns:
            there = k.binary("arith.andi", there, k.compare("ult", number, chunks))
        k.if_(there, some)


def _divisor(n: int, most: int) -> int:
    """The largest divisor of ``n`` up to ``most``."""
    return next(d for d in range(min(n, most), 0, -1) if n % d == 0)
