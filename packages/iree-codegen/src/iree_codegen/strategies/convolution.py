"""``convolution``: direct NCHW convolution (grouped too) on register tiles, f32.

A workgroup owns a block of output rows of one image (and a share of the output channels). The padded input
rows it needs are copied to scratch once, split by stride phase, with a pitch that makes every tap a plain
shift: output position ``p = y * pitch + x`` reads ``plane[p + offset(tap)]``. So the convolution is a sum of
matrix products over taps; a register tile holds output channels x vectors of positions, weights are
broadcast scalars packed in the order they are read. Positions between rows are computed and dropped.
Without padding and stride the input itself has that form and nothing is copied.

Where positions lie as the result does, the fused epilogue works on the accumulators; else tiles go to a
slab of scratch, from which it reads row by row.

Images whose size is known when the dispatch runs: ``sized_convolution``.
"""

from __future__ import annotations

from typing import Any

from iree_codegen.channel_convolution import ChannelTiles, channel_convolution, plan_channel_tiles
from iree_codegen.channel_panels import channel_panels
from iree_codegen.convolution_blocks import CACHED_WEIGHTS, FLOAT_BYTES, Blocks, choose_blocks, widths
from iree_codegen.convolution_tiles import CHEAP_EPILOGUE, NAME, ConvolutionTiles
from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.matmul_plan import plan_matmul
from iree_codegen.padded_copy import PaddedCopy
from iree_codegen.sized_convolution import choose_sized_tile, sized_convolution
from iree_codegen.window import DENSE, Window, epilogue_cost, has_static_images, is_flat, match, total_groups
from iree_codegen.winograd import POINTS, Strips, plan_winograd, winograd
from iree_codegen.winograd_panels import WINOGRAD_PANELS
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType, f32
from iree_core_ir.target import ConstantLayout

__all__ = ["NAME", "convolution", "layout"]

LINE = 16
"""Floats of a cache line."""
WINOGRAD_GAIN = 0.85
"""Winograd is taken where the model promises at most this share of the direct form's cycles."""


def _match(dispatch: Dispatch, description: WorkgroupDescription) -> Window[Any] | None:
    """The window that this strategy takes. Images of one pixel are left to products: vectors run along pixels
    here, along channels there.
    """
    window = match(dispatch, DENSE)
    if window is None or description.vector_bits < 128:
        return None
    pixel = (window.height, window.width) == (1, 1) and window.n_taps == window.groups == 1
    return None if pixel and plan_matmul(dispatch, description) is not None else window


