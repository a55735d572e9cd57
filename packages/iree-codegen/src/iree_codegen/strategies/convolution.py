"""``convolution``: direct NCHW convolution (grouped too) on register tiles, f32, static shapes.

A workgroup owns a block of output rows of one image (and a share of the output channels). The padded input
rows it needs are copied to scratch once, split by stride phase, with a pitch that makes every tap a plain
shift: output position ``p = y * pitch + x`` reads ``plane[p + offset(tap)]``. So the convolution is a sum of
matrix products over taps; a register tile holds output channels x vectors of positions, weights are
broadcast scalars packed in the order they are read. Positions between rows are computed and dropped.
Without padding and stride the input itself has that form and nothing is copied.

Where positions lie as the result does, the fused epilogue works on the accumulators; else tiles go to a
slab of scratch, from which it reads row by row.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from iree_codegen.channel_panels import channel_panels
from iree_codegen.convolution_blocks import CACHED_WEIGHTS, FLOAT_BYTES, choose_blocks, widths
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.padded_copy import PaddedCopy
from iree_codegen.window import DENSE, Place, Window, epilogue_cost, is_flat, match, total_groups
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32
from iree_core_ir.target import ConstantLayout

NAME = "convolution"
CHEAP_EPILOGUE = 14
"""Epilogues of up to so many instructions are written out for every accumulator of a tile."""
LINE = 16
"""Floats of a cache line."""


def convolution(dispatch: Dispatch, description: Any) -> Kernel | None:
    window = match(dispatch, DENSE)
    if window is None or description.vector_bits < 128:
        return None
    return _Emitter(dispatch, description, window).run()


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the weights of a convolution should be stored; None when this strategy does not take it."""
    window = match(dispatch, DENSE)
    if window is None or description.vector_bits < 128:
        return None
    assert window.weights is not None
    if not window.weights.constant:
        return None
    return channel_panels(window.weights, choose_blocks(window, description).panel, window.groups)


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, window: Window) -> None:
        self.dispatch = dispatch
        self.description = description
        self.window = window
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.blocks = choose_blocks(window, description)
        self.rows = self.blocks.layout
        self.lanes = self.blocks.lanes
        self.panel = self.blocks.panel
        self.n_vectors = self.blocks.n_vectors
        assert window.weights is not None
        self.packed = window.weights.packed is not None
        self.weights = self.frame.binding_args[window.weights.index]
        self.place = Place.of(window)
        self.forms = self.place.forms(window)
        self.flat = self.rows.pitch == window.out_width and is_flat(dispatch, window.op)
        whole = description.masks or self.rows.positions % self.lanes == 0
        self.direct = self.flat and whole and epilogue_cost(dispatch, window.op) <= CHEAP_EPILOGUE

    def run(self) -> Kernel:
        k, w, rows = self.kernel, self.window, self.rows
        n_blocks = w.out_height // rows.rows
        panels = -(-w.out_channels // self.panel)
        per_share = -(-panels // self.blocks.shares)
        shares = -(-panels // per_share)
        number: Index = self.frame.ids[0]
        share = k.mod(number, shares)
        rest = k.floordiv(number, shares)
        block = k.mod(rest, n_blocks)
        plane = k.floordiv(rest, n_blocks) if w.batch != 1 or w.groups > 1 else 0
        self.group = k.mod(plane, w.groups) if w.groups > 1 else 0
        self.image = k.floordiv(plane, w.groups)
        self.top = k.mul(block, rows.rows)
        self.first_panel = k.mul(self.group, panels)
        source = self.frame.binding_args[w.source.index]
        base = k.mul(plane, w.channels * w.height * w.width)
        scratch = 0
        memory = source
        if rows.copied:
            copy = PaddedCopy(k, w, rows, self.lanes)
            memory = k.view(self.frame.scratch, 0, copy.elements, f32)
            copy.emit(memory, source, base, self.top)
            base = 0
            scratch = -(-copy.elements * FLOAT_BYTES // 64) * 64
        else:
            base = k.add(base, k.mul(self.top, rows.pitch))
        self.memory, self.base = memory, base
        self.slab = self.weights
        if not self.direct:
            elements = self.panel * self.n_vectors * self.lanes
            self.slab = k.view(self.frame.scratch, scratch, elements, f32)
            scratch += elements * FLOAT_BYTES

        def one_panel(panel: Index) -> None:
            self._tiles(panel)
            if not self.direct:
                self._epilogue(panel)

        first = k.mul(share, per_share)
        last = k.add(first, per_share)
        if panels % per_share:
            last = k.min(last, panels)
        k.loop(first, last, 1, (), one_panel)
        why = (
            f"{w.n_taps} taps, tile {self.panel}x{self.blocks.vectors} vectors, {rows.rows} rows a block"
            f"{', input copied' if rows.copied else ''}{'' if self.direct else ', result by way of scratch'}"
        )
        return self.frame.finish([total_groups(w, n_blocks * shares)], scratch, NAME, why)

    # -- register tiles -----------------------------------------------------------------------------

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

    def _weight_rows(self, panel: Index) -> list[Index]:
        """Where the weights of each output channel of a panel begin, and how far taps are apart."""
        k, w = self.kernel, self.window
        if self.packed:
            start = k.mul(k.add(self.first_panel, panel), w.depth * self.panel)
            return [k.add(start, i) for i in range(self.panel)]
        first = k.mul(panel, self.panel)
        group = k.mul(self.group, w.out_channels)
        found: list[Index] = []
        for i in range(self.panel):
            row = k.add(first, i)
            if w.out_channels % self.panel:
                row = k.min(row, w.out_channels - 1)
            found.append(k.mul(k.add(group, row), w.depth))
        return found

    def _tile(
        self, panel: Index, position: Index, width: int, masked: bool, number: Index, n_tiles: int
    ) -> None:
        k, w, lanes = self.kernel, self.window, self.lanes
        start = k.add(self.base, position)
        offsets = [self.rows.offset(w, y, x) for y, x in w.taps]
        mask = k.mask_below(self.rows.positions - (self.n_vectors - 1) * lanes, lanes) if masked else None
        masks: list[Value | None] = [*[None] * (width - 1), mask]
        unmasked: list[Value | None] = [None] * width
        reads = unmasked if self.rows.copied else masks
        zero = k.splat(k.constant(0.0, f32), lanes)
        weight_rows = self._weight_rows(panel)
        step_size = self.panel if self.packed else 1
        per_channel = w.n_taps * step_size

        def taps(c: Index, state: list[Value]) -> list[Value]:
            channel = k.add(start, k.mul(c, self.rows.plane))
            at = k.mul(c, per_channel)
            for t, offset in enumerate(offsets):
                vectors = [
                    k.vload(self.memory, k.add(channel, offset + j * lanes), lanes, reads[j])
                    for j in range(width)
                ]
                for i in range(self.panel):
                    scalar = k.load(self.weights, k.add(k.add(weight_rows[i], at), t * step_size))
                    for j in range(width):
                        state[i * width + j] = k.fma(scalar, vectors[j], state[i * width + j])
            return state

        unroll = self._unroll(width)

        def step(c: Index, *state: Value) -> list[Value]:
            values = list(state)
            self._prefetch(weight_rows[0], c, unroll, number, n_tiles)
            for u in range(unroll):
                values = taps(k.add(c, u), values)
            return values

        accumulators = k.loop(0, w.channels, unroll, [zero] * (self.panel * width), step)
        if self.direct:
            self._store(panel, position, width, accumulators, masks)
            return
        pitch = self.n_vectors * lanes
        for i in range(self.panel):
            for j in range(width):
                at = k.add(position, i * pitch + j * lanes)
                k.vstore(accumulators[i * width + j], self.slab, at)

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

    def _unroll(self, width: int) -> int:
        """Channels a loop turn: enough FMAs to hide the loop, few enough to stay small."""
        w = self.window
        per_channel = w.n_taps * self.panel * width
        unroll = 1
        while unroll < 4 and w.channels % (2 * unroll) == 0 and per_channel * unroll < 96:
            unroll *= 2
        return unroll

    # -- epilogue --------------------------------------------------------------------------------------

    def _store(
        self,
        panel: Index,
        position: Index,
        width: int,
        accumulators: Sequence[Value],
        masks: Sequence[Value | None],
    ) -> None:
        """The dispatch's result from the accumulators of one tile."""
        k, w = self.kernel, self.window
        first = k.mul(panel, self.panel)
        tail = w.out_channels % self.panel

        def row(i: int) -> None:
            channel = k.add(first, i)
            at = Bindings(k).child(self.place.at(self.image, self.group, channel, self.top))
            for j in range(width):
                x = k.add(position, j * self.lanes)
                point = Point(at.child({self.place.x: x}, self.place.x, self.lanes), masks[j])
                self._element(point, accumulators[i * width + j])

        for i in range(self.panel):
            if tail and i >= tail:
                inside = k.compare("slt", k.add(first, i), w.out_channels)
                k.if_(inside, functools.partial(row, i))
            else:
                row(i)

    def _element(self, point: Point, value: Value | None = None) -> None:
        """Store the result at ``point``; ``value``: the convolution there, if in a register."""
        elements, (result, destination) = self.frame.elements, self.dispatch.results[0]
        if value is not None:
            held = value
            elements.overrides[self.window.op.results[0]] = lambda forms, point: held
        if result is self.window.op.results[0]:
            final = elements.element(result, self.forms, point)
        else:
            final = elements.element_through(result, self.forms, point)
        elements.store(final, self.frame.binding_memory(destination), self.forms, point)

    def _epilogue(self, panel: Index) -> None:
        """The dispatch's result for one panel, its convolution read from the slab."""
        k, w, rows = self.kernel, self.window, self.rows
        pitch = self.n_vectors * self.lanes
        first = k.mul(panel, self.panel)
        strides = w.steps(pitch, rows.pitch, 1)

        def row(i: Index, y: Index, count: int) -> None:
            channel, line = k.add(first, i), k.add(self.top, y)
            at = Bindings(k).child(self.place.at(self.image, self.group, channel, line))
            # The slab begins at this block's first row and this panel's first channel.
            base = k.sub(
                k.add(k.mul(i, pitch), k.mul(y, rows.pitch)),
                k.add(k.mul(channel, pitch), k.mul(line, rows.pitch)),
            )
            self.frame.elements.memory[w.op.results[0]] = Memory(self.slab, strides, 0, base)

            def once(x: Index, lanes: int, mask: Value | None = None) -> None:
                lane_var = self.place.x if lanes > 1 else None
                self._element(Point(at.child({self.place.x: x}, lane_var, lanes), mask))

            vector_loop(k, 0, count, self.lanes, self.description.masks, once)

        def one_channel(i: Index) -> None:
            if self.flat:
                row(i, 0, rows.rows * w.out_width)
            else:
                k.loop(0, rows.rows, 1, (), lambda y: row(i, y, w.out_width))

        valid: Index = self.panel
        if w.out_channels % self.panel:
            valid = k.min(self.panel, k.sub(w.out_channels, first))
        k.loop(0, valid, 1, (), one_channel)
