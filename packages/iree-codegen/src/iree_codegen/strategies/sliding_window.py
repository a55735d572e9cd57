"""``sliding-window``: depthwise convolution and pooling of NCHW images, row by row, nothing copied.

A few output rows times one vector of columns stay in registers; every input vector is loaded once for all
of them. Rows and columns at the border are written out with the taps that lie inside and with masked
loads, so the loops between need no conditions.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.sized_sliding_window import sized_sliding_window
from iree_codegen.sliding_tiles import NAME, SlidingTiles
from iree_codegen.window import SLIDING, has_static_images, match
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import index

__all__ = ["NAME", "sliding_window"]


def sliding_window(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    window = match(dispatch, SLIDING)
    if window is None or description.vector_bits < 128:
        return None
    if window.weights is not None and window.weights.packed is not None:
        return None
    if not has_static_images(window):
        return sized_sliding_window(dispatch, description, window)
    lanes = description.vector_bits // 32
    if window.weights is None and window.out_width * 4 <= lanes and window.width > 2 * window.out_width:
        # Near-global pooling: rows are reduced along lanes instead.
        return None
    return _Emitter(dispatch, description, window).emit()


class _Emitter(SlidingTiles[int]):
    def emit(self) -> Kernel:
        w = self.window
        return self.run(w.out_height * w.out_width, w.height * w.width)

    def emit_channel(self) -> None:
        w = self.window
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
                    sums[r] = self.combine(sums[r], value, t, started[r])
                    started[r] = True
        mask = None
        if columns_checked:
            assert isinstance(x, int)
            valid = min(lanes, w.out_width - x)
            mask = k.mask_below(valid, lanes) if valid < lanes else None
        for r in range(count):
            self.store(sums[r], k.add(y, r), x, mask)

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