def convolution(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    window = _match(dispatch, description)
    if window is None:
        return None
    if not has_static_images(window):
        return sized_convolution(dispatch, description, window)
    assert window.weights is not None
    plan = plan_static(window, description) if window.weights.packed is not None else None
    if isinstance(plan, Strips):
        return winograd(dispatch, description, window, plan)
    if isinstance(plan, ChannelTiles):
        return channel_convolution(dispatch, description, window, plan)
    return _Emitter(dispatch, description, window).run()


def layout(dispatch: Dispatch, description: WorkgroupDescription) -> ConstantLayout | None:
    """How the weights of a convolution should be stored; None when this strategy does not take it."""
    window = _match(dispatch, description)
    if window is None:
        return None
    assert window.weights is not None
    if not window.weights.constant:
        return None
    if has_static_images(window):
        plan = plan_static(window, description)
        if isinstance(plan, Strips):
            return winograd_layout(window, plan)
        panel = plan.panel
    else:
        panel, _ = choose_sized_tile(window, description)
    return channel_panels(window.weights, panel, window.groups)


def plan_static(window: Window[int], description: WorkgroupDescription) -> Blocks | Strips | ChannelTiles:
    """The form with the fewest cycles; Winograd's where it is allowed and clearly pays."""
    direct = choose_blocks(window, description)
    if description.conv_algorithm == "auto":
        strips = plan_winograd(window, description)
        if strips is not None and strips.cycles <= WINOGRAD_GAIN * direct.cycles:
            return strips
    channels = plan_channel_tiles(window, description)
    return channels if channels is not None and channels.cycles < direct.cycles else direct


def winograd_layout(window: Window[int], strips: Strips) -> ConstantLayout:
    """Transformed weights in panels."""
    assert window.weights is not None
    panels = -(-window.out_channels // strips.panel)
    element = window.weights.value.type.element_type
    packed = TensorType([panels, POINTS, window.channels, strips.panel], element)
    return ConstantLayout(window.weights.argument, WINOGRAD_PANELS, {"rows": strips.panel}, packed)


class _Emitter(ConvolutionTiles[int]):
    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, window: Window[int]) -> None:
        self.blocks = choose_blocks(window, description)
        super().__init__(dispatch, description, window, self.blocks.panel)
        self.rows = self.blocks.layout
        self.n_vectors = self.blocks.n_vectors
        self.flat = self.rows.pitch == window.out_width and is_flat(dispatch, window.op)
        whole = description.masks or self.rows.positions % self.lanes == 0
        self.direct = self.flat and whole and epilogue_cost(dispatch, window.op) <= CHEAP_EPILOGUE

    def run(self) -> Kernel:
        k, w, rows = self.kernel, self.window, self.rows
        n_blocks = w.out_height // rows.rows
        _, _, shares = self.panel_range(0, self.blocks.shares)
        number: Index = self.frame.ids[0]
        share = k.mod(number, shares)
        rest = k.floordiv(number, shares)
        block = k.mod(rest, n_blocks)
        plane = k.floordiv(rest, n_blocks) if w.batch != 1 or w.groups > 1 else 0
        self.group = k.mod(plane, w.groups) if w.groups > 1 else 0
        self.image = k.floordiv(plane, w.groups)
        self.top = k.mul(block, rows.rows)
        self.first_panel = k.mul(self.group, self.panels)
        self.plane = rows.plane
        self.offsets = [rows.offset(w, y, x) for y, x in w.taps]
        source = self.memory
        base = k.mul(plane, w.channels * w.height * w.width)
        scratch = 0
        if rows.copied:
            copy = PaddedCopy(k, w, rows, self.lanes)
            self.memory = k.view(self.frame.scratch, 0, copy.elements, f32)
            copy.emit(self.memory, source, base, self.top)
            scratch = -(-copy.elements * FLOAT_BYTES // 64) * 64
        else:
            self.base = k.add(base, k.mul(self.top, rows.pitch))
        if not self.direct:
            scratch += self.use_slab(self.n_vectors * self.lanes, scratch)

        def one_panel(panel: Index) -> None:
            self._tiles(panel)
            if self.direct:
                return
            if self.flat:
                self.finish_panel(panel, 1, rows.rows * w.out_width, 0)
            else:
                self.finish_panel(panel, rows.rows, w.out_width, rows.pitch)

        first, last, _ = self.panel_range(share, self.blocks.shares)
        k.loop(first, last, 1, (), one_panel)
        why = (
            f"{w.n_taps} taps, tile {self.panel}x{self.blocks.vectors} vectors, {rows.rows} rows a block"
            f"{', input copied' if rows.copied else ''}{'' if self.direct else ', result by way of scratch'}"
        )
        return self.frame.finish([total_groups(w, n_blocks * shares)], scratch, NAME, why)

    def _tiles(self, panel: Index) -> None:
        """All positions of one panel of output channels: tiles of balanced width."""
        k, lanes = self.kernel, self.lanes
        wide, narrow, rest = widths(self.n_vectors, self.blocks.vectors)
        masked = not (self.rows.copied and not self.direct) and self.rows.positions % lanes != 0
        n_tiles = wide + rest

        def tiles(low: int, high: int, width: int, origin: int, first: int) -> None:
            def one(i: Index) -> None:
                position = k.add(k.mul(i, width * lanes), origin)
                self._tile(panel, position, width, False, k.add(i, first), n_tiles)

            k.loop(low, high, 1, (), one)

        # The last tile may be masked and is written out then.
        last_is_narrow = rest > 0
        tiles(0, wide - (masked and not last_is_narrow), narrow + 1, 0, 0)
        origin = wide * (narrow + 1) * lanes
        tiles(0, rest - (masked and last_is_narrow), narrow, origin, wide)
        if masked:
            width = narrow if last_is_narrow else narrow + 1
            position = (self.n_vectors - width) * lanes
            self._tile(panel, position, width, True, n_tiles - 1, n_tiles)

    def _tile(
        self, panel: Index, position: Index, width: int, masked: bool, number: Index, n_tiles: int
    ) -> None:
        k, lanes = self.kernel, self.lanes
        mask = k.mask_below(self.rows.positions - (self.n_vectors - 1) * lanes, lanes) if masked else None
        masks: list[Value | None] = [*[None] * (width - 1), mask]
        weights = self.weight_rows(panel)
        sums = self.sums(
            weights,
            position,
            width,
            [None] * width if self.rows.copied else masks,
            lambda c, step: self._fetch_ahead(weights[0], panel, c, step, number, n_tiles),
        )
        if self.direct:
            self.store(panel, position, width, sums, masks)
        else:
            self.keep(position, width, sums)

    def _fetch_ahead(
        self, weights: Index, panel: Index, c: Index, unroll: int, number: Index, n_tiles: int
    ) -> None:
        self._prefetch(weights, c, unroll, number, n_tiles)
        k, w, rows = self.kernel, self.window, self.rows
        block = rows.rows * rows.pitch
        n_bytes = w.channels * w.height * w.width * FLOAT_BYTES
        if rows.copied or rows.rows == w.out_height or n_bytes <= CACHED_WEIGHTS:
            return
        # The next block's input, a line of every channel at a time, evenly over panels and tiles.
        lines, passes = -(-block // LINE), self.panels * n_tiles
        turn = k.add(k.mul(panel, n_tiles), number)
        line = k.mul(k.floordiv(k.mul(turn, lines), passes), LINE)
        start = k.add(k.add(self.base, block), line)
        for u in range(unroll):
            for more in range(-(-lines // passes)):
                at = k.add(start, k.mul(k.add(c, u), rows.plane))
                k.prefetch(self.memory, k.add(at, more * LINE), locality=2)

    def _prefetch(self, weights: Index, c: Index, unroll: int, number: Index, n_tiles: int) -> None:
        """This tile's share of the next panel's weights, where they come from far."""
        k, w = self.kernel, self.window
        panel_size = w.depth * self.panel
        n_bytes = -(-w.out_channels // self.panel) * panel_size * w.groups * FLOAT_BYTES
        if not self.packed or n_bytes <= CACHED_WEIGHTS // 2:
            return
        share = panel_size // n_tiles // LINE * LINE
        per_step = -(-w.n_taps * self.panel * unroll // n_tiles)
        start = k.add(k.add(weights, k.mul(number, share)), panel_size)
        at = k.add(start, k.mul(c, -(-w.n_taps * self.panel // n_tiles)))
        for line in range(max(1, round(per_step / LINE))):
            k.prefetch(self.weights, k.add(at, line * LINE), locality=2)
