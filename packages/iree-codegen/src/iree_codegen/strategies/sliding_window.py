"""``sliding-window``: depthwise convolution and pooling of NCHW images, row by row, nothing copied.

A few output rows times one vector of columns stay in registers; every input vector is loaded once for all
of them. Rows and columns at the border are written out with the taps that lie inside and with masked
loads, so the loops between need no conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.window import MAX_POOL, SLIDING, Place, Window, epilogue_cost, images, match, total_groups
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, index

NAME = "sliding-window"
WORK_PER_GROUP = 1 << 18
"""Products of a workgroup, about."""
ENOUGH_GROUPS = 4
WRITTEN_OUT = 72
"""Instructions of one tile's sums and epilogue that may be written out."""
MAX_ROWS = 8


def sliding_window(dispatch: Dispatch, description: Any) -> Kernel | None:
    window = match(dispatch, SLIDING)
    if window is None or description.vector_bits < 128:
        return None
    if window.weights is not None and window.weights.packed is not None:
        return None
    lanes = description.vector_bits // 32
    if window.weights is None and window.out_width * 4 <= lanes and window.width > 2 * window.out_width:
        # Near-global pooling: rows are reduced along lanes instead.
        return None
    return _Emitter(dispatch, description, window).run()


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, window: Window) -> None:
        self.dispatch = dispatch
        self.window = window
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.lanes = description.vector_bits // 32
        self.place = Place.of(window)
        self.forms = self.place.forms(window)
        per_row = window.n_taps + epilogue_cost(dispatch, window.op)
        registers = description.registers // 2
        self.rows = max(1, min(WRITTEN_OUT // per_row, registers, MAX_ROWS, window.out_height))
        self.hoisted = window.n_taps + 2 * self.rows + 2 <= description.registers
        self.source = self.frame.binding_args[window.source.index]
        self.rest = self.kernel.constant(window.start, f32)

    def run(self) -> Kernel:
        k, w = self.kernel, self.window
        per_channel = w.out_height * w.out_width * w.n_taps
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
        k.loop(first, last, 1, (), self._channel)
        why = f"{w.n_taps} taps, {self.rows} rows a tile"
        return self.frame.finish([total_groups(w, blocks)], 0, NAME, why)

    def _channel(self, channel: Index) -> None:
        k, w = self.kernel, self.window
        self.channel = channel
        number = k.add(k.mul(self.image, w.out_channels), channel)
        self.base = k.mul(number, w.height * w.width)
        self.weights: list[Value] | None = None
        if w.weights is not None and self.hoisted:
            self.weights = [self._weight(t) for t in range(w.n_taps)]
        starts = list(range(0, w.out_height, self.rows))

        def tile_row(y: Index, count: int, checked: bool) -> None:
            self._columns(y, count, checked)

        self._runs(
            starts,
            lambda y: self._rows_inside(y, self.rows),
            lambda y: tile_row(y, self.rows, False),
            lambda y: tile_row(y, min(self.rows, w.out_height - y), True),
            self.rows,
        )

    def _weight(self, tap: int) -> Value:
        k, w = self.kernel, self.window
        assert w.weights is not None
        at = k.add(k.mul(self.channel, w.n_taps), tap)
        return k.splat(k.load(self.frame.binding_args[w.weights.index], at), self.lanes)

    def _runs(
        self,
        starts: list[int],
        inside: Callable[[int], bool],
        plain: Callable[[Index], None],
        border: Callable[[int], None],
        step: int,
    ) -> None:
        """Loops over consecutive ``starts`` that are inside, the others written out."""
        position = 0
        while position < len(starts):
            stop = position
            while stop < len(starts) and inside(starts[stop]):
                stop += 1
            if stop == position:
                border(starts[position])
                position += 1
            else:
                self.kernel.loop(starts[position], starts[stop - 1] + step, step, (), plain)
                position = stop

    def _rows_inside(self, y: int, count: int) -> bool:
        w = self.window
        low = y * w.strides[0] - w.pad[0]
        high = (y + count - 1) * w.strides[0] + max(t for t, _ in w.taps) - w.pad[0]
        return low >= 0 and high < w.height and y + count <= w.out_height

    def _columns_inside(self, x: int) -> bool:
        w, lanes = self.window, self.lanes
        low = x * w.strides[1] - w.pad[1]
        # Strided loads come in pairs of vectors.
        high = low + max(t for _, t in w.taps) + w.strides[1] * lanes - 1
        return low >= 0 and high < w.width and x + lanes <= w.out_width

    def _columns(self, y: Index, count: int, checked: bool) -> None:
        w = self.window
        self._runs(
            list(range(0, w.out_width, self.lanes)),
            self._columns_inside,
            lambda x: self._tile(y, count, x, checked, False),
            lambda x: self._tile(y, count, x, checked, True),
            self.lanes,
        )

    def _tile(self, y: Index, count: int, x: Index, rows_checked: bool, columns_checked: bool) -> None:
        """``count`` rows of one vector of columns. Checked positions are static."""
        k, w, lanes = self.kernel, self.window, self.lanes
        sy, sx = w.strides
        loaded: dict[tuple[int, int], Value | None] = {}
        top = k.add(k.mul(y, sy), -w.pad[0])
        left = k.add(k.mul(x, sx), -w.pad[1])
        line = k.add(self.base, k.add(k.mul(top, w.width), left))
        sums: list[Value] = [k.splat(self.rest, lanes)] * count
        started = [False] * count
        offsets = sorted({r * sy + ty for r in range(count) for ty, _ in w.taps})
        for row in offsets:
            if rows_checked:
                assert isinstance(top, int)
                if not 0 <= top + row < w.height:
                    continue
            for t, (ty, tx) in enumerate(w.taps):
                r, rest = divmod(row - ty, sy)
                if rest or not 0 <= r < count:
                    continue
                key = (row, tx)
                if key not in loaded:
                    at = k.add(line, row * w.width + tx)
                    loaded[key] = self._load(at, left, tx, columns_checked)
                value = loaded[key]
                if value is not None:
                    sums[r] = self._combine(sums[r], value, t, started[r])
                    started[r] = True
        mask = None
        if columns_checked:
            assert isinstance(x, int)
            valid = min(lanes, w.out_width - x)
            mask = k.mask_below(valid, lanes) if valid < lanes else None
        for r in range(count):
            self._store(sums[r], k.add(y, r), x, mask)

    def _combine(self, total: Value, value: Value, tap: int, started: bool) -> Value:
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

    def _load(self, at: Index, left: Index, tap: int, checked: bool) -> Value | None:
        """The input of one tap for all lanes; None when it lies outside for all of them."""
        k, w, lanes = self.kernel, self.window, self.lanes
        stride = w.strides[1]
        first = left + tap if checked and isinstance(left, int) else None
        if stride == 1:
            return self._vector(at, first)
        if stride == 2:
            parts = [
                self._vector(k.add(at, j * lanes), None if first is None else first + j * lanes)
                for j in (0, 1)
            ]
            if parts[0] is None and parts[1] is None:
                return None
            low, high = (k.splat(self.rest, lanes) if p is None else p for p in parts)
            return k.shuffle(low, high, range(0, 2 * lanes, 2))
        inside = [first is None or 0 <= first + lane * stride < w.width for lane in range(lanes)]
        if not any(inside):
            return None
        mask = None if all(inside) else k.lane_mask(inside)
        return k.gather(self.source, at, k.lane_numbers(lanes, index, stride), mask, self.rest)

    def _vector(self, at: Index, first: int | None) -> Value | None:
        """Consecutive elements of a row that starts at column ``first`` (None: all inside)."""
        k, w, lanes = self.kernel, self.window, self.lanes
        if first is None:
            return k.vload(self.source, at, lanes)
        inside = [0 <= first + lane < w.width for lane in range(lanes)]
        if not any(inside):
            return None
        if all(inside):
            return k.vload(self.source, at, lanes)
        return k.vload(self.source, at, lanes, k.lane_mask(inside), self.rest)

    def _store(self, value: Value, y: Index, x: Index, mask: Value | None) -> None:
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
