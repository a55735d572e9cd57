"""Rows of a blocked f32 image -> bf16 in scratch, 32 channels of a pixel side by side, in one or two parts.

``[group of 32 channels][rows][columns][32]`` for the pixels of one workgroup, the second parts behind the
first ones. Channels of a group that are not there are zero, as is what lies outside the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_base.records import record
from iree_codegen.blocked_image import BlockedConvolution
from iree_codegen.blocked_tile_panels import STEM_CHANNELS
from iree_codegen.blocked_tile_plan import PatchPlan, TileImage
from iree_codegen.kernel_builder import Index, KernelBuilder, lanes_of
from iree_codegen.product_tiles import bf16_parts
from iree_codegen.tile_panels import DEPTH
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, bf16, element_of

UNROLL = 4
"""Pixels written out in a loop turn."""


@record(frozen=True)
class PixelParts:
    """Memory of pixels, 32 channels side by side; a number's second part lies ``part`` behind its first."""

    memory: Value
    part: int
    parts: int
    lanes: int

    def store(self, k: KernelBuilder, value: Value, at: Index) -> None:
        """A vector of channels; bf16 as it is."""
        is_narrow = element_of(value.type) is bf16
        parts = [value] if is_narrow else bf16_parts(k, value, self.lanes, self.parts)
        for number, own in enumerate(parts):
            k.vstore(own, self.memory, k.add(at, number * self.part))

    def clear(self, k: KernelBuilder, at: Index) -> None:
        """Zeros for a vector of channels."""
        zero = k.constant(0.0, VectorType((self.lanes,), bf16))
        for number in range(self.parts):
            k.vstore(zero, self.memory, k.add(at, number * self.part))

    def convert(
        self,
        k: KernelBuilder,
        source: Value,
        begin: Index,
        planes: Sequence[int],
        to: Index,
        pixels: Index,
        step: int = 1,
    ) -> None:
        """So many pixels of ``source``, ``step`` apart from ``begin`` on; ``planes``: where the blocks of
        their channels lie. Channels that are not there are zero."""

        def some(first: Index, count: int) -> None:
            places = [k.add(begin, k.mul(k.add(first, i), step * self.lanes)) for i in range(count)]
            loaded = [[k.vload(source, k.add(at, plane), self.lanes) for plane in planes] for at in places]
            for i, vectors in enumerate(loaded):
                at = k.add(to, k.mul(k.add(first, i), DEPTH))
                for value in vectors:
                    self.store(k, value, at)
                    at = k.add(at, self.lanes)
                for _ in range(len(planes), DEPTH // self.lanes):
                    self.clear(k, at)
                    at = k.add(at, self.lanes)

        _several(k, pixels, UNROLL, some)


@record(frozen=True)
class ConvertedRows:
    """Converts what the workgroup reads that begins with row ``first`` of the grid."""

    kernel: KernelBuilder
    convolution: BlockedConvolution
    plan: PatchPlan
    source: Value
    target: Value
    image: Index
    """The image's first element in ``source``."""

    def emit(self, first: Index, rows: Index) -> None:
        """``first``: the first row of the grid; ``rows``: how many of them there are."""
        k, c, plan = self.kernel, self.convolution, self.plan
        form = plan.image(c)
        if c.stem:
            k.loop(
                0, form.rows, 1, (), lambda r: self._stem_row(form, r, k.add(k.mul(first, c.strides[0]), r))
            )
            return
        whole, rest = divmod(c.blocks, DEPTH // c.lanes)
        k.loop(0, whole, 1, (), lambda g: self._group(form, g, DEPTH // c.lanes, first, rows))
        if rest:
            self._group(form, whole, rest, first, rows)

    def _group(self, form: TileImage, group: Index, blocks: int, first: Index, rows: Index) -> None:
        k, c, plan, grid = self.kernel, self.convolution, self.plan, self.plan.grid
        (_, width), (kh, kw) = c.size, c.kernel
        plane = k.add(self.image, k.mul(group, DEPTH // c.lanes * c.size[0] * width * c.lanes))
        at: Index = k.mul(group, form.plane)
        line = width * c.lanes
        if plan.gathers(c):
            (sy, sx), (dy, dx), (top, left) = c.strides, c.dilations, c.pad
            shared = [(x, 0, form.rows // kw) for x in range(kw)]
            each = [(x, y * dy, c.out_size[0]) for y in range(kh) for x in range(kw)]
            for column, begin, count in shared if sy == 1 else each:

                def tap_row(r: Index, column: int = column, begin: int = begin, at: Index = at) -> None:
                    y = k.add(k.mul(r, sy), begin - top)
                    to = k.add(at, k.mul(r, form.pitch))
                    self._checked(plane, y, to, blocks, form.columns, column * dx - left, sx)

                k.loop(0, count, 1, (), tap_row)
                at = k.add(at, count * form.pitch)
            return
        if c.is_sparse:
            sy, sx = c.strides
            if grid.flat:
                # A workgroup does whole rows of the plane.
                first = k.floordiv(k.mul(first, grid.columns), c.out_size[1])
                rows = k.floordiv(k.mul(rows, grid.columns), c.out_size[1])

            def thin_row(r: Index) -> None:
                begin = k.add(plane, k.mul(k.mul(k.add(first, r), sy), line))
                to = k.add(at, k.mul(r, c.out_size[1] * DEPTH))
                self._pixels(begin, to, blocks, c.out_size[1], sx)

            k.loop(0, rows, 1, (), thin_row)
            return
        if grid.flat:
            run = k.add(plane, k.mul(first, grid.columns * c.lanes))
            self._pixels(run, at, blocks, k.mul(rows, grid.columns), 1)
            return
        highest = k.mul(first, c.strides[0])

        def row(r: Index) -> None:
            y = k.add(k.add(highest, r), -c.pad[0])
            self._checked(plane, y, k.add(at, k.mul(r, form.pitch)), blocks, form.columns, -c.pad[1], 1)

        k.loop(0, form.rows, 1, (), row)

    def _checked(
        self, plane: Index, y: Index, to: Index, blocks: int, columns: int, first: int, step: int
    ) -> None:
        """``columns`` pixels of row ``y`` from column ``first`` on, zeros outside the image."""
        k, (height, width) = self.kernel, self.convolution.size
        inside = [i for i in range(columns) if 0 <= first + i * step < width]
        low, high = (inside[0], inside[-1] + 1) if inside else (columns, columns)

        def there() -> None:
            self._zeros(to, low)
            begin = k.add(plane, k.mul(k.add(k.mul(y, width), first + low * step), self.convolution.lanes))
            self._pixels(begin, k.add(to, low * DEPTH), blocks, high - low, step)
            self._zeros(k.add(to, high * DEPTH), columns - high)

        k.if_(k.compare("ult", y, height), there, lambda: self._zeros(to, columns))

    def _zeros(self, to: Index, pixels: int) -> None:
        k = self.kernel
        zero = k.constant(0.0, VectorType((DEPTH,), bf16))

        def some(i: Index) -> None:
            for part in range(self.plan.parts):
                k.vstore(zero, self.target, k.add(k.add(to, k.mul(i, DEPTH)), part * self._part))

        if pixels <= UNROLL:
            for i in range(pixels):
                some(i)
        else:
            k.loop(0, pixels, 1, (), some)

    @property
    def _part(self) -> int:
        return self.plan.image(self.convolution).part

    def _pixels(self, begin: Index, to: Index, blocks: int, pixels: Index, step: int) -> None:
        """So many pixels that lie ``step`` apart."""
        c = self.convolution
        planes = [b * c.size[0] * c.size[1] * c.lanes for b in range(blocks)]
        target = PixelParts(self.target, self._part, self.plan.parts, c.lanes)
        target.convert(self.kernel, self.source, begin, planes, to, pixels, step)

    # -- stems -----------------------------------------------------------------------------------------

    def _stem_row(self, form: TileImage, r: Index, padded: Index) -> None:
        """A row of the padded image, ``STEM_CHANNELS`` channels of a pixel side by side."""
        k, c = self.kernel, self.convolution
        (height, width), (top, left) = c.size, c.pad
        y = k.add(padded, -top)
        at = k.mul(r, form.pitch)
        inside = max(0, min(width, form.columns - left))

        def zeros(first: int, last: int) -> None:
            """Pixels ``first`` to ``last``."""
            zero = k.constant(0.0, VectorType((STEM_CHANNELS,), bf16))

            def some(i: Index) -> None:
                for part in range(self.plan.parts):
                    k.vstore(zero, self.target, k.add(k.add(at, k.mul(i, STEM_CHANNELS)), part * form.part))

            k.loop(first, last, 1, (), some)

        def there() -> None:
            zeros(0, min(left, form.columns))
            line = k.add(self.image, k.mul(y, width))
            start = k.add(at, left * STEM_CHANNELS)
            whole = inside // c.lanes * c.lanes
            k.loop(
                0,
                whole,
                c.lanes,
                (),
                lambda x: self._stem_pixels(
                    form, k.add(line, x), k.add(start, k.mul(x, STEM_CHANNELS)), c.lanes
                ),
            )
            if inside % c.lanes:
                x = whole
                self._stem_pixels(form, k.add(line, x), k.add(start, x * STEM_CHANNELS), inside % c.lanes)
            zeros(left + inside, form.pitch // STEM_CHANNELS)

        k.if_(k.compare("ult", y, height), there, lambda: zeros(0, form.pitch // STEM_CHANNELS))

    def _stem_pixels(self, form: TileImage, begin: Index, to: Index, count: int) -> None:
        k, c = self.kernel, self.convolution
        plane = c.size[0] * c.size[1]
        mask = k.mask_below(count, c.lanes) if count < c.lanes else None
        parts: list[list[Value]] = []
        for channel in range(STEM_CHANNELS):
            if channel < c.blocks:
                value = k.vload(self.source, k.add(begin, channel * plane), c.lanes, mask)
                parts.append(bf16_parts(k, value, c.lanes, self.plan.parts))
            else:
                parts.append([k.constant(0.0, VectorType((c.lanes,), bf16))] * self.plan.parts)
        for number in range(self.plan.parts):
            pixels = _pixels_of([channel[number] for channel in parts], k)
            for half, value in enumerate(pixels):
                # What is written behind the row is written again: by its zeros, or by the next row.
                k.vstore(value, self.target, k.add(to, number * form.part + half * DEPTH))


def _pixels_of(channels: list[Value], k: KernelBuilder) -> list[Value]:
    """Four vectors of a channel each -> vectors of pixels, four channels side by side."""

    def in_turn(a: Value, b: Value, size: int) -> list[Value]:
        """``size`` lanes of ``a`` and ``b`` in turn, as vectors of ``DEPTH``."""
        count = lanes_of(a)
        order = [
            source * count + i + lane
            for i in range(0, count, size)
            for source in (0, 1)
            for lane in range(size)
        ]
        return [k.shuffle(a, b, order[i : i + DEPTH]) for i in range(0, len(order), DEPTH)]

    (low,), (high,) = in_turn(channels[0], channels[1], 1), in_turn(channels[2], channels[3], 1)
    return in_turn(low, high, 2)


def _several(k: KernelBuilder, count: Index, step: int, some: Callable[[Index, int], None]) -> None:
    """``some(first, how many)`` for ``count`` things, ``step`` at a time."""
    if isinstance(count, int):
        whole = count // step * step
        k.loop(0, whole, step, (), lambda i: some(i, step))
        if count % step:
            some(whole, count % step)
        return
    end = k.mul(k.floordiv(count, step), step)
    k.loop(0, end, step, (), lambda i: some(i, step))
    k.loop(end, count, 1, (), lambda i: some(i, 1))


__all__ = ["ConvertedRows", "PixelParts"]
