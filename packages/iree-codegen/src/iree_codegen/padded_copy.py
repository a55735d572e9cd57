"""Input rows of a convolution block -> scratch: padded, split by stride phase, zero outside the image."""

from __future__ import annotations

from iree_base.records import record
from iree_codegen.convolution_blocks import Rows
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.window import Window
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, index


@record
class PaddedCopy:
    """Copies the channels of one group: ``[channels][phases][rows][pitch]``, then zeros."""

    kernel: KernelBuilder
    window: Window[int]
    rows: Rows
    lanes: int

    @property
    def elements(self) -> int:
        """Elements of scratch, with what vectors read beyond the last row."""
        return self.rows.plane * self.window.channels + self._behind + 2 * self.lanes

    @property
    def _behind(self) -> int:
        """Most columns of a row that may lie in the next one."""
        return max(x // self.window.strides[1] for _, x in self.window.taps)

    def emit(self, copy: Value, source: Value, base: Index, top: Index) -> None:
        """``base``: the group's first element; ``top``: the block's first output row."""
        k, w = self.kernel, self.window

        def channel(c: Index) -> None:
            image = k.add(base, k.mul(c, w.height * w.width))
            self._plane(copy, k.mul(c, self.rows.plane), source, image, top)

        k.loop(0, w.channels, 1, (), channel)
        zero = k.splat(k.constant(0.0, f32), self.lanes)
        for start in range(0, self._behind, self.lanes):
            k.vstore(zero, copy, self.rows.plane * w.channels + start)

    def _plane(self, copy: Value, target: Index, source: Value, image: Index, top: Index) -> None:
        k, w, rows = self.kernel, self.window, self.rows
        sy = w.strides[0]
        for number, (py, px) in enumerate(rows.phases):
            start = k.add(target, number * rows.phase)

            def row(r: Index, py: int = py, px: int = px, start: Index = start) -> None:
                at = k.add(start, k.mul(r, rows.pitch))
                y = k.add(k.mul(k.add(top, r), sy), py - w.pad[0])
                line = k.add(image, k.mul(y, w.width))
                if self._inside(py):
                    self._row(copy, at, source, line, px)
                    return
                k.if_(
                    k.compare("ult", y, w.height),
                    lambda: self._row(copy, at, source, line, px),
                    lambda: self._zero_row(copy, at),
                )

            k.loop(0, rows.copied_rows, 1, (), row)

    def _inside(self, phase: int) -> bool:
        """No row of any block is outside the image."""
        w = self.window
        last = (w.out_height - self.rows.rows + self.rows.copied_rows - 1) * w.strides[0] + phase - w.pad[0]
        return phase >= w.pad[0] and last < w.height

    def _chunks(self) -> list[tuple[int, int]]:
        pitch = self.rows.pitch
        return [(start, min(self.lanes, pitch - start)) for start in range(0, pitch, self.lanes)]

    def _mask(self, count: int) -> Value | None:
        return None if count == self.lanes else self.kernel.mask_below(count, self.lanes)

    def _zero_row(self, copy: Value, at: Index) -> None:
        k = self.kernel
        zero = k.splat(k.constant(0.0, f32), self.lanes)
        for start, count in self._chunks():
            k.vstore(zero, copy, k.add(at, start), self._mask(count))

    def _row(self, copy: Value, at: Index, source: Value, row: Index, phase: int) -> None:
        for start, count in self._chunks():
            value = self._row_vector(source, row, start, phase)
            self.kernel.vstore(value, copy, self.kernel.add(at, start), self._mask(count))

    def _row_vector(self, source: Value, row: Index, start: int, phase: int) -> Value:
        """Elements ``(start + lane) * stride + phase - pad`` of an input row, zero outside."""
        k, lanes, w = self.kernel, self.lanes, self.window
        stride = w.strides[1]
        first = start * stride + phase - w.pad[1]
        if stride == 1:
            return self._input_vector(source, row, first)
        if stride == 2:
            parts = [self._input_vector(source, row, first + j * lanes) for j in range(2)]
            return k.shuffle(parts[0], parts[1], range(0, 2 * lanes, 2))
        inside = [0 <= first + lane * stride < w.width for lane in range(lanes)]
        if not any(inside):
            return k.splat(k.constant(0.0, f32), lanes)
        offsets = k.lane_numbers(lanes, index, stride)
        return k.gather(source, k.add(row, first), offsets, k.lane_mask(inside))

    def _input_vector(self, source: Value, row: Index, first: int) -> Value:
        k, lanes, w = self.kernel, self.lanes, self.window
        inside = [0 <= first + lane < w.width for lane in range(lanes)]
        if not any(inside):
            return k.splat(k.constant(0.0, f32), lanes)
        return k.vload(source, k.add(row, first), lanes, None if all(inside) else k.lane_mask(inside))
