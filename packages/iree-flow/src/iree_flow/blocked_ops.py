"""The ops that work on images in channel blocks: how each is recognised and what it becomes.

``find`` looks at one op on images ``[N][C][H][W]`` and gives a node: which images it reads, which one it
makes, and ``emit``, its form on blocks. Convolutions, pooling, padding, elementwise ops, concatenation and
resizing make images; a reduction over height and width takes one and makes rows ``[N][C]``.

All but dense convolutions and concatenation keep each lane to itself. So lanes behind the last channel may
hold anything until a convolution sums over channels: the images that such ops read are *clean*, and whoever
makes a clean image selects zero for these lanes. Unused lanes of weights are zero, but zero times infinity
is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.affine import AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value, single_block_region
from iree_core_ir.ir.types import DYNAMIC, TensorType, f32
from iree_flow.blocked_bytes import byte_window
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
from iree_flow.blocked_resizes import resized
from iree_flow.channel_blocks import BLOCK, CHANNEL, LANE, RANK, ChannelBlocks, constant_of
from iree_flow.generics import on_operands

IDENTITY = AffineMap.identity(RANK)
IMAGE = AffineMap.identity(4)


# -- windows --------------------------------------------------------------------------------------------


def _window(op: Any, y: int, x: int, ky: int, kx: int) -> list[AffineExpr]:
    """Row and column read, in loops ``y``, ``x`` of the result and ``ky``, ``kx`` of the window."""
    (sy, sx), (dy, dx) = op.strides, op.dilations
    return [
        AffineDim(y) * sy + AffineDim(ky) * dy,
        AffineDim(x) * sx + AffineDim(kx) * dx,
    ]


def _select(n_loops: int, *loops: int) -> AffineMap:
    return AffineMap.select(n_loops, loops)


@record
class Dense(Windowed):
    """A convolution over all channels."""

    mixes = True

    def weights(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        """``[fb][cb][kh][kw][ci][fi]``."""
        return blocks.packed_weights(self.op.inputs[1], [1, 0], builder)

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        source = blocks.image(self.images[0], builder)
        weights = self.weights(blocks, builder)
        # Loops: n, fb, oh, ow, fi | cb, kh, kw, ci.
        n, fb, oh, ow, fi, cb, kh, kw, ci = range(9)
        read = AffineMap(
            9, 0, [AffineDim(n), AffineDim(cb), *_window(self.op, oh, ow, kh, kw), AffineDim(ci)]
        )
        maps = [read, _select(9, fb, cb, kh, kw, ci, fi)]
        result = self.make(blocks, builder, [source, weights], maps, 4)
        say_channels(result, self.op.inputs[0].type.shape[CHANNEL], blocks)
        return result

    def products(self, lanes: int) -> tuple[int, int]:
        out, own, kh, kw = self.op.inputs[1].type.shape
        useful = out * own * kh * kw
        return useful, -(-out // lanes) * -(-own // lanes) * lanes * lanes * kh * kw - useful


@record
class Stem(Windowed):
    """A convolution of an image of few channels that is not in blocks."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        weights = blocks.packed_weights(self.op.inputs[1], [0], builder)
        # Loops: n, fb, oh, ow, fi | c, kh, kw.
        n, fb, oh, ow, fi, c, kh, kw = range(8)
        read = AffineMap(8, 0, [AffineDim(n), AffineDim(c), *_window(self.op, oh, ow, kh, kw)])
        inputs = [self.op.inputs[0], weights]
        return self.make(blocks, builder, inputs, [read, _select(8, fb, c, kh, kw, fi)], 3)


@record
class Depthwise(Windowed):
    """A convolution of every channel by itself."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        source = blocks.image(self.op.inputs[0], builder)
        weights = blocks.packed_weights(self.op.inputs[1], [0], builder)
        # Loops: n, cb, oh, ow, ci | kh, kw.
        n, cb, oh, ow, ci, kh, kw = range(7)
        read = AffineMap(
            7, 0, [AffineDim(n), AffineDim(cb), *_window(self.op, oh, ow, kh, kw), AffineDim(ci)]
        )
        return self.make(blocks, builder, [source, weights], [read, _select(7, cb, kh, kw, ci)], 2)

    def products(self, lanes: int) -> tuple[int, int]:
        useful: int = math.prod(self.op.inputs[1].type.shape)
        return useful, 0


@record
class Pooled(Windowed):
    """Sums or maxima of windows; the second operand gives the window's shape."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        source = blocks.image(self.op.inputs[0], builder)
        n, cb, oh, ow, ci, kh, kw = range(7)
        read = AffineMap(
            7, 0, [AffineDim(n), AffineDim(cb), *_window(self.op, oh, ow, kh, kw), AffineDim(ci)]
        )
        return self.make(blocks, builder, [source, self.op.inputs[1]], [read, _select(7, kh, kw)], 2)


