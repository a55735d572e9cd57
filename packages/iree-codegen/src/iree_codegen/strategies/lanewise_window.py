"""``lanewise-window``: depthwise convolution and pooling of images in channel blocks, nothing copied."""

from __future__ import annotations

from collections.abc import Sequence

from iree_codegen import dims as dim_ops
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
        """Workgroups share planes, or rows of a large plane."""
        k, w = self.kernel, self.window
        row = w.out_size[1] * (w.kernel[0] * w.kernel[1] + w.epilogue)
        plane = row * w.out_size[0]
        planes, work = _work(w, plane)
        number: Index = self.frame.ids[0]
        why = f"{w.kind} over {w.kernel[0]}x{w.kernel[1]}, {self.tiles.widest} pixels a tile"
        if plane > work and self.total is None:
            rows = max(1, work // row)
            chunks = -(-w.out_size[0] // rows)
            low, high = self.frame.part(k.mod(number, chunks), rows, w.out_size[0])
            self._plane(k.floordiv(number, chunks), low, high)
            count = dim_ops.mul(planes, chunks)
        else:
            share = max(1, work // plane)
            first, end = self.frame.part(number, share, planes)
            k.loop(first, end, 1, (), lambda p: self._plane(p, 0, w.out_size[0]))
            count = dim_ops.ceildiv(planes, share)
        return self.frame.finish([count], 0, NAME, why + (", and its sums" if self.total else ""))

    def _plane(self, plane: Index, low: Index, high: Index) -> None:
        k, w, tiles = self.kernel, self.window, self.tiles
        self.image = k.floordiv(plane, w.blocks) if w.batch != 1 else 0
        tiles.block = k.mod(plane, w.blocks) if w.batch != 1 else plane
        tiles.base = k.mul(plane, w.size[0] * w.size[1] * w.lanes)
        self.plane = plane
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
