"""``lanewise-window``: depthwise convolution and pooling of images in channel blocks, nothing copied.

A tile is some pixels of one row, a vector of channels each, in registers. For every row of the window the
tile takes in a row of weights and loads each pixel under it once. Rows of the window outside the image are
left out by the bounds of that loop; columns outside by tiles of their own at both ends of a row, so no
condition remains inside.
"""

from __future__ import annotations

import itertools
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.indexing import Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.lanewise_window import MAXIMUM, PRODUCT, LanewiseWindow, match
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

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
        self.dispatch = dispatch
        self.window = w = window
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.source = self.frame.binding_args[w.source.index]
        sizes = (w.batch, w.blocks, *w.out_size, w.lanes)
        self.vars = [Var(name, size) for name, size in zip("nbyxl", sizes, strict=True)]
        self.forms = tuple(indexing.of(v) for v in self.vars)
        # Sums, a row of weights and one pixel are in registers.
        self.widest = max(1, min(14, description.registers - min(w.kernel[1], 8) - 4))
        self.image: Index = 0
        self.block: Index = 0

    def run(self) -> Kernel:
        """Workgroups share planes, or rows of a large plane."""
        k, w = self.kernel, self.window
        row = w.out_size[1] * (w.kernel[0] * w.kernel[1] + w.epilogue)
        plane = row * w.out_size[0]
        planes = dim_ops.mul(w.batch, w.blocks)
        total = plane * (planes if isinstance(planes, int) else w.blocks)
        work = max(FEWEST_WORK, min(MOST_WORK, total // ENOUGH_GROUPS))
        number: Index = self.frame.ids[0]
        why = f"{w.kind} over {w.kernel[0]}x{w.kernel[1]}, {self.widest} pixels a tile"
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
        k, w = self.kernel, self.window
        self.image = k.floordiv(plane, w.blocks) if w.batch != 1 else 0
        self.block = k.mod(plane, w.blocks) if w.batch != 1 else plane
        self.base = k.mul(plane, w.size[0] * w.size[1] * w.lanes)
        k.loop(low, high, 1, (), self._row)

    def _row(self, y: Index) -> None:
        """Tiles of about equal width; those that lie inside are loops."""
        k, out = self.kernel, self.window.out_size[1]
        count = -(-out // self.widest)
        bounds = [out * i // count for i in range(count + 1)]
        tiles = list(itertools.pairwise(bounds))
        i = 0
        while i < len(tiles):
            start, stop = tiles[i]
            step, j = stop - start, i + 1
            if self._is_inside(start, stop):
                while j < len(tiles) and self._is_inside(*tiles[j]) and tiles[j][1] - tiles[j][0] == step:
                    j += 1
            k.loop(start, tiles[j - 1][1], step, (), lambda x, step=step: self._tile(y, x, step))
            i = j

    def _is_inside(self, start: int, stop: int) -> bool:
        """No tap of the output columns from ``start`` to ``stop`` is outside the image."""
        w = self.window
        first = start * w.strides[1] - w.pad[1]
        last = (stop - 1) * w.strides[1] - w.pad[1] + (w.kernel[1] - 1) * w.dilations[1]
        return first >= 0 and last < w.size[1]

    def _tile(self, y: Index, x: Index, count: int) -> None:
        k, w = self.kernel, self.window
        (sy, sx), (dy, dx) = w.strides, w.dilations
        height, width = w.size
        top = k.add(k.mul(y, sy), -w.pad[0])
        left = k.add(k.mul(x, sx), -w.pad[1])
        above = k.max(k.sub(0, top), 0)
        below = k.max(k.sub(height, top), 0)
        low = k.ceildiv(above, dy)
        high = k.min(k.ceildiv(below, dy), w.kernel[0])
        start = k.splat(k.constant(w.start, f32), w.lanes)

        def is_outside(column: int) -> bool:
            """Known where the tile stands at one place: only such tiles reach outside."""
            return isinstance(left, int) and not 0 <= left + column < width

        def taps(ky: Index, *sums: Value) -> list[Value]:
            line = k.add(self.base, k.mul(k.add(top, k.mul(ky, dy)), width * w.lanes))
            at = k.add(line, k.mul(left, w.lanes))
            weights = self._weights(ky)
            found = list(sums)
            for column in sorted({p * sx + kx * dx for p in range(count) for kx in range(w.kernel[1])}):
                if is_outside(column):
                    continue
                value = k.vload(self.source, k.add(at, column * w.lanes), w.lanes)
                for kx in range(w.kernel[1]):
                    p, rest = divmod(column - kx * dx, sx)
                    if not rest and 0 <= p < count:
                        found[p] = self._combine(found[p], value, weights[kx] if weights else None)
            return found

        sums = k.loop(low, high, 1, [start] * count, taps)
        for p, value in enumerate(sums):
            self._store(value, y, k.add(x, p))

    def _weights(self, ky: Index) -> list[Value]:
        """One row of the window's weights."""
        k, w = self.kernel, self.window
        if w.weights is None:
            return []
        memory = self.frame.binding_args[w.weights.index]
        at = k.mul(k.add(k.mul(self.block, w.kernel[0]), ky), w.kernel[1] * w.lanes)
        return [k.vload(memory, k.add(at, kx * w.lanes), w.lanes) for kx in range(w.kernel[1])]

    def _combine(self, total: Value, value: Value, weight: Value | None) -> Value:
        k, w = self.kernel, self.window
        if w.kind == PRODUCT:
            assert weight is not None
            return k.fma(value, weight, total)
        return k.binary("arith.maximumf" if w.kind == MAXIMUM else "arith.addf", total, value)

    def _store(self, value: Value, y: Index, x: Index) -> None:
        elements, (result, destination) = self.frame.elements, self.dispatch.results[0]
        own = self.window.op.results[0]
        elements.overrides[own] = lambda forms, point: value
        n, b, row, column, lane = self.vars
        at = Bindings(self.kernel).child(
            {n: self.image, b: self.block, row: y, column: x, lane: 0}, lane, self.window.lanes, True
        )
        point = Point(at)
        final = value if result is own else elements.element_through(result, self.forms, point)
        elements.store(final, self.frame.binding_memory(destination), self.forms, point)


__all__ = ["NAME", "lanewise_window"]
