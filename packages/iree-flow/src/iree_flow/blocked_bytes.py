"""Windows over images of bytes, in channel blocks: sums of products of bytes, and maxima.

What ``integer-products`` and ``requantize`` make of convolutions and pooling: ``linalg.generic`` over
``(n, f, y, x | c, ky, kx)`` and ``(n, c, y, x | ky, kx)``. Lanes behind the last channel may hold anything:
integers times weights of zero are zero.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen.integer_panels import GROUP
from iree_codegen.integer_plan import is_integer_product
from iree_codegen.window import step_of
from iree_core_ir.ir.affine import AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, i8
from iree_flow.blocked_node import (
    PARALLEL,
    REDUCTION,
    STORED,
    IsBlocked,
    Node,
    Windowed,
    initial_of,
    is_image,
    say_channels,
)
from iree_flow.channel_blocks import CHANNEL, ChannelBlocks, constant_of

ROW, COLUMN = 2, 3


@record
class _Slid(Windowed):
    """``steps``: (stride, dilation) of rows and columns."""

    steps: tuple[tuple[int, int], tuple[int, int]]

    def window(self, rows: int, columns: int) -> list[AffineExpr]:
        """Row and column read, in loops ``rows`` and ``columns`` of the window."""
        loops = ((ROW, rows), (COLUMN, columns))
        return [
            AffineDim(own) * stride + AffineDim(window) * dilation
            for (own, window), (stride, dilation) in zip(loops, self.steps, strict=True)
        ]


@record
class _Products(_Slid):
    @property
    def only_in_blocks(self) -> bool:
        """Kernels on planes are made for a known number of images."""
        return bool(self.op.results[0].type.shape[0] == DYNAMIC)


@record
class ByteProducts(_Products):
    """A convolution over all channels."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        source = blocks.image(self.images[0], builder)
        weights = blocks.packed_weights(self.op.inputs[1], [1, 0], builder)
        # Loops: n, fb, y, x, fi | cb, ky, kx, ci.
        n, fb, fi, cb, ky, kx, ci = 0, 1, 4, 5, 6, 7, 8
        read = AffineMap(9, 0, [AffineDim(n), AffineDim(cb), *self.window(ky, kx), AffineDim(ci)])
        maps = [read, AffineMap.select(9, [fb, cb, ky, kx, ci, fi])]
        result = self.make(blocks, builder, [source, weights], maps, 4)
        say_channels(result, self.op.inputs[0].type.shape[CHANNEL], blocks)
        return result

    def products(self, lanes: int) -> tuple[int, int]:
        """Of words of four channels."""
        out, own, ky, kx = self.op.inputs[1].type.shape
        useful = out * -(-own // GROUP) * ky * kx
        return useful, -(-out // lanes) * -(-own // lanes) * lanes * lanes * ky * kx // GROUP - useful


@record
class ByteStem(_Products):
    """A convolution of an image of few channels that is not in blocks."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        weights = blocks.packed_weights(self.op.inputs[1], [0], builder)
        # Loops: n, fb, y, x, fi | c, ky, kx.
        n, fb, fi, c, ky, kx = 0, 1, 4, 5, 6, 7
        read = AffineMap(8, 0, [AffineDim(n), AffineDim(c), *self.window(ky, kx)])
        maps = [read, AffineMap.select(8, [fb, c, ky, kx, fi])]
        return self.make(blocks, builder, [self.op.inputs[0], weights], maps, 3)


@record
class ByteMaxima(_Slid):
    """Maxima of windows, every channel for itself."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        source = blocks.image(self.images[0], builder)
        # Loops: n, cb, y, x, ci | ky, kx.
        n, cb, ci, ky, kx = 0, 1, 4, 5, 6
        read = AffineMap(7, 0, [AffineDim(n), AffineDim(cb), *self.window(ky, kx), AffineDim(ci)])
        maps = [read, AffineMap.select(7, [ky, kx])]
        return self.make(blocks, builder, [source, self.op.inputs[1]], maps, 2)


def byte_window(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    """The node of a window op over an image of bytes; None where ``op`` is none."""
    if op.n_inputs != 2 or initial_of(op) is None or not is_image(op.results[0], STORED):
        return None
    image, weights = op.inputs
    if getattr(image.type, "element_type", None) is not i8 or image.type.rank != 4:
        return None
    channels = image.type.shape[CHANNEL]
    if channels == DYNAMIC or 0 in image.type.shape:
        return None
    n_reduced = list(op.iterator_types).count(REDUCTION)
    if list(op.iterator_types) != [PARALLEL] * 4 + [REDUCTION] * n_reduced or n_reduced not in (2, 3):
        return None
    n, own = len(op.iterator_types), op.indexing_maps[0].results
    first = n - 2
    steps = [step_of(own[axis], axis, first + axis - ROW) for axis in (ROW, COLUMN)]
    if (
        None in steps
        or own[0] is not AffineDim(0)
        or op.indexing_maps[2] is not AffineMap.select(n, range(4))
    ):
        return None
    rows, columns = (step for step in steps if step is not None)
    result = op.results[0]
    if n_reduced == 2:
        is_maximum = [inner.name for inner in op.body][:-1] in (["arith.maxui"], ["arith.maxsi"])
        fits = own[1] is AffineDim(1) and op.indexing_maps[1] is AffineMap.select(n, [4, 5])
        if not is_maximum or not fits or not is_image(image, STORED):
            return None
        return ByteMaxima(op, (image,), result, (rows, columns))
    if not is_integer_product(op) or constant_of(weights) is None:
        return None
    if own[1] is not AffineDim(4) or op.indexing_maps[1] is not AffineMap.select(n, [1, 4, 5, 6]):
        return None
    if channels < blocks.lanes and not is_blocked(image):
        return ByteStem(op, (), result, (rows, columns))
    return ByteProducts(op, (image,), result, (rows, columns)) if is_image(image, STORED) else None


__all__ = ["ByteProducts", "byte_window"]
