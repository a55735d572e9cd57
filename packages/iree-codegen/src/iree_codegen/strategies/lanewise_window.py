"""``lanewise-window``: depthwise convolution and pooling of images in channel blocks, nothing copied."""

from __future__ import annotations

import math
from collections.abc import Sequence

from iree_codegen import dims as dim_ops
from iree_codegen.blocked_grid import SMALL_PLANE
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.lanewise_tiles import LanewiseTiles, Pixels
from iree_codegen.lanewise_window import LanewiseWindow, is_total, match
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

NAME = "lanewise-window"
MOST_COLUMNS = 49
"""Columns of a window are written out for each tile."""
FEWEST_WORK, MOST_WORK = 1 << 12, 1 << 15
"""Vectors combined by a workgroup: about 1 and 10 us."""
ENOUGH_GROUPS = 8
FEWEST_ROWS = 14
"""Rows of a band where there are more than two of them."""
LANES_APART = 8
"""Sums of a whole image run in so many vectors at once."""


def lanewise_window(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    found = match(dispatch)
    if found is None:
        return None
    w, image, total = found
    if w.lanes != description.vector_bits // 32:
        return None
    if is_total(w) and image is w.op.results[0]:
        return _Total(dispatch, description, w).run()
    if w.kernel[1] > MOST_COLUMNS:
        return None
    return _Emitter(dispatch, description, w, image, total).run()


def _work(w: LanewiseWindow, plane: int) -> tuple[Dim, int]:
    """Planes, and the vectors that a workgroup combines where a plane takes ``plane``."""
    planes = dim_ops.mul(w.batch, w.blocks)
    total = plane * (planes if isinstance(planes, int) else w.blocks)
    return planes, max(FEWEST_WORK, min(MOST_WORK, total // ENOUGH_GROUPS))


class _Emitter:
    def __init__(
        self,
        dispatch: Dispatch,
        description: WorkgroupDescription,
        window: LanewiseWindow,
        image: Value,
        total: Value | None,
    ) -> None:
        self.window = window
        self.frame = frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = frame.kernel
        destinations = {value: frame.binding_memory(destination) for value, destination in dispatch.results}
        self.pixels = Pixels(frame, window.op.results[0], image)
        self.memory = destinations[image]
        self.total = destinations[total] if total is not None else None
        binding = dispatch.binding_of(window.source)
        assert binding is not None
        self.tiles = LanewiseTiles(frame, window, description.registers, frame.binding_args[binding.index])
        self.image: Index = 0
        self.plane: Index = 0

    def run(self) -> Kernel:
        """Workgroups share bands of rows, and the planes of a band in parts. Bands come first: threads that
        have neighbouring workgroups read the rows that they wrote, as long as all images are cut by rows.
        Images whose sums are wanted, too, are shared by whole planes.
        """
        k, w = self.kernel, self.window
        row = w.out_size[1] * (w.kernel[0] * w.kernel[1] + w.epilogue)
        _, work = _work(w, row * w.out_size[0])
        n_bands = 1
        if self.total is None and math.prod(w.size) > SMALL_PLANE and w.out_size[0] > 1:
            n_bands = 2
            while n_bands < ENOUGH_GROUPS and w.out_size[0] >= 2 * n_bands * FEWEST_ROWS:
                n_bands *= 2
        rows = -(-w.out_size[0] // n_bands)
        n_bands = -(-w.out_size[0] // rows)
        share = max(1, min(w.blocks, work // (row * rows)))
        parts = -(-w.blocks // share)
        number: Index = self.frame.ids[0]
        part, rest = k.mod(number, parts), k.floordiv(number, parts)
        low = k.mul(k.mod(rest, n_bands), rows)
        high: Index = k.min(k.add(low, rows), w.out_size[0]) if n_bands > 1 else w.out_size[0]
        self.image = k.floordiv(rest, n_bands) if w.batch != 1 else 0
        first = k.mul(part, share)
        last = k.min(k.add(first, share), w.blocks) if w.blocks % share else k.add(first, share)
        k.loop(first, last, 1, (), lambda block: self._plane(block, low, high))
        count = dim_ops.mul(w.batch, n_bands * parts)
        why = f"{w.kind} over {w.kernel[0]}x{w.kernel[1]}, {self.tiles.widest} pixels a tile"
        if n_bands > 1:
            why += f", bands of {rows} rows"
        return self.frame.finish([count], 0, NAME, why + (", and its sums" if self.total else ""))

    def _plane(self, block: Index, low: Index, high: Index) -> None:
        k, w, tiles = self.kernel, self.window, self.tiles
        tiles.block = block
        self.plane = plane = k.add(k.mul(self.image, w.blocks), block)
        tiles.base = k.mul(plane, w.size[0] * w.size[1] * w.lanes)
        if self.total is not None:
            zero = k.splat(k.constant(0.0, f32), w.lanes)
            k.vstore(zero, self.total.memory, k.mul(plane, w.lanes))
        k.loop(low, high, 1, (), lambda y: tiles.row(y, self._store))

    def _store(self, values: Sequence[Value], y: Index, x: Index) -> None:
        k, lanes = self.kernel, self.window.lanes
        finals = []
        for p, value in enumerate(values):
            point = self.pixels.point(self.image, self.tiles.block, y, k.add(x, p))
            finals.append(k.splat(self.pixels.value(value, point), lanes))
            self.frame.elements.store(finals[-1], self.memory, self.pixels.forms, point)
        if self.total is not None:
            # Once a tile, so that the sum waiting in memory is no chain through every pixel.
            at = k.mul(self.plane, lanes)
            so_far = k.vload(self.total.memory, at, lanes)
            k.vstore(k.binary("arith.addf", so_far, _sum(k, finals)), self.total.memory, at)


class _Total:
    """Sums of whole images: pixels in order, dealt out to some vectors."""

    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, window: LanewiseWindow) -> None:
        self.window = window
        self.frame = frame = KernelFrame(dispatch, fma=description.fma)
        self.memory = frame.binding_memory(dispatch.results[0][1])
        binding = dispatch.binding_of(window.source)
        assert binding is not None
        self.source = frame.binding_args[binding.index]

    def run(self) -> Kernel:
        k, w = self.frame.kernel, self.window
        pixels = w.size[0] * w.size[1]
        planes, work = _work(w, pixels)
        share = max(1, work // pixels)
        first, end = self.frame.part(self.frame.ids[0], share, planes)
        zero = k.splat(k.constant(0.0, f32), w.lanes)
        whole = pixels // LANES_APART * LANES_APART

        def plane(number: Index) -> None:
            base = k.mul(number, pixels * w.lanes)

            def added(p: Index, count: int, sums: Sequence[Value]) -> list[Value]:
                at = k.add(base, k.mul(p, w.lanes))
                loaded = [k.vload(self.source, k.add(at, i * w.lanes), w.lanes) for i in range(count)]
                new = [k.binary("arith.addf", a, b) for a, b in zip(sums, loaded, strict=False)]
                return [*new, *sums[count:]]

            sums = k.loop(
                0, whole, LANES_APART, [zero] * LANES_APART, lambda p, *now: added(p, LANES_APART, now)
            )
            sums = added(whole, pixels - whole, sums)
            k.vstore(_sum(k, sums), self.memory.memory, k.mul(number, w.lanes))

        k.loop(first, end, 1, (), plane)
        count = dim_ops.ceildiv(planes, share)
        return self.frame.finish([count], 0, NAME, f"sums of {pixels} pixels")


def _sum(k: KernelBuilder, values: Sequence[Value]) -> Value:
    """All of ``values``, pairs first."""
    found = list(values)
    while len(found) > 1:
        pairs = [k.binary("arith.addf", a, b) for a, b in zip(found[::2], found[1::2], strict=False)]
        found = pairs + found[len(pairs) * 2 :]
    return found[0]


__all__ = ["NAME", "lanewise_window"]
