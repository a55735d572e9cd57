"""Convolution of small planes: vectors run along output channels, positions are broadcast.

A plane of 7x7 fills only three quarters of the vectors that run along it. Here a register tile holds vectors
of output channels times a list of positions, balanced over the plane, so that every product counts. Sums are
left position by position, transposed in registers to rows of channels, and finished from there.
"""

from __future__ import annotations

import itertools

from iree_base.records import record
from iree_codegen.convolution_blocks import CACHED_WEIGHTS, FLOAT_BYTES, Rows, rows_layout
from iree_codegen.convolution_tiles import NAME, ConvolutionTiles
from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.padded_copy import PaddedCopy
from iree_codegen.strategies.transpose import transpose_block
from iree_codegen.window import Window, images, is_flat, total_groups
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

MOST_POSITIONS = 64
"""Of a plane: all of them are one list."""
VECTORS = 2
"""Of output channels in a register tile."""
WANTED_GROUPS = 4
CHUNK_BYTES = 96 << 10
"""Weights that all tiles go through before the next ones: they stay near while the next are fetched."""
LINE = 16
"""Floats of a cache line."""


@record(frozen=True)
class ChannelTiles:
    """The plan: where the input lies, and the positions of every register tile."""

    layout: Rows
    tiles: tuple[tuple[int, ...], ...]
    """Per tile, where its positions lie in a plane of the input."""
    panel: int
    """Output channels of a tile."""
    shares: int
    cycles: float
    """Of one image."""