def _dense(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    image, weights = op.inputs
    if constant_of(weights) is None or initial_of(op) is None or not is_image(op.results[0]):
        return None
    if image.type.shape[CHANNEL] == DYNAMIC or image.type.element_type is not f32:
        return None
    if image.type.shape[CHANNEL] < blocks.lanes and not is_blocked(image):
        return Stem(op, (), op.results[0])
    return Dense(op, (image,), op.results[0]) if is_image(image) else None


def _lanewise_window(kind: type[Node]) -> Callable[..., Node | None]:
    def find(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
        image, weights = op.inputs
        if initial_of(op) is None or not is_image(image) or not is_image(op.results[0]):
            return None
        if kind is Depthwise and constant_of(weights) is None:
            return None
        if kind is Pooled and weights.type.element_type is not f32:
            return None
        return kind(op, (image,), op.results[0])

    return find


# -- moving pixels ----------------------------------------------------------------------------------------


@record
class Padded(Node):
    """More rows and columns."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        source = blocks.image(self.op.source, builder)
        made = tensor.Pad.make(source, [*self.op.mixed_low, 0], [*self.op.mixed_high, 0], _outside(self.op))
        result: Value = builder.insert(made).result
        return result

    def keeps_clean(self) -> bool:
        constant = _outside(self.op).defining_op
        return isinstance(constant, arith.Constant) and constant.attributes["value"].value == 0.0  # type: ignore[attr-defined]


def _outside(op: Any) -> Value:
    value: Value = op.regions[0].block.terminator.operands[0]
    return value


def _padded(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    image = op.source
    if not is_image(image, STORED) or not is_image(op.result, STORED) or len(list(op.regions[0].block)) != 1:
        return None
    if _outside(op) in op.regions[0].block.args:
        return None
    if any(op.mixed_low[axis] != 0 or op.mixed_high[axis] != 0 for axis in (0, CHANNEL)):
        return None
    if image.type.shape[CHANNEL] < blocks.lanes and not is_blocked(image):
        return None
    return Padded(op, (image,), op.result)


@record
class Concatenated(Node):
    """Images one behind the other; along channels all but the last fill their blocks."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        parts = [blocks.image(v, builder) for v in self.op.inputs]
        result: Value = builder.create(tensor.Concat, self.op.dim.value, parts).result
        return result

    def keeps_clean(self) -> bool:
        return True


def _concatenated(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    if not all(is_image(v, STORED) for v in (*op.inputs, op.result)):
        return None
    if op.dim.value == CHANNEL and any(v.type.shape[CHANNEL] % blocks.lanes for v in op.inputs[:-1]):
        return None
    return Concatenated(op, tuple(op.inputs), op.result)


# -- pixel by pixel ---------------------------------------------------------------------------------------


@record
class Elementwise(Node):
    """All loops parallel, every operand read at the pixel at hand or not at all by channel."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        op = self.op
        inputs: list[Value] = []
        maps: list[AffineMap] = []
        for value, map in zip(op.inputs, op.indexing_maps, strict=False):
            if value in self.images and map is IMAGE:
                inputs.append(blocks.image(value, builder))
                maps.append(IDENTITY)
                continue
            read = blocks.operand(value, map, builder)
            assert read is not None
            inputs.append(read[0])
            maps.append(read[1])
        target = blocks.empty(builder, blocks.dims(op.results[0]), op.results[0].type.element_type)
        for inner in op.body:
            if inner.name == "tensor.extract" and inner.operands[0] in self.images:
                lane = Builder.before_op(inner).create(linalg.Index, LANE).result
                inner.set_operands([blocks.image(inner.operands[0], builder), *inner.operands[1:], lane])
        made = on_operands(builder, op, inputs, [target], [*maps, IDENTITY], [PARALLEL] * RANK)
        result: Value = made.results[0]
        return result


def _elementwise(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    if len(op.outputs) != 1 or any(t != PARALLEL for t in op.iterator_types) or op.uses_output(0):
        return None
    if op.indexing_maps[-1] is not IMAGE or not is_image(op.results[0], STORED):
        return None
    images: dict[Value, None] = {}
    for value, map in zip(op.inputs, op.indexing_maps, strict=False):
        if is_image(value, STORED) and map is IMAGE and constant_of(value) is None:
            images[value] = None
        elif not _readable(value, map):
            return None
    for inner in op.body:
        if inner.name == "tensor.extract":
            if not _reads_own_channel(inner):
                return None
            images[inner.operands[0]] = None
        elif inner.regions:
            return None
        elif inner.name == "linalg.index" and inner.dim.value == CHANNEL:
            if any(user.name != "tensor.extract" for user in inner.results[0].users):
                return None
    few = op.results[0].type.shape[CHANNEL] < blocks.lanes
    if not images or (few and not any(is_blocked(image) for image in images)):
        return None
    return Elementwise(op, tuple(images), op.results[0])


def _readable(value: Value, map: AffineMap) -> bool:
    """``ChannelBlocks.operand`` has an answer."""
    if not isinstance(value.type, TensorType):
        return True
    places = [e for e in map.results if CHANNEL in e.dims_used()]
    return not places or (len(places) == 1 and isinstance(places[0], AffineDim))


def _reads_own_channel(extract: Any) -> bool:
    """Some pixel of an image, in the image and channel at hand."""
    if not is_image(extract.operands[0], STORED):
        return False
    own = [v.defining_op for v in extract.operands[1:3]]
    return all(isinstance(o, linalg.Index) and o.dim.value == axis for axis, o in enumerate(own))


def mask(image: Value, channels: int, blocks: ChannelBlocks, builder: Builder) -> Value:
    """``image`` (in blocks) with zero behind the last of ``channels``."""
    target = blocks.empty(builder, blocks.resolver.dims(image))

    def body(inner: Builder, value: Value, _out: Value) -> Value:
        def number(n: int) -> Value:
            return inner.insert(arith.Constant.index(n)).result

        first = inner.create(
            arith.MulI, inner.create(linalg.Index, BLOCK).result, number(blocks.lanes)
        ).result
        channel = inner.create(arith.AddI, first, inner.create(linalg.Index, LANE).result).result
        there = inner.create(arith.CmpI, "ult", channel, number(channels)).result
        zero = inner.insert(arith.Constant.of(0.0, f32)).result
        chosen: Value = inner.create(arith.Select, there, value, zero).result
        return chosen

    made = builder.create(linalg.Generic, [image], [target], [IDENTITY, IDENTITY], [PARALLEL] * RANK, body)
    result: Value = made.results[0]
    return result


# -- leaving images -----------------------------------------------------------------------------------------


@record
class Reduced(Node):
    """All pixels of a channel become one number: ``[N][C]``, out of blocks. A window over everything."""

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        op = self.op
        source = blocks.image(op.inputs[0], builder)
        n, count, height, width, lanes = blocks.dims(op.inputs[0])
        initial = initial_of(op)
        assert initial is not None
        window = blocks.empty(builder, [height, width])
        target = blocks.filled(builder, [n, count, 1, 1, lanes], initial)
        region = single_block_region([f32, f32, f32])
        value, _, out = region.block.args
        mapping: dict[Any, Any] = dict(zip(op.body.args, (value, out), strict=True))
        for inner in op.body:
            region.block.append(inner.clone(mapping))
        # Loops: n, cb, y, x, ci | ky, kx; y and x are 0.
        d = [AffineDim(i) for i in range(7)]
        maps = [AffineMap(7, 0, [d[0], d[1], d[2] + d[5], d[3] + d[6], d[4]]), _select(7, 5, 6)]
        iterators = [PARALLEL] * RANK + [REDUCTION] * 2
        own = _select(7, *range(RANK))
        made = builder.create(linalg.Generic, [source, window], [target], [*maps, own], iterators, region)
        return blocks.merge(made.results[0], op.results[0], builder)


def _reduced(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    if len(op.inputs) != 1 or len(op.outputs) != 1 or not is_image(op.inputs[0]) or initial_of(op) is None:
        return None
    if op.indexing_maps[0] is not IMAGE or op.indexing_maps[1] is not AffineMap.select(4, [0, 1]):
        return None
    if list(op.iterator_types) != [PARALLEL, PARALLEL, REDUCTION, REDUCTION] or op.has_index:
        return None
    if op.outputs[0].type.element_type is not f32 or any(o.regions for o in op.body):
        return None
    return Reduced(op, (op.inputs[0],), None)


_FINDERS: dict[str, Callable[..., Node | None]] = {
    "linalg.conv_2d_nchw_fchw": _dense,
    "linalg.depthwise_conv_2d_nchw_chw": _lanewise_window(Depthwise),
    "linalg.pooling_nchw_max": _lanewise_window(Pooled),
    "linalg.pooling_nchw_sum": _lanewise_window(Pooled),
    "linalg.reduce": _reduced,
    "tensor.pad": _padded,
    "tensor.concat": _concatenated,
    "tensor.collapse_shape": resized,
}


def find(op: Op, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    """The node of ``op``, if it can work on blocks. ``is_blocked``: whether an earlier node makes a value."""
    finder = _FINDERS.get(op.name)
    if finder is None and isinstance(op, linalg.Generic):
        finder = _elementwise
        if REDUCTION in op.iterator_types:
            return byte_window(op, blocks, is_blocked) or _reduced(op, blocks, is_blocked)
    return None if finder is None else finder(op, blocks, is_blocked)


__all__ = ["IMAGE", "Dense", "Elementwise", "find", "mask"]
