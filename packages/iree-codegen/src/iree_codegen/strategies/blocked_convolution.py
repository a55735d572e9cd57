"""``blocked convolution``: convolutions of images stored in blocks of channels, f32 or bytes.

Vectors run along output channels, input pixels are broadcast. A workgroup owns some rows of one image and a
share of the output channels. It goes through panels of weights, and for each through its register tiles; what
one visit of a tile adds, and in which order, is the plan's choice (``blocked_plan``). Weights lie in exactly
that order. Where there is padding the rows are copied to scratch once; else the image is read in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen.blocked_grid import Tiles
from iree_codegen.blocked_image import BlockedConvolution, match
from iree_codegen.blocked_panels import BLOCKED_PANELS, blocked_panels, packed_size
from iree_codegen.blocked_plan import FLOAT_BYTES, Plan, choose, gathered_rows, input_columns, input_rows
from iree_codegen.blocked_rows import Rows, copy_rows, gather_rows, thin_rows
from iree_codegen.blocked_tiles import LINE, MOST_AHEAD, NAME, Ahead, BlockedTiles, Panel, Reduction
from iree_codegen.blocked_winograd import Strips, blocked_winograd, plan_winograd
from iree_codegen.blocked_winograd_panels import BLOCKED_WINOGRAD_PANELS
from iree_codegen.blocked_winograd_panels import packed_size as winograd_size
from iree_codegen.dispatch import Dispatch
from iree_codegen.integer_panels import INTEGER_BLOCKED_PANELS
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType
from iree_core_ir.target import ConstantLayout

__all__ = ["NAME", "blocked_convolution", "layout"]

WINOGRAD_GAIN = 0.9
"""Winograd is taken where the model promises at most this share of the direct form's cycles."""
NEAR_WEIGHTS = 128 << 10
"""Weights of up to so many bytes are not worth fetching ahead."""


def blocked_convolution(dispatch: Dispatch, description: Any) -> Kernel | None:
    c = match(dispatch, description)
    if c is None or c.rounded:
        return None
    packed = c.weights.packed
    if packed is None and c.group > 1:
        return None
    if packed is None and c.tail:
        # Weights that lie as they came have all lanes.
        c = replace(c, channels=c.blocks * c.lanes)
    plan = choose(c, description) if packed is None else _plan(c, description)
    if packed is not None:
        kind, wanted, _ = _packing(c, plan)
        if not c.weights.is_packed(kind, wanted):
            return None
    if isinstance(plan, Strips):
        return blocked_winograd(dispatch, description, c, plan)
    return _Emitter(dispatch, description, c, plan).run()


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the weights should be stored; None when this strategy does not take the dispatch."""
    c = match(dispatch, description)
    if c is None or c.rounded or not c.weights.constant:
        return None
    kind, parameters, size = _packing(c, _plan(c, description))
    packed = TensorType([size], c.weights.value.type.element_type)
    return ConstantLayout(c.weights.argument, kind, parameters, packed)


def _plan(c: BlockedConvolution, description: Any) -> Plan | Strips:
    """The form with the fewest cycles; Winograd's where it is allowed and clearly pays."""
    direct = choose(c, description)
    allowed = description.conv_algorithm == "auto" and c.group == 1
    strips = plan_winograd(c, description) if allowed else None
    return strips if strips is not None and strips.cycles <= WINOGRAD_GAIN * direct.cycles else direct


def _packing(c: BlockedConvolution, plan: Plan | Strips) -> tuple[str, dict[str, Any], int]:
    """(kind, parameters, elements) of the weights' layout."""
    parameters = blocked_panels(c.weight_shape(), c.words, plan.vectors)
    if c.group > 1:
        return INTEGER_BLOCKED_PANELS, {**parameters, "stem": c.stem}, c.group * packed_size(parameters)
    if isinstance(plan, Strips):
        return BLOCKED_WINOGRAD_PANELS, parameters, winograd_size(parameters)
    return BLOCKED_PANELS, parameters, packed_size(parameters)


