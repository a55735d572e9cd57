"""Tiles of a window that slides over images in channel blocks: some pixels of a row in registers.

For every row of the window a tile takes in a row of weights and loads each pixel under it once. Rows of the
window outside the image are left out by the bounds of that loop; columns outside by tiles of their own at
both ends of a row, so no condition remains inside.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from iree_codegen import indexing
from iree_codegen.blocked_grid import WIDEST, balanced
from iree_codegen.elements import Point
from iree_codegen.indexing import Bindings, Var
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.lanewise_window import PRODUCT, LanewiseWindow
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, element_of, f32

Store = Callable[[Sequence[Value], Index, Index], None]
"""``(values, row, column)``: takes the finished vectors of channels of neighbours in a row."""


def _row_tiles(width: int, most: int) -> list[tuple[int, int]]:
    """A row in tiles as (start, stop), widths at most one apart, the wider ones first."""
    sizes = [size for size, count in balanced(width, most) for _ in range(count)]
    return list(itertools.pairwise(itertools.accumulate(sizes, initial=0)))


class Pixels:
    """Elementwise values behind a window or convolution, at one pixel of a block."""

    def __init__(self, frame: KernelFrame, own: Value, final: Value) -> None:
        self.frame, self.own, self.final = frame, own, final
        dims = frame.dispatch.dims(own)
        self.lanes = int(own.type.shape[-1])
        self.vars = [Var(name, size) for name, size in zip("nbyxl", dims, strict=True)]
        self.forms = tuple(indexing.of(v) for v in self.vars)

    def point(self, image: Index, block: Index, y: Index, x: Index) -> Point:
        n, b, row, column, lane = self.vars
        places = {n: image, b: block, row: y, column: x, lane: 0}
        return Point(Bindings(self.frame.kernel).child(places, lane, self.lanes, True))

    def value(self, value: Value, point: Point) -> Value:
        """``final`` where ``own`` is ``value``."""
        if self.final is self.own:
            return value
        elements = self.frame.elements
        elements.overrides[self.own] = lambda forms, point: value
        return elements.element_through(self.final, self.forms, point)


class LanewiseTiles:
    """Emits rows of ``window``. ``source`` and ``base`` say where image row 0 of the block at hand begins."""

    def __init__(self, frame: KernelFrame, window: LanewiseWindow, registers: int, source: Value) -> None:
        self.frame, self.window, self.source = frame, window, source
        self.kernel = frame.kernel
        # Sums, a row of weights and one pixel are in registers.
        self.widest = max(1, min(WIDEST, registers - min(window.kernel[1], 8) - 4))
        self.base: Index = 0
        self.block: Index = 0

    def row(self, y: Index, store: Store) -> None:
        """Output row ``y``: tiles that lie inside are loops."""
        k = self.kernel
        tiles = _row_tiles(self.window.out_size[1], self.widest)
        i = 0
        while i < len(tiles):
            start, stop = tiles[i]
            step, j = stop - start, i + 1
            if self._is_inside(start, stop):
                while j < len(tiles) and self._is_inside(*tiles[j]) and tiles[j][1] - tiles[j][0] == step:
                    j += 1
            k.loop(start, tiles[j - 1][1], step, (), lambda x, step=step: self._tile(y, x, step, store))
            i = j

    def _is_inside(self, start: int, stop: int) -> bool:
        """No tap of the output columns from ``start`` to ``stop`` is outside the image."""
        w = self.window
        first = start * w.strides[1] - w.pad[1]
        last = (stop - 1) * w.strides[1] - w.pad[1] + (w.kernel[1] - 1) * w.dilations[1]
        return first >= 0 and last < w.size[1]

    def _tile(self, y: Index, x: Index, count: int, store: Store) -> None:
        k, w = self.kernel, self.window
        (sy, sx), (dy, dx) = w.strides, w.dilations
        height, width = w.size
        top = k.add(k.mul(y, sy), -w.pad[0])
        left = k.add(k.mul(x, sx), -w.pad[1])
        above = k.max(k.sub(0, top), 0)
        below = k.max(k.sub(height, top), 0)
        low = k.ceildiv(above, dy)
        high = k.min(k.ceildiv(below, dy), w.kernel[0])
        start = k.splat(k.constant(w.start if w.element is f32 else int(w.start), w.element), w.lanes)

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
                if element_of(value.type) is bf16:
                    value = k.cast("arith.extf", value, f32)
                for kx in range(w.kernel[1]):
                    p, rest = divmod(column - kx * dx, sx)
                    if not rest and 0 <= p < count:
                        found[p] = self._combine(found[p], value, weights[kx] if weights else None)
            return found

        sums = k.loop(low, high, 1, [start] * count, taps)
        store(sums, y, x)

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
        return k.binary(w.combines, total, value)


__all__ = ["LanewiseTiles", "Pixels", "Store"]
