"""Rows of a blocked image with their padding -> scratch, for the pixels of one workgroup.

Elements are words: of bytes four channels, which a stem puts together here.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_base.records import record
from iree_codegen.blocked_image import BlockedConvolution
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import i32

UNROLL = 8
"""Vectors written out in a loop turn."""
PAGE_ELEMENTS = 1024
LINE_ELEMENTS = 16


@record(frozen=True)
class Rows:
    """Where the input of some output pixels lies: offsets in elements."""

    rows: int
    columns: int
    pixel: int
    """From pixel to pixel."""
    pitch: int
    """From row to row."""
    plane: int
    """From block to block of channels."""
    tap: tuple[int, int]
    """From tap to tap of the window, down and across."""

    @staticmethod
    def in_scratch(c: BlockedConvolution, rows: int, columns: int) -> Rows:
        pitch = columns * c.inner
        plane = -(-rows * pitch // LINE_ELEMENTS) * LINE_ELEMENTS
        return Rows(rows, columns, c.inner, pitch, _apart(plane), _taps(c, pitch))

    @staticmethod
    def gathered(c: BlockedConvolution, rows: int) -> Rows:
        """Every tap sees the plane as one list of pixels, as wide as the result. Taps of a column share rows
        where the stride lets them."""
        pitch = c.out_size[1] * c.inner
        per_tap = c.out_size[0] * pitch
        if c.strides[0] == 1:
            tap = (c.dilations[0] * pitch, rows // c.kernel[1] * pitch)
        else:
            tap = (c.kernel[1] * per_tap, per_tap)
        return Rows(rows, c.out_size[1], c.inner, pitch, _apart(rows * pitch), tap)

    @staticmethod
    def in_place(c: BlockedConvolution) -> Rows:
        height, width = c.size
        pitch = width * c.inner
        return Rows(height, width, c.inner, pitch, height * pitch, _taps(c, pitch))


def _taps(c: BlockedConvolution, pitch: int) -> tuple[int, int]:
    return c.dilations[0] * pitch, c.dilations[1] * c.inner


def _apart(plane: int) -> int:
    """Planes a power of two apart would share the few lines of one set of the L1 cache."""
    return plane + LINE_ELEMENTS if plane % PAGE_ELEMENTS == 0 else plane


def copy_rows(
    k: KernelBuilder,
    c: BlockedConvolution,
    rows: Rows,
    masks: bool,
    source: Value,
    image: Index,
    first: Index,
    target: Value,
) -> None:
    """Input rows from ``first`` (a row of the padded image) on, as words; what is outside where there is no
    image.

    ``image``: the first element of the image in ``source``.
    """
    height, width = c.size
    top, left = c.pad
    inside = max(0, min(width, rows.columns - left))
    around = outside_word(k, c)
    together = c.group if c.interleaves else c.inner
    whole = c.channels // c.group if c.interleaves else c.blocks

    def block(b: Index, channels: int) -> None:
        plane = k.add(image, k.mul(b, height * width * together))

        def row(r: Index) -> None:
            at = k.add(k.mul(b, rows.plane), k.mul(r, rows.pitch))
            y = k.add(k.add(first, r), -top)

            def there() -> None:
                fill(k, around, target, at, min(left, rows.columns) * c.inner, c.lanes, masks)
                start = k.add(at, left * c.inner)
                line = k.add(plane, k.mul(y, width * c.inner))
                if c.interleaves:
                    interleave(k, c, source, line, channels, target, start, inside, masks)
                else:
                    copy(k, source, line, target, start, inside * c.inner, c.lanes, masks)
                rest = rows.columns - left - inside
                fill(k, around, target, k.add(start, inside * c.inner), rest * c.inner, c.lanes, masks)

            def outside() -> None:
                fill(k, around, target, at, rows.pitch, c.lanes, masks)

            k.if_(k.compare("ult", y, height), there, outside)

        k.loop(0, rows.rows, 1, (), row)

    k.loop(0, whole, 1, (), lambda b: block(b, c.group))
    if whole < c.blocks:
        block(whole, c.channels % c.group)


def thin_rows(
    k: KernelBuilder,
    c: BlockedConvolution,
    rows: Rows,
    source: Value,
    image: Index,
    first: Index,
    last: Index,
    target: Value,
) -> None:
    """The pixels that rows ``first`` to ``last`` of a 1x1 convolution with strides read, side by side."""
    (height, width), (sy, sx) = c.size, c.strides

    def block(b: Index) -> None:
        plane = k.add(image, k.mul(b, height * width * c.inner))
        place = k.mul(b, rows.plane)

        def row(r: Index) -> None:
            line = k.add(plane, k.mul(k.mul(r, sy), width * c.inner))
            at = k.add(place, k.mul(k.sub(r, first), rows.pitch))

            def pixels(x: Index, count: int) -> None:
                loaded = [
                    k.vload(source, k.add(line, k.mul(k.add(x, i), sx * c.inner)), c.inner)
                    for i in range(count)
                ]
                for i, value in enumerate(loaded):
                    k.vstore(value, target, k.add(at, k.mul(k.add(x, i), c.inner)))

            whole = rows.columns // UNROLL * UNROLL
            k.loop(0, whole, UNROLL, (), lambda x: pixels(x, UNROLL))
            pixels(whole, rows.columns - whole)

        k.loop(first, last, 1, (), row)

    k.loop(0, c.blocks, 1, (), block)


def gather_rows(
    k: KernelBuilder, c: BlockedConvolution, rows: Rows, source: Value, image: Index, target: Value
) -> None:
    """The pixels of every tap of a small plane (:meth:`Rows.gathered`), what is outside where none are."""
    (height, width), (kh, kw), (sy, sx), (dy, dx) = c.size, c.kernel, c.strides, c.dilations
    (top, left), out_height = c.pad, c.out_size[0]
    zero = k.splat(outside_word(k, c), c.inner)
    # (window column, first row of the padded image, rows) that lie one behind the other.
    shared = [(x, 0, rows.rows // kw) for x in range(kw)]
    parts = shared if sy == 1 else [(x, y * dy, out_height) for y in range(kh) for x in range(kw)]

    def block(b: Index) -> None:
        plane = k.add(image, k.mul(b, height * width * c.inner))
        place = k.mul(b, rows.plane)
        for column, first, count in parts:

            def row(
                r: Index, column: int = column, first: int = first, count: int = count, place: Index = place
            ) -> None:
                y = k.add(k.mul(r, sy), first - top)
                at = k.add(place, k.mul(r, rows.pitch))
                places = [x * sx + column * dx - left for x in range(rows.columns)]

                def there() -> None:
                    start = k.add(plane, k.mul(y, width * c.inner))
                    for i, x in enumerate(places):
                        value = (
                            k.vload(source, k.add(start, x * c.inner), c.inner) if 0 <= x < width else zero
                        )
                        k.vstore(value, target, k.add(at, i * c.inner))

                def outside() -> None:
                    for i in range(rows.columns):
                        k.vstore(zero, target, k.add(at, i * c.inner))

                if first >= top and (count - 1) * sy + first - top < height:
                    there()
                else:
                    k.if_(k.compare("ult", y, height), there, outside)

            k.loop(0, count, 1, (), row)
            place = k.add(place, count * rows.pitch)

    k.loop(0, c.blocks, 1, (), block)


def runs(
    k: KernelBuilder,
    count: int,
    lanes: int,
    masks: bool,
    once: Callable[[list[Index], int, Value | None], None],
) -> None:
    """``count`` elements as vectors: ``once(starts, lanes, mask)`` for several vectors at a time."""
    if count <= 0:
        return
    step = UNROLL * lanes
    whole = count // step * step if count >= 2 * step else 0

    k.loop(0, whole, step, (), lambda i: once([k.add(i, u * lanes) for u in range(UNROLL)], lanes, None))
    full = range(whole, count - lanes + 1, lanes)
    if full:
        once(list(full), lanes, None)
    rest = count % lanes
    if rest and masks:
        once([count - rest], lanes, k.mask_below(rest, lanes))
    elif rest:
        k.loop(count - rest, count, 1, (), lambda i: once([i], 1, None))


def outside_word(k: KernelBuilder, c: BlockedConvolution) -> Value:
    """What stands around a padded image."""
    number = int.from_bytes(bytes([c.outside % 256] * c.group), "little", signed=True)
    return k.constant(number if c.group > 1 else 0.0, c.word)


def fill(
    k: KernelBuilder, value: Value, target: Value, at: Index, count: int, lanes: int, masks: bool
) -> None:
    def once(starts: list[Index], lanes: int, mask: Value | None) -> None:
        for start in starts:
            k.vstore(k.splat(value, lanes), target, k.add(at, start), mask)

    runs(k, count, lanes, masks, once)


def copy(
    k: KernelBuilder,
    source: Value,
    start: Index,
    target: Value,
    at: Index,
    count: int,
    lanes: int,
    masks: bool,
) -> None:
    def once(starts: list[Index], lanes: int, mask: Value | None) -> None:
        loaded = [k.vload(source, k.add(start, i), lanes, mask) for i in starts]
        for value, i in zip(loaded, starts, strict=True):
            k.vstore(value, target, k.add(at, i), mask)

    runs(k, count, lanes, masks, once)


def interleave(
    k: KernelBuilder,
    c: BlockedConvolution,
    source: Value,
    line: Index,
    channels: int,
    target: Value,
    at: Index,
    count: int,
    masks: bool,
) -> None:
    """Words of so many channels for ``count`` pixels of a row, which begins at ``line`` in the plane of the
    first one; ``source`` holds bytes. Zero stands for channels that are not there.
    """
    plane = c.size[0] * c.size[1]

    def words(start: Index, lanes: int, mask: Value | None) -> Value:
        found: Value | None = None
        for channel in range(channels):
            place = k.add(k.add(line, channel * plane), start)
            byte = k.cast("arith.extui", k.vload(source, place, lanes, mask), i32)
            if channel:
                byte = k.binary("arith.shli", byte, k.constant(8 * channel, i32))
            found = byte if found is None else k.binary("arith.ori", found, byte)
        assert found is not None
        return found

    def once(starts: list[Index], lanes: int, mask: Value | None) -> None:
        for start in starts:
            k.vstore(words(start, lanes, mask), target, k.add(at, start), mask)

    runs(k, count, c.lanes, masks, once)