def _lines(places: Iterable[int]) -> tuple[int, ...]:
    """One of ``places`` in each line."""
    return tuple({place // LINE: place for place in places}.values())


class _Emitter(BlockedTiles):
    def __init__(self, dispatch: Dispatch, description: Any, c: BlockedConvolution, plan: Plan) -> None:
        super().__init__(dispatch, description, c)
        self.plan = plan
        self.packed = c.weights.packed is not None
        self.rows = Rows.in_place(c)
        self.memory = self.source
        self.base: Index = 0
        self.first_band: Index = 0
        self.sums_memory = self.source

    def run(self) -> Kernel:
        k, c, plan = self.kernel, self.convolution, self.plan
        grid = plan.grid
        number: Index = self.frame.ids[0]
        share, rest = k.mod(number, plan.shares), k.floordiv(number, plan.shares)
        block = k.mod(rest, plan.blocks)
        self.image = k.floordiv(rest, plan.blocks) if c.batch != 1 else 0
        if plan.blocks == 1:
            block = 0
        self.first_band = k.mul(block, plan.bands)
        self.partial = block if grid.rest else None
        image = k.mul(self.image, (c.channels if c.interleaves else c.blocks * c.inner) * math.prod(c.size))
        row = k.mul(self.first_band, grid.height)
        if grid.flat and not c.is_plain:
            self.rows = Rows.gathered(c, gathered_rows(c))
            self.memory = self.frame.scratch_view(self.rows.plane * c.blocks, c.word)
            gather_rows(k, c, self.rows, self.source, image, self.memory)
        elif c.is_sparse:
            self.rows = Rows.in_scratch(c, input_rows(c, grid, plan.bands), input_columns(c, grid))
            self.memory = self.frame.scratch_view(self.rows.plane * c.blocks, c.word)
            end: Index = k.add(row, self.rows.rows)
            if grid.rows % (plan.bands * grid.height):
                end = k.min(end, grid.rows)
            thin_rows(k, c, self.rows, self.source, image, row, end, self.memory)
        elif c.padded or c.interleaves:
            self.rows = Rows.in_scratch(c, input_rows(c, grid, plan.bands), input_columns(c, grid))
            self.memory = self.frame.scratch_view(self.rows.plane * c.blocks, c.word)
            first = k.mul(row, c.strides[0])
            copy_rows(k, c, self.rows, self.masks, self.source, image, first, self.memory)
        elif grid.flat:
            self.base = k.add(image, k.mul(row, grid.columns * c.inner))
        else:
            self.base = k.add(image, k.mul(row, c.strides[0] * self.rows.pitch))
        if plan.chunk:
            pixels = plan.bands * grid.height * grid.columns
            self.sums_memory = self.frame.scratch_view(pixels * plan.vectors * c.lanes, c.word)
        self.panels(share, plan.shares, plan.vectors, self._panel)
        groups = dim_ops.mul(c.batch, plan.blocks * plan.shares)
        sizes = "+".join(f"{len(t.pixels)}x{t.count}" for t in grid.band)
        why = (
            f"{plan.vectors} vectors of channels x {sizes} pixels, {plan.bands} of {grid.bands} bands"
            f"{f', {c.blocks // plan.chunk} chunks' if plan.chunk else ''}"
            f"{', rows copied' if plan.copies(c) else ''}"
        )
        return self.frame.finish([groups], self.frame.scratch_bytes, NAME, why)

    def _panel(self, number: Index, vectors: int) -> None:
        k, c, plan = self.kernel, self.convolution, self.plan
        first = k.mul(number, plan.vectors)
        if self.packed:
            start = k.mul(number, c.depth * plan.vectors * c.lanes)
            panel = Panel(vectors, first, start, vectors * c.lanes, c.lanes)
        else:
            size = c.blocks * c.n_taps * c.inner * c.lanes
            panel = Panel(vectors, first, k.mul(first, size), c.lanes, size)
        if plan.chunk:
            self._chunks(panel)
            return

        def tile(tiles: Tiles, row: Index, column: Index, number: Index) -> None:
            begin = self.zeros(len(tiles.pixels) * vectors)
            sums = self._products(panel, tiles, row, column, number, 0, c.blocks, begin)
            self._finish(panel, tiles, row, column, sums)

        self._visit(tile)

    def _chunks(self, panel: Panel) -> None:
        """All tiles go through one chunk of the weights before the next: it stays near meanwhile."""
        k, c, plan = self.kernel, self.convolution, self.plan
        size = plan.chunk * c.inner * c.n_taps * panel.tap

        def held(tiles: Tiles, row: Index, column: Index) -> list[Index]:
            at = k.add(k.mul(row, plan.grid.columns), column)
            return [
                k.add(k.mul(k.add(at, y * plan.grid.columns + x), panel.vectors * c.lanes), v * c.lanes)
                for y, x in tiles.pixels
                for v in range(panel.vectors)
            ]

        def chunk(first: Index) -> None:
            start = k.add(panel.start, k.mul(k.floordiv(first, plan.chunk), size))
            own = replace(panel, start=start)

            def tile(tiles: Tiles, row: Index, column: Index, number: Index) -> None:
                places = held(tiles, row, column)
                begin = [k.vload(self.sums_memory, at, c.lanes) for at in places]
                sums = self._products(own, tiles, row, column, number, first, plan.chunk, begin)
                for value, at in zip(sums, places, strict=True):
                    k.vstore(value, self.sums_memory, at)

            self._visit(tile)

        def clear(tiles: Tiles, row: Index, column: Index, number: Index) -> None:
            for at in held(tiles, row, column):
                k.vstore(self.zeros(1)[0], self.sums_memory, at)

        def finish(tiles: Tiles, row: Index, column: Index, number: Index) -> None:
            sums = [k.vload(self.sums_memory, at, c.lanes) for at in held(tiles, row, column)]
            self._finish(panel, tiles, row, column, sums)

        self._visit(clear)
        k.loop(0, c.blocks, plan.chunk, (), chunk)
        self._visit(finish)

    # -- tiles -----------------------------------------------------------------------------------------

    def _visit(self, tile: Callable[[Tiles, Index, Index, Index], None]) -> None:
        """``tile(tiles, row, column, number)`` for every tile of the workgroup; rows count from its first."""
        k, plan = self.kernel, self.plan
        grid = plan.grid
        per_band = sum(t.count for t in grid.band)

        def band(all_tiles: Sequence[Tiles], b: Index) -> None:
            row, done = k.mul(b, grid.height), 0
            for tiles in all_tiles:

                def one(i: Index, tiles: Tiles = tiles, done: int = done) -> None:
                    column = k.add(k.mul(i, tiles.step), tiles.first[1])
                    number = k.add(k.add(k.mul(b, per_band), i), done)
                    tile(tiles, k.add(row, tiles.first[0]), column, number)

                k.loop(0, tiles.count, 1, (), one)
                done += tiles.count

        whole = grid.rows // grid.height
        if plan.blocks == 1:
            k.loop(0, whole, 1, (), lambda b: band(grid.band, b))
            if grid.rest:
                band(grid.rest, whole)
            return
        left: Index = plan.bands
        if whole % plan.bands or grid.rest:
            left = k.min(k.sub(whole, self.first_band), plan.bands)
        k.loop(0, left, 1, (), lambda b: band(grid.band, b))
        if grid.rest:
            last = k.compare("eq", self.first_band, (plan.blocks - 1) * plan.bands)
            at = whole - (plan.blocks - 1) * plan.bands
            k.if_(last, lambda: band(grid.rest, at))

    def _products(
        self,
        panel: Panel,
        tiles: Tiles,
        row: Index,
        column: Index,
        number: Index,
        first: Index,
        blocks: int,
        begin: Sequence[Value],
    ) -> list[Value]:
        """``begin`` and what input blocks ``first`` to ``first + blocks`` add."""
        k, c, rows = self.kernel, self.convolution, self.rows
        down, across = c.strides[0] * rows.pitch, c.strides[1] * c.inner
        if self.plan.grid.flat or c.is_sparse:
            down, across = self.plan.grid.columns * c.inner, c.inner
        start = k.add(self.base, k.add(k.mul(row, down), k.mul(column, across)))
        start = k.add(start, k.mul(first, rows.plane))
        places = [y * down + x * across for y, x in tiles.pixels]
        steps = rows.tap
        whole = blocks - (1 if c.tail else 0)
        sums = list(begin)
        ahead = self._ahead(panel, number, blocks)
        if not self.plan.copies(c) and not c.stem and tiles.step:
            further = self._next_tile(tiles, column, down, across)
            ahead = replace(ahead, pixels=_lines(x * across for _, x in tiles.pixels), further=further)
        if not self.plan.chunk and tiles.step:
            place = self._place(row, column, 0, 0)
            ahead = replace(ahead, rows=self.behind(panel, *place))
        if whole:
            reduction = Reduction(whole, rows.plane, c.kernel, steps, c.inner)
            sums, behind = self.sums(panel, reduction, self.memory, start, places, sums, ahead)
            panel = replace(panel, start=behind)
        if c.tail:
            reduction = Reduction(1, rows.plane, c.kernel, steps, c.tail)
            last = k.add(start, whole * rows.plane)
            sums, _ = self.sums(panel, reduction, self.memory, last, places, sums, Ahead())
        return sums

    def _next_tile(self, tiles: Tiles, column: Index, down: int, across: int) -> Index:
        """How far the input of the next tile lies behind this one's: beside it, or in the next band."""
        k, grid = self.kernel, self.plan.grid
        beside = tiles.step * across
        if tiles is not grid.band[-1]:
            return beside
        last = tiles.first[1] + (tiles.count - 1) * tiles.step
        below = grid.height * down - last * across
        if tiles.count == 1 or below == beside:
            return below
        return k.select(k.compare("eq", column, last), k.value(below), k.value(beside))

    def _ahead(self, panel: Panel, number: Index, blocks: int) -> Ahead:
        """This tile's share of the weights that come next, where they come from far."""
        k, c, plan = self.kernel, self.convolution, self.plan
        n_bytes = c.out_blocks * c.depth * c.lanes * FLOAT_BYTES
        if not c.stem and (not self.packed or n_bytes <= NEAR_WEIGHTS):
            return Ahead()
        reduction = Reduction(blocks, 0, c.kernel, (0, 0), c.inner)
        loops, taps = reduction.turns()
        turns = math.prod(count for count, _ in loops)
        size = turns * len(taps) * panel.tap
        n_tiles = sum(t.count for t in plan.grid.band) * plan.bands
        lines = min(MOST_AHEAD, max(1, -(-size // LINE // (turns * n_tiles))))
        if c.stem:
            # One a step: pixels of a stem share elements, and LLVM would keep those in registers it has not.
            lines = max(lines, len(taps))
        share = turns * lines * LINE
        offset = k.min(k.mul(number, share), size)
        return Ahead(k.add(k.add(panel.start, size), offset), lines)

    def _finish(self, panel: Panel, tiles: Tiles, row: Index, column: Index, sums: Sequence[Value]) -> None:
        for number, (dy, dx) in enumerate(tiles.pixels):
            for v in range(panel.vectors):
                place = self._place(row, column, dy, dx)
                self.store(panel, *place, v, sums[number * panel.vectors + v])

    def _place(self, row: Index, column: Index, dy: int, dx: int) -> tuple[Index, Index]:
        """Row and column in the result of a pixel of a tile; all of a flat plane is one row."""
        k, grid = self.kernel, self.plan.grid
        y = k.add(k.add(k.mul(self.first_band, grid.height), row), dy)
        x = k.add(column, dx)
        return (0, k.add(k.mul(y, grid.columns), x)) if grid.flat else (y, x)
