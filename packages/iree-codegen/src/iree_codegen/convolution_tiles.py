"""The register tiles of convolutions and what becomes of their sums, whether sizes are static or not.

A tile holds ``panel`` output channels times vectors of positions; weights are broadcast scalars, packed in
the order they are read. ``memory[base + channel * plane + offset(tap) + position]`` is what a position reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Generic

from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.window import Place, Size, Window
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

NAME = "convolution"
CHEAP_EPILOGUE = 14
"""Epilogues of up to so many instructions are written out for every accumulator of a tile."""


class ConvolutionTiles(Generic[Size]):
    """Base of the emitters, which say where the input lies and which positions there are."""

    def __init__(
        self, dispatch: Dispatch, description: WorkgroupDescription, window: Window[Size], panel: int
    ) -> None:
        self.dispatch = dispatch
        self.masks: bool = description.masks
        self.window = window
        self.panel = panel
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.lanes: int = description.vector_bits // 32
        assert window.weights is not None
        self.packed = window.weights.packed is not None
        self.weights = self.frame.binding_args[window.weights.index]
        self.place = Place.of(window)
        self.forms = self.place.forms(window)
        # The output plane, and its part that a workgroup does.
        self.image: Index = 0
        self.group: Index = 0
        self.top: Index = 0
        self.left: Index = 0
        self.first_panel: Index = 0
        # The input.
        self.memory = self.frame.binding_args[window.source.index]
        self.base: Index = 0
        self.plane: Index = 0
        self.offsets: list[Index] = []
        # Sums that are not stored from registers.
        self.slab = self.memory
        self.slab_pitch = 0

    @property
    def panels(self) -> int:
        return -(-self.window.out_channels // self.panel)

    def use_slab(self, positions: int, offset: int) -> int:
        """Keep sums of up to ``positions`` in scratch from byte ``offset`` on; returns the bytes."""
        self.slab_pitch = -(-positions // self.lanes) * self.lanes
        elements = self.panel * self.slab_pitch
        self.slab = self.kernel.view(self.frame.scratch, offset, elements, f32)
        return elements * 4

    def panel_range(self, share: Index, shares: int) -> tuple[Index, Index, int]:
        """(first panel, end, number of shares that have any) for the ``share``-th of ``shares``."""
        k = self.kernel
        per_share = -(-self.panels // shares)
        first = k.mul(share, per_share)
        last = k.add(first, per_share)
        if self.panels % per_share:
            last = k.min(last, self.panels)
        return first, last, -(-self.panels // per_share)

    def weight_rows(self, panel: Index) -> list[Index]:
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

    def sums(
        self,
        weight_rows: Sequence[Index],
        position: Index,
        width: int,
        reads: Sequence[Value | None],
        before: Callable[[Index, int], None] | None = None,
    ) -> list[Value]:
        """One tile from ``position`` on: ``[panel][width]`` vectors.

        ``reads``: masks of the loads. ``before(channel, step)`` may add to every turn of the loop.
        """
        k, w, lanes = self.kernel, self.window, self.lanes
        start = k.add(self.base, position)
        zero = k.splat(k.constant(0.0, f32), lanes)
        step_size = self.panel if self.packed else 1
        per_channel = len(self.offsets) * step_size

        def taps(c: Index, state: list[Value]) -> list[Value]:
            channel = k.add(start, k.mul(c, self.plane))
            at = k.mul(c, per_channel)
            for t, offset in enumerate(self.offsets):
                first = k.add(channel, offset)
                vectors = [
                    k.vload(self.memory, k.add(first, j * lanes), lanes, reads[j]) for j in range(width)
                ]
                for i in range(self.panel):
                    scalar = k.load(self.weights, k.add(k.add(weight_rows[i], at), t * step_size))
                    for j in range(width):
                        state[i * width + j] = k.fma(scalar, vectors[j], state[i * width + j])
            return state

        unroll = self._unroll(width)

        def step(c: Index, *state: Value) -> list[Value]:
            values = list(state)
            if before is not None:
                before(c, unroll)
            for u in range(unroll):
                values = taps(k.add(c, u), values)
            return values

        return k.loop(0, w.channels, unroll, [zero] * (self.panel * width), step)

    def _unroll(self, width: int) -> int:
        """Channels a loop turn: enough FMAs to hide the loop, few enough to stay small."""
        w = self.window
        per_channel = len(self.offsets) * self.panel * width
        unroll = 1
        while unroll < 4 and w.channels % (2 * unroll) == 0 and per_channel * unroll < 96:
            unroll *= 2
        return unroll

    # -- what becomes of the sums ----------------------------------------------------------------------

    def keep(self, position: Index, width: int, sums: Sequence[Value]) -> None:
        """A tile's sums to the slab."""
        k = self.kernel
        for i in range(self.panel):
            for j in range(width):
                at = k.add(position, i * self.slab_pitch + j * self.lanes)
                k.vstore(sums[i * width + j], self.slab, at)

    def store(
        self,
        panel: Index,
        position: Index,
        width: int,
        sums: Sequence[Value],
        masks: Sequence[Value | None],
    ) -> None:
        """The dispatch's result from one tile whose positions lie as the result does."""
        k, w = self.kernel, self.window
        first = k.mul(panel, self.panel)
        tail = w.out_channels % self.panel
        left = k.add(self.left, position)

        def row(i: int) -> None:
            at = Bindings(k).child(self.place.at(self.image, self.group, k.add(first, i), self.top))
            for j in range(width):
                x = k.add(left, j * self.lanes)
                point = Point(at.child({self.place.x: x}, self.place.x, self.lanes), masks[j])
                self.element(point, sums[i * width + j])

        for i in range(self.panel):
            if tail and i >= tail:
                inside = k.compare("slt", k.add(first, i), w.out_channels)
                k.if_(inside, functools.partial(row, i))
            else:
                row(i)

    def element(self, point: Point, value: Value) -> None:
        """Store the result at ``point``, where the convolution is ``value``."""
        elements, (result, destination) = self.frame.elements, self.dispatch.results[0]
        elements.overrides[self.window.op.results[0]] = lambda forms, point: value
        if result is self.window.op.results[0]:
            final = elements.element(result, self.forms, point)
        else:
            final = elements.element_through(result, self.forms, point)
        elements.store(final, self.frame.binding_memory(destination), self.forms, point)

    def finish_panel(self, panel: Index, rows: Index, columns: Index, pitch: Index) -> None:
        """The dispatch's result for one panel whose sums are in the slab, rows ``pitch`` apart."""
        k, w = self.kernel, self.window
        first = k.mul(panel, self.panel)

        def row(i: Index, y: Index) -> None:
            at = Bindings(k).child(self.place.at(self.image, self.group, k.add(first, i), k.add(self.top, y)))
            line = k.add(k.mul(i, self.slab_pitch), k.mul(y, pitch))

            def once(x: Index, lanes: int, mask: Value | None = None) -> None:
                lane_var = self.place.x if lanes > 1 else None
                value = k.vload(self.slab, k.add(line, x), lanes, mask)
                self.element(
                    Point(at.child({self.place.x: k.add(self.left, x)}, lane_var, lanes), mask), value
                )

            vector_loop(k, 0, columns, self.lanes, self.masks, once)

        valid: Index = self.panel
        if w.out_channels % self.panel:
            valid = k.min(self.panel, k.sub(w.out_channels, first))

        def channel(i: Index) -> None:
            k.loop(0, rows, 1, (), lambda y: row(i, y))

        k.loop(0, valid, 1, (), channel)
