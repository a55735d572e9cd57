"""``lanewise-window``: depthwise convolution and pooling of images in channel blocks, nothing copied."""

from __future__ import annotations

from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.lanewise_tiles import LanewiseTiles, Pixels
from iree_codegen.lanewise_window import LanewiseWindow, match
from iree_core_ir.ir.operation import Value

NAME = "lanewise-window"
MOST_COLUMNS = 49
"""Columns of a window are written out for each tile."""
FEWEST_WORK, MOST_WORK = 1 << 12, 1 << 15
"""Vectors combined by a workgroup: about 1 and 10 us."""
ENOUGH_GROUPS = 8


def lanewise_window(dispatch: Dispatch, description: Any) -> Kernel | None:
    w = match(dispatch)
    if w is None or w.lanes != description.vector_bits // 32 or w.kernel[1] > MOST_COLUMNS:
        return None
    return _Emitter(dispatch, description, w).run()


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, window: LanewiseWindow) -> None:
        self.window = window
        self.frame = frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = frame.kernel
        result, destination = dispatch.results[0]
        self.pixels = Pixels(frame, window.op.results[0], result)
        self.memory = frame.binding_memory(destination)
        binding = dispatch.binding_of(window.source)
        assert binding is not None
        self.tiles = LanewiseTiles(frame, window, description.registers, frame.binding_args[binding.index])
        self.image: Index = 0

    def run(self) -> Kernel:
        """Workgroups share planes, or rows of a large plane."""
        k, w = self.kernel, self.window
        row = w.out_size[1] * (w.kernel[0] * w.kernel[1] + w.epilogue)
        plane = row * w.out_size[0]
        planes = dim_ops.mul(w.batch, w.blocks)
        total = plane * (planes if isinstance(planes, int) else w.blocks)
        work = max(FEWEST_WORK, min(MOST_WORK, total // ENOUGH_GROUPS))
        number: Index = self.frame.ids[0]
        why = f"{w.kind} over {w.kernel[0]}x{w.kernel[1]}, {self.tiles.widest} pixels a tile"
        if plane > work:
            rows = max(1, work // row)
            chunks = -(-w.out_size[0] // rows)
            low = k.mul(k.mod(number, chunks), rows)
            high = k.min(k.add(low, rows), w.out_size[0])
            self._plane(k.floordiv(number, chunks), low, high)
            count = dim_ops.mul(planes, chunks)
        else:
            share = max(1, work // plane)
            first = k.mul(number, share)
            last = k.min(k.add(first, share), k.dim(planes))
            k.loop(first, last, 1, (), lambda p: self._plane(p, 0, w.out_size[0]))
            count = dim_ops.ceildiv(planes, share)
        return self.frame.finish([count], 0, NAME, why)

    def _plane(self, plane: Index, low: Index, high: Index) -> None:
        k, w, tiles = self.kernel, self.window, self.tiles
        self.image = k.floordiv(plane, w.blocks) if w.batch != 1 else 0
        tiles.block = k.mod(plane, w.blocks) if w.batch != 1 else plane
        tiles.base = k.mul(plane, w.size[0] * w.size[1] * w.lanes)
        k.loop(low, high, 1, (), lambda y: tiles.row(y, self._store))

    def _store(self, value: Value, y: Index, x: Index) -> None:
        point = self.pixels.point(self.image, self.tiles.block, y, x)
        final = self.pixels.value(value, point)
        self.frame.elements.store(final, self.memory, self.pixels.forms, point)


__all__ = ["NAME", "lanewise_window"]