def plan_channel_tiles(w: Window[int], description: WorkgroupDescription) -> ChannelTiles | None:
    """The plan; None for planes, weights or channels that do not suit."""
    lanes = description.vector_bits // 32
    n, panel = w.out_height * w.out_width, VECTORS * lanes
    if not 1 < n <= MOST_POSITIONS or w.groups > 1 or w.swapped or w.out_channels < panel:
        return None
    if w.weights is None or not w.weights.constant:
        return None
    layout = rows_layout(w, w.out_height, lanes, description.masks)
    places = [y * layout.pitch + x for y in range(w.out_height) for x in range(w.out_width)]
    count = -(-n // ((description.registers - 1 - VECTORS) // VECTORS))
    bounds = [n * i // count for i in range(count + 1)]
    tiles = tuple(tuple(places[a:b]) for a, b in itertools.pairwise(bounds))
    panels = -(-w.out_channels // panel)
    products = sum(w.depth * (max(len(t) * VECTORS, len(t) + VECTORS) / 2 + 0.3) + 150 for t in tiles)
    n_bytes = panels * panel * w.depth * FLOAT_BYTES
    weights = n_bytes / (64 if n_bytes < CACHED_WEIGHTS else 16)
    copied = layout.plane * w.channels / 4 if layout.copied else 0
    finished = -(-n // lanes) * panel * 12
    shares = min(panels, -(-WANTED_GROUPS // images(w)))
    cycles = panels * (products + finished) + weights + copied * shares
    return ChannelTiles(layout, tiles, panel, shares, cycles)


def channel_convolution(
    dispatch: Dispatch, description: WorkgroupDescription, window: Window[int], plan: ChannelTiles
) -> Kernel:
    return _Emitter(dispatch, description, window, plan).run()


class _Emitter(ConvolutionTiles[int]):
    def __init__(
        self, dispatch: Dispatch, description: WorkgroupDescription, window: Window[int], plan: ChannelTiles
    ) -> None:
        super().__init__(dispatch, description, window, plan.panel)
        self.plan = plan
        self.n = window.out_height * window.out_width
        self.padded = -(-self.n // self.lanes) * self.lanes

    def run(self) -> Kernel:
        k, w, rows = self.kernel, self.window, self.plan.layout
        _, _, shares = self.panel_range(0, self.plan.shares)
        first, last, _ = self.panel_range(k.mod(self.frame.ids[0], shares), self.plan.shares)
        self.image = k.floordiv(self.frame.ids[0], shares) if w.batch != 1 else 0
        self.plane = rows.plane
        self.offsets = [rows.offset(w, y, x) for y, x in w.taps]
        base = k.mul(self.image, w.channels * w.height * w.width)
        scratch = 0
        if rows.copied:
            copy = PaddedCopy(k, w, rows, self.lanes)
            source = self.memory
            self.memory = k.view(self.frame.scratch, 0, copy.elements, f32)
            copy.emit(self.memory, source, base, 0)
            scratch = -(-copy.elements * FLOAT_BYTES // 64) * 64
        else:
            self.base = base
        self.columns = k.view(self.frame.scratch, scratch, self.padded * self.panel, f32)
        scratch += self.padded * self.panel * FLOAT_BYTES
        scratch += self.use_slab(self.padded, scratch)
        k.loop(first, last, 1, (), self._panel)
        sizes = "+".join(str(len(t)) for t in self.plan.tiles)
        why = f"{w.n_taps} taps, {VECTORS} vectors of channels x {sizes} positions"
        return self.frame.finish([total_groups(w, shares)], scratch, NAME, why)

    def _panel(self, panel: Index) -> None:
        k, w = self.kernel, self.window
        weights = k.mul(panel, w.depth * self.panel)
        zero = k.splat(k.constant(0.0, f32), self.lanes)
        chunk = self._chunk()
        if chunk != w.channels:
            k.loop(0, self.n * self.panel, self.lanes, (), lambda at: k.vstore(zero, self.columns, at))

        def channels(c: Index) -> None:
            first = 0
            for places in self.plan.tiles:
                held = [
                    (first + p) * self.panel + v * self.lanes
                    for p in range(len(places))
                    for v in range(VECTORS)
                ]
                sums = [zero if chunk == w.channels else k.vload(self.columns, at, self.lanes) for at in held]
                sums = self._products(weights, c, chunk, places, first / self.n, sums)
                for total, at in zip(sums, held, strict=True):
                    k.vstore(total, self.columns, at)
                first += len(places)

        k.loop(0, w.channels, chunk, (), channels)

        def transposed(position: Index) -> None:
            for v in range(VECTORS):
                at = k.add(k.mul(position, self.panel), v * self.lanes)
                block = [
                    k.vload(self.columns, k.add(at, i * self.panel), self.lanes) for i in range(self.lanes)
                ]
                for i, row in enumerate(transpose_block(k, block)):
                    target = k.add(position, (v * self.lanes + i) * self.slab_pitch)
                    k.vstore(row, self.slab, target)

        k.loop(0, self.padded, self.lanes, (), transposed)
        if is_flat(self.dispatch, w.op):
            self.finish_panel(panel, 1, self.n, 0)
        else:
            self.finish_panel(panel, w.out_height, w.out_width, w.out_width)

    def _chunk(self) -> int:
        """Input channels of a chunk: a divisor."""
        w = self.window
        per_channel = w.n_taps * self.panel * FLOAT_BYTES
        most = max(4, CHUNK_BYTES // per_channel)
        return next(n for n in range(min(most, w.channels), 0, -1) if w.channels % n == 0)

    def _products(
        self,
        weights: Index,
        first: Index,
        chunk: int,
        places: tuple[int, ...],
        part: float,
        sums: list[Value],
    ) -> list[Value]:
        """``sums``, ``[position][vector]`` of a tile, and what a chunk of channels adds.

        ``part`` of the plane's positions come before this tile's: so much of the next chunk is fetched.
        """
        k, w, lanes = self.kernel, self.window, self.lanes
        unroll = 1
        while unroll < 4 and chunk % (2 * unroll) == 0 and len(self.offsets) * unroll < 4:
            unroll *= 2
        step_size = w.n_taps * self.panel
        lines = max(1, round(step_size * unroll * len(places) / self.n / LINE))
        far = -(-w.out_channels // self.panel) * w.depth * self.panel * FLOAT_BYTES > CACHED_WEIGHTS // 2
        ahead = k.add(weights, k.mul(k.add(first, chunk), step_size))
        ahead = k.add(ahead, round(part * chunk * step_size) // LINE * LINE)

        def step(c: Index, *carried: Value) -> list[Value]:
            state = list(carried)
            if far:
                at = k.add(ahead, k.mul(c, step_size * len(places) // self.n))
                for line in range(lines):
                    k.prefetch(self.weights, k.add(at, line * LINE), locality=2)
            for u in range(unroll):
                number = k.add(k.add(first, c), u)
                channel = k.add(self.base, k.mul(number, self.plane))
                row = k.add(weights, k.mul(number, step_size))
                for t, offset in enumerate(self.offsets):
                    start = t * self.panel
                    loaded = [
                        k.vload(self.weights, k.add(row, start + v * lanes), lanes) for v in range(VECTORS)
                    ]
                    for p, place in enumerate(places):
                        scalar = k.load(self.memory, k.add(channel, k.add(offset, place)))
                        for v, vector in enumerate(loaded):
                            state[p * VECTORS + v] = k.fma(scalar, vector, state[p * VECTORS + v])
            return state

        return k.loop(0, chunk, unroll, sums, step)
