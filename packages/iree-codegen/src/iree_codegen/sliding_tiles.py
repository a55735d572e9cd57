"""What kernels of sliding windows (depthwise convolution, pooling) share, whether sizes are static or not.

Workgroups take images and channels; a tile is a few output rows times one vector of columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic

from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.window import MAX_POOL, Place, Size, Window, epilogue_cost, images, total_groups
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

NAME = "sliding-window"
WORK_PER_GROUP = 1 << 18
"""Products of a workgroup, about."""
ENOUGH_GROUPS = 4
WRITTEN_OUT = 72
"""Instructions of one tile's sums and epilogue that may be written out."""
MAX_ROWS = 8


class SlidingTiles(ABC, Generic[Size]):
    """Base of the emitters; ``emit_channel`` fills in one plane."""

    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, window: Window[Size]) -> None:
        self.dispatch = dispatch
        self.window: Window[Size] = window
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.lanes: int = description.vector_bits // 32
        self.place = Place.of(window)
        self.forms = self.place.forms(window)
        per_row = window.n_taps + epilogue_cost(dispatch, window.op)
        registers = description.registers // 2
        most = window.out_height if isinstance(window.out_height, int) else MAX_ROWS
        self.rows = max(1, min(WRITTEN_OUT // per_row, registers, MAX_ROWS, most))
        self.hoisted = window.n_taps + 2 * self.rows + 2 <= description.registers
        self.source = self.frame.binding_args[window.source.index]
        self.rest = self.kernel.constant(window.start, f32)
        self.image: Index = 0
        self.channel: Index = 0
        self.base: Index = 0
        """The first element of the input plane."""
        self.weights: list[Value] | None = None

    @abstractmethod
    def emit_channel(self) -> None:
        """Loops over one plane of the result: what each subclass is there for."""

    def run(self, positions: int, plane: Index) -> Kernel:
        """The kernel; ``positions``: of an output plane, about; ``plane``: elements of an input plane."""
        k, w = self.kernel, self.window
        per_channel = positions * w.n_taps
        most = max(1, w.out_channels * images(w) // ENOUGH_GROUPS, WORK_PER_GROUP // 8 // per_channel)
        share = max(1, min(w.out_channels, most, WORK_PER_GROUP // per_channel))
        blocks = -(-w.out_channels // share)
        number: Index = self.frame.ids[0]
        block, image = k.mod(number, blocks), k.floordiv(number, blocks)
        self.image = image if w.batch != 1 else 0
        first = k.mul(block, share)
        last = k.add(first, share)
        if w.out_channels % share:
            last = k.min(last, w.out_channels)

        def channel(c: Index) -> None:
            self.channel = c
            self.base = k.mul(k.add(k.mul(self.image, w.out_channels), c), plane)
            if w.weights is not None and self.hoisted:
                self.weights = [self._weight(t) for t in range(w.n_taps)]
            self.emit_channel()

        k.loop(first, last, 1, (), channel)
        why = f"{w.n_taps} taps, {self.rows} rows a tile"
        return self.frame.finish([total_groups(w, blocks)], 0, NAME, why)

    def _weight(self, tap: int) -> Value:
        k, w = self.kernel, self.window
        assert w.weights is not None
        at = k.add(k.mul(self.channel, w.n_taps), tap)
        return k.splat(k.load(self.frame.binding_args[w.weights.index], at), self.lanes)

    def combine(self, total: Value, value: Value, tap: int, started: bool) -> Value:
        """``total`` and what ``tap`` adds; not ``started``: the total is still the neutral number."""
        k, w = self.kernel, self.window
        if w.weights is not None:
            weight = self.weights[tap] if self.weights is not None else self._weight(tap)
            if not started:
                return k.binary("arith.mulf", value, weight)
            return k.fma(value, weight, total)
        if w.op.name == MAX_POOL:
            if not started and w.start == float("-inf"):
                return value
            return k.binary("arith.maximumf", total, value)
        return k.binary("arith.addf", total, value)

    def store(self, value: Value, y: Index, x: Index, mask: Value | None) -> None:
        """The dispatch's result from one vector of sums."""
        elements, (result, destination) = self.frame.elements, self.dispatch.results[0]
        own = self.window.op.results[0]
        elements.overrides[own] = lambda forms, point: value
        at = Bindings(self.kernel).child(self.place.at(self.image, 0, self.channel, y))
        point = Point(at.child({self.place.x: x}, self.place.x, self.lanes), mask)
        if result is own:
            final = elements.element(result, self.forms, point)
        else:
            final = elements.element_through(result, self.forms, point)
        elements.store(final, self.frame.binding_memory(destination), self.forms, point)
