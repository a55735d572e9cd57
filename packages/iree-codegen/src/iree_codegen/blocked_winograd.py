"""3x3 convolution of blocked images by Winograd's F(2x2, 3x3): four results from 16 products instead of 36.

A workgroup takes a strip of rows of 2x2 tiles. The 4x4 input patches of a strip are transformed to
``[16][channel blocks][tiles][lanes]`` once; then, a panel of output channels at a time, 16 matrix products
give ``[16][vectors][tiles][lanes]``, which are transformed back to pixels with the epilogue in registers.
Vectors are the channels of a pixel, so nothing is shuffled.

One value that is not finite spoils the whole 2x2 tile it reaches, and sums can overflow a little earlier than
in the direct form: ``--conv-algorithm=direct`` keeps to the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.blocked_grid import balanced
from iree_codegen.blocked_image import BlockedConvolution
from iree_codegen.blocked_plan import (
    FLOAT_BYTES,
    GROUP_CYCLES,
    L2_BYTES,
    exposed,
    tile_cycles,
    vector_choices,
)
from iree_codegen.blocked_rows import PAGE_ELEMENTS
from iree_codegen.blocked_tiles import LINE, MOST_AHEAD, NAME, Ahead, BlockedTiles, Panel, Reduction
from iree_codegen.blocked_winograd_panels import POINTS
from iree_codegen.cost_model import FAR_BYTES, REMOTE_BYTES, idle, weighed
from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

PATCH_BYTES = 1 << 20
"""Transformed patches of a strip stay in this much of the L2 cache, beside two panels of weights."""
SMALLEST_PLANE = 14
"""Below, tiles cover too much that is not there, and the larger weights cost more than the products."""
FEWEST_CHANNELS = 32
TRANSFORM_CYCLES = 44
"""One vector of a 4x4 patch, or of 2x2 results, with its loads and stores."""
WANTED_GROUPS = 2


@record(frozen=True)
class Strips:
    """The plan: rows of tiles that a workgroup takes, and its register tile."""

    rows: int
    vectors: int
    pixels: int
    """Tiles of the image in a register tile, at most."""
    shares: int
    cycles: float
    """Of one image, on one core."""
    score: float
    """With two threads in mind, too: the least is best."""


def plan_winograd(c: BlockedConvolution, description: Any) -> Strips | None:
    """The best strips; None where the form of the convolution does not fit."""
    if c.kernel != (3, 3) or c.strides != (1, 1) or c.dilations != (1, 1) or c.stem or not c.weights.constant:
        return None
    if min(c.out_size) < SMALLEST_PLANE or max(c.pad) > 1:
        return None
    if min(c.channels, c.out_blocks * c.lanes) < FEWEST_CHANNELS or len(c.axes) < 3:
        return None
    return min(_strips(c, description), key=lambda s: s.score, default=None)


def _strips(c: BlockedConvolution, description: Any) -> Iterator[Strips]:
    down, across = _tiles(c)
    images = c.batch if isinstance(c.batch, int) else 1
    weights = POINTS * c.out_blocks * c.lanes * c.channels * FLOAT_BYTES
    for rows in range(1, down + 1):
        n = rows * across
        if down % rows or (rows > 1 and POINTS * c.blocks * c.lanes * n * FLOAT_BYTES > PATCH_BYTES):
            continue
        strips = down // rows
        for vectors, pixels in vector_choices(description.registers, c.out_blocks):
            panels = -(-c.out_blocks // vectors)
            shares = min(panels, -(-WANTED_GROUPS // (strips * images)))
            transforms = (c.blocks * shares + c.out_blocks) * n * TRANSFORM_CYCLES
            products = 0.0
            full, rest = divmod(c.out_blocks, vectors)
            for own, count in ((vectors, full), (rest, 1 if rest else 0)):
                for size, times in balanced(n, pixels):
                    products += count * times * tile_cycles(own, size, c.channels, 0)
            work = strips * (transforms + POINTS * products + GROUP_CYCLES)
            many = weights > L2_BYTES // 2
            one = work + exposed(weights * (strips if many else 1), FAR_BYTES, work)
            groups = strips * shares * images
            size = -(-panels // shares) * vectors
            half = work / 2 * (1 + idle(groups, size, strips * c.out_blocks * images))
            if strips * images > 1:
                two = half + exposed(weights * (strips // 2 if many else 1), FAR_BYTES, half)
            else:
                # Each thread has channels of its own: it reads their weights and the whole input.
                image = math.prod(c.size) * c.blocks * c.lanes * FLOAT_BYTES
                two = half + exposed(weights / 2, FAR_BYTES, half) + exposed(image / 2, REMOTE_BYTES, half)
            yield Strips(rows, vectors, pixels, shares, one, weighed(one, two, groups))


def _tiles(c: BlockedConvolution) -> tuple[int, int]:
    return -(-c.out_size[0] // 2), -(-c.out_size[1] // 2)


def blocked_winograd(
    dispatch: Dispatch, description: Any, convolution: BlockedConvolution, strips: Strips
) -> Kernel:
    return _Emitter(dispatch, description, convolution, strips).run()


class _Emitter(BlockedTiles):
    def __init__(self, dispatch: Dispatch, description: Any, c: BlockedConvolution, strips: Strips) -> None:
        super().__init__(dispatch, description, c)
        self.strips = strips
        self.across = _tiles(c)[1]
        self.n = strips.rows * self.across
        self.plane = self.n * c.lanes
        if self.plane % PAGE_ELEMENTS == 0:
            self.plane += LINE
        self.patches = self.frame.scratch_view(POINTS * c.blocks * self.plane, f32)
        self.products = self.frame.scratch_view(POINTS * strips.vectors * self.plane, f32)
        self.first_row: Index = 0

    def run(self) -> Kernel:
        k, c, s = self.kernel, self.convolution, self.strips
        n_strips = _tiles(c)[0] // s.rows
        number: Index = self.frame.ids[0]
        share, rest = k.mod(number, s.shares), k.floordiv(number, s.shares)
        strip: Index = k.mod(rest, n_strips) if n_strips > 1 else 0
        self.image = k.floordiv(rest, n_strips) if c.batch != 1 else 0
        self.first_row = k.mul(strip, s.rows)
        self._transform_input()
        self.panels(share, s.shares, s.vectors, self._panel)
        groups = dim_ops.mul(c.batch, n_strips * s.shares)
        sizes = "+".join(f"{size}x{count}" for size, count in balanced(self.n, s.pixels))
        why = f"Winograd F(2x2,3x3), {s.vectors} vectors of channels x {sizes} tiles, {s.rows} rows a strip"
        return self.frame.finish([groups], self.frame.scratch_bytes, NAME, why)

    def _columns(self, body: Callable[[Index], None], whole: Callable[[int], bool]) -> None:
        """``body(tile)`` along a row; tiles that are not ``whole`` get a number."""
        k = self.kernel
        inside = [x for x in range(self.across) if whole(x)]
        low, high = (inside[0], inside[-1] + 1) if inside else (self.across, self.across)
        for x in range(low):
            body(x)
        k.loop(low, high, 1, (), body)
        for x in range(high, self.across):
            body(x)

    # -- input patches ---------------------------------------------------------------------------------

    def _transform_input(self) -> None:
        """``B^T d B`` of the 4x4 patch of every tile and channel."""
        k, c = self.kernel, self.convolution
        height, width = c.size
        (top, left), lanes = c.pad, c.lanes
        image = k.mul(self.image, c.blocks * height * width * lanes)
        rows_inside = [2 * t - top >= 0 and 2 * t - top + 3 < height for t in range(_tiles(c)[0])]

        def add(a: Value, b: Value) -> Value:
            return k.binary("arith.addf", a, b)

        def sub(a: Value, b: Value) -> Value:
            return k.binary("arith.subf", a, b)

        def folded(d: Sequence[Value]) -> list[Value]:
            return [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])]

        def block(b: Index) -> None:
            plane = k.add(image, k.mul(b, height * width * lanes))
            target = k.mul(b, self.plane)

            def row(r: Index) -> None:
                y = k.add(k.mul(k.add(self.first_row, r), 2), -top)

                def tile(x: Index, guarded: bool) -> None:
                    column = k.add(k.mul(x, 2), -left)
                    patch = [self._patch_row(plane, k.add(y, i), column, guarded) for i in range(4)]
                    half = [folded(line) for line in patch]
                    points = [folded([line[i] for line in half]) for i in range(4)]
                    at = k.add(target, k.mul(k.add(k.mul(r, self.across), x), lanes))
                    for i in range(4):
                        for j in range(4):
                            point = (4 * i + j) * c.blocks * self.plane
                            k.vstore(points[j][i], self.patches, k.add(at, point))

                def line(guarded: bool) -> None:
                    def whole(x: int) -> bool:
                        return 2 * x - left >= 0 and 2 * x - left + 3 < width

                    self._columns(lambda x: tile(x, guarded), whole)

                if all(rows_inside):
                    line(False)
                    return
                first = rows_inside.index(True) if any(rows_inside) else 0
                own = k.sub(k.add(self.first_row, r), first)
                inside = k.compare("ult", own, sum(rows_inside))
                k.if_(inside, lambda: line(False), lambda: line(True))

            k.loop(0, self.strips.rows, 1, (), row)

        k.loop(0, c.blocks, 1, (), block)

    def _patch_row(self, plane: Index, y: Index, x: Index, guarded: bool) -> list[Value]:
        """Four pixels from (y, x) on, zeros outside; a number ``x`` may be near a border."""
        k, c = self.kernel, self.convolution
        height, width = c.size
        start = k.add(plane, k.mul(k.add(k.mul(y, width), x), c.lanes))

        def load() -> list[Value]:
            return [
                self.zeros(1)[0]
                if isinstance(x, int) and not 0 <= x + i < width
                else k.vload(self.source, k.add(start, i * c.lanes), c.lanes)
                for i in range(4)
            ]

        if not guarded:
            return load()
        return k.if_(k.compare("ult", y, height), load, lambda: self.zeros(4))

    # -- products --------------------------------------------------------------------------------------

    def _panel(self, number: Index, vectors: int) -> None:
        k, c, s = self.kernel, self.convolution, self.strips
        tap = vectors * c.lanes
        start = k.mul(number, POINTS * c.channels * s.vectors * c.lanes)
        panel = Panel(vectors, k.mul(number, s.vectors), start, tap, c.lanes)
        size = c.channels * tap

        def point(e: Index) -> None:
            own = replace(panel, start=k.add(start, k.mul(e, size)))
            source = k.mul(e, c.blocks * self.plane)
            target = k.mul(e, s.vectors * self.plane)
            first = done = 0
            for width, count in balanced(self.n, s.pixels):

                def tile(i: Index, width: int = width, first: int = first, done: int = done) -> None:
                    at = k.mul(k.add(k.mul(i, width), first), c.lanes)
                    sums = self._tile(own, k.add(source, at), width, k.add(i, done))
                    for p in range(width):
                        for v in range(vectors):
                            place = k.add(k.add(target, at), v * self.plane + p * c.lanes)
                            k.vstore(sums[p * vectors + v], self.products, place)

                k.loop(0, count, 1, (), tile)
                first += width * count
                done += count

        k.loop(0, POINTS, 1, (), point)
        for v in range(vectors):
            self._transform_output(panel, v)

    def _tile(self, panel: Panel, start: Index, width: int, number: Index) -> list[Value]:
        """Sums over channels for ``width`` tiles of the image."""
        k, c = self.kernel, self.convolution
        places = [p * c.lanes for p in range(width)]
        whole = c.channels // c.lanes
        n_tiles = sum(count for _, count in balanced(self.n, self.strips.pixels))
        sums = self.zeros(width * panel.vectors)
        if whole:
            size = whole * c.lanes * panel.tap
            lines = min(MOST_AHEAD, max(1, -(-size // LINE // (whole * n_tiles))))
            offset = k.min(k.mul(number, whole * lines * LINE), size)
            ahead = Ahead(k.add(k.add(panel.start, c.channels * panel.tap), offset), lines)
            reduction = Reduction(whole, self.plane, (1, 1), (0, 0), c.lanes)
            sums, behind = self.sums(panel, reduction, self.patches, start, places, sums, ahead)
            panel = replace(panel, start=behind)
        if c.channels % c.lanes:
            reduction = Reduction(1, self.plane, (1, 1), (0, 0), c.channels % c.lanes)
            last = k.add(start, whole * self.plane)
            sums, _ = self.sums(panel, reduction, self.patches, last, places, sums, Ahead())
        return sums

    # -- results ---------------------------------------------------------------------------------------

    def _transform_output(self, panel: Panel, v: int) -> None:
        """``A^T m A``: two by two pixels of every tile."""
        k, c, s = self.kernel, self.convolution, self.strips
        height, width = c.out_size

        def fold(a: Value, b: Value, d: Value, e: Value) -> tuple[Value, Value]:
            first = k.binary("arith.addf", k.binary("arith.addf", a, b), d)
            return first, k.binary("arith.subf", k.binary("arith.subf", b, d), e)

        def row(r: Index) -> None:
            y = k.mul(k.add(self.first_row, r), 2)

            def tile(x: Index) -> None:
                at = k.mul(k.add(k.mul(r, self.across), x), c.lanes)
                points = [
                    k.vload(self.products, k.add(at, (e * s.vectors + v) * self.plane), c.lanes)
                    for e in range(POINTS)
                ]
                halves = [fold(*points[j::4]) for j in range(4)]

                def pixels(a: int) -> None:
                    both = fold(*(half[a] for half in halves))
                    for b, value in enumerate(both):
                        column = k.add(k.mul(x, 2), b)
                        if not isinstance(column, int) or column < width:
                            self.store(panel, k.add(y, a), column, v, value)

                pixels(0)
                if height % 2:
                    k.if_(k.compare("slt", k.add(y, 1), height), lambda: pixels(1))
                else:
                    pixels(1)

            self._columns(tile, lambda x: 2 * x + 1 < width)

        k.loop(0, s.rows, 1, (), row)
