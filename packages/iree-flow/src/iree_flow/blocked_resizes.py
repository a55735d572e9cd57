"""Images in channel blocks that get larger: pixels repeated, and convolutions that make several of each.

Frontends write both as an op between reshapes that split and merge rows and columns. On blocks the result is
read from where it comes from by quotients and remainders of its own row and column: plain movement of data,
which joins whatever reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType
from iree_flow.blocked_node import PARALLEL, IsBlocked, Node, initial_of, is_image, pointwise
from iree_flow.channel_blocks import RANK, ChannelBlocks, constant_of
from iree_flow.dims import Dim


def resized(op: Any, blocks: ChannelBlocks, is_blocked: IsBlocked) -> Node | None:
    """The node that ends with the collapse ``op``, if it is one of these."""
    return _repeated(op) or _enlarged(op, blocks)


def _moved(source: Value, sizes: Sequence[Dim], reads: Sequence[AffineExpr], builder: Builder) -> Value:
    """A tensor of ``sizes`` that reads ``source`` at ``reads``."""
    target = builder.create(tensor.Empty, list(sizes), source.type.element_type).result
    rank = len(sizes)
    maps = [AffineMap(rank, 0, reads), AffineMap.identity(rank)]
    body = lambda _builder, value, _out: value  # noqa: E731
    made = builder.create(linalg.Generic, [source], [target], maps, [PARALLEL] * rank, body)
    result: Value = made.results[0]
    return result


@record
class Repeated(Node):
    """Every row or column several times: a broadcast between two reshapes. ``op`` is the last of them."""

    axis: int = 2
    spread: Any = None
    """The broadcast."""

    @property
    def ops(self) -> list[Op]:
        return [self.op, self.spread, self.spread.inputs[0].defining_op]

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        source = blocks.image(self.images[0], builder)
        times = self.spread.results[0].type.shape[self.axis + 1]
        reads: list[AffineExpr] = [AffineDim(i) for i in range(RANK)]
        reads[self.axis] = reads[self.axis] // times
        return _moved(source, blocks.dims(self.op.result), reads, builder)

    def keeps_clean(self) -> bool:
        return True


def _repeated(op: Any) -> Node | None:
    groups = [list(g) for g in op.groups]
    merged = [number for number, group in enumerate(groups) if len(group) == 2]
    spread: Any = op.src.defining_op
    if len(groups) != 4 or op.src.type.rank != 5 or len(merged) != 1 or merged[0] < 2:
        return None
    axis = merged[0]
    if not isinstance(spread, linalg.Generic) or len(list(spread.body)) != 1 or spread.n_inputs != 1:
        return None
    source: Any = spread.inputs[0].defining_op
    zeroed = [AffineConstant(0) if i == axis + 1 else AffineDim(i) for i in range(5)]
    if not isinstance(source, tensor.ExpandShape) or not spread.indexing_maps[1].is_identity:
        return None
    if list(spread.indexing_maps[0].results) != zeroed or spread.results[0].type.shape[axis + 1] == DYNAMIC:
        return None
    image = source.src
    if not is_image(image) or not is_image(op.result):
        return None
    # Which group an axis of size 1 belongs to says nothing.
    shape = image.type.shape
    if source.result.type.shape != (*shape[: axis + 1], 1, *shape[axis + 1 :]):
        return None
    return Repeated(op, (image,), op.result, axis, spread)


@record
class Enlarged(Node):
    """A transposed convolution whose window is its stride: each pixel becomes ``ky`` x ``kx`` pixels.

    A 1x1 convolution to so many times the channels, whose result is laid out anew. ``op`` is the reshape
    behind. Without ``result`` the image leaves the blocks.
    """

    sums: Any = None
    """The product, ``[n][group][f][y][ky][x][kx]``; one group."""
    biased: Any = None
    """The sum with a number for each feature, if there is one."""
    mixes = True

    @property
    def ops(self) -> list[Op]:
        biased = [] if self.biased is None else [self.biased]
        return [self.op, *biased, self.sums, self.sums.inputs[0].defining_op]

    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        _, channels, out, ky, kx = self.sums.inputs[1].type.shape
        source = blocks.image(self.images[0], builder)
        together = self.result is None
        weights = self._weights(blocks, builder, together)
        made = pointwise(self.sums, source, weights, channels, blocks, builder)
        if self.result is None:
            n, f, y, x = (AffineDim(i) for i in range(4))
            channel = ((y % ky) * kx + x % kx) * out + f
            reads = [n, channel // blocks.lanes, y // ky, x // kx, channel % blocks.lanes]
            result = _moved(made, blocks.resolver.dims(self.op.result), reads, builder)
            return self._with_bias(result, blocks, builder)
        n, b, y, x, lane = (AffineDim(i) for i in range(RANK))
        block = ((y % ky) * kx + x % kx) * blocks.count(out) + b
        result = _moved(made, blocks.dims(self.result), [n, block, y // ky, x // kx, lane], builder)
        return self._with_bias(result, blocks, builder)

    def _with_bias(self, image: Value, blocks: ChannelBlocks, builder: Builder) -> Value:
        if self.biased is None:
            return image
        bias, rank = self.biased.inputs[1], image.type.rank
        zero = AffineConstant(0)
        reads: list[AffineExpr] = [zero, AffineDim(1), zero, zero, zero, zero]
        if rank == RANK:
            bias = blocks.packed_weights(bias, [1], builder)
            reads.append(AffineDim(RANK - 1))
        target = blocks.empty(builder, blocks.resolver.dims(image))
        maps = [AffineMap.identity(rank), AffineMap(rank, 0, reads), AffineMap.identity(rank)]

        def body(inner: Builder, a: Value, b: Value, _out: Value) -> Value:
            total: Value = inner.create(arith.AddF, a, b).result
            return total

        made = builder.create(linalg.Generic, [image, bias], [target], maps, [PARALLEL] * rank, body)
        result: Value = made.results[0]
        return result

    def _weights(self, blocks: ChannelBlocks, builder: Builder, together: bool) -> Value:
        """``[1][c][f][ky][kx]`` as ``[fb][cb][1][1][ci][fi]``.

        The pixels of a window and the features are blocks one behind the other: each pixel's features fill
        blocks of their own, or, ``together``, all are one list of features.
        """
        value = self.sums.inputs[1]
        store, lanes = blocks.constants, blocks.lanes
        _, channels, out, ky, kx = value.type.shape
        name = str(value.type.element_type)

        def step(kind: str, key: str, shape: Sequence[int], **parameters: Any) -> str:
            return store.add_transform(kind, [key], list(shape), name, parameters)

        key = step("reshape", blocks.key_of(value), [channels, out, ky, kx])
        key = step("transpose", key, [ky, kx, out, channels], permutation=[2, 3, 1, 0])
        groups, features = (1, ky * kx * out) if together else (ky * kx, out)
        key = step("reshape", key, [groups, features, channels])
        counts = [blocks.count(features), blocks.count(channels)]
        tiles = {"inner_dims_pos": [2, 1], "inner_tiles": [lanes, lanes]}
        key = step("pack", key, [groups, *counts, lanes, lanes], **tiles)
        shape = [groups * counts[0], counts[1], 1, 1, lanes, lanes]
        key = step("reshape", key, shape)
        constant = arith.Constant.make(DenseResourceAttr(key, TensorType(shape, value.type.element_type)))
        return builder.insert(constant).result

    def products(self, lanes: int) -> tuple[int, int]:
        shape: tuple[int, ...] = self.sums.inputs[1].type.shape
        return shape[1] * shape[2], 0


_LOOPS = 8
_READS = AffineMap.select(_LOOPS, [0, 1, 7, 3, 5])
_WEIGHTS = AffineMap.select(_LOOPS, [1, 7, 2, 4, 6])
_MAKES = AffineMap.select(_LOOPS, range(7))


def _enlarged(op: Any, blocks: ChannelBlocks) -> Node | None:
    sums: Any = op.src.defining_op
    biased = None
    if isinstance(sums, linalg.Generic) and _adds_bias(sums):
        sums, biased = sums.inputs[0].defining_op, sums
    if not isinstance(sums, linalg.Generic) or sums.n_inputs != 2 or len(sums.iterator_types) != _LOOPS:
        return None
    if tuple(sums.indexing_maps) != (_READS, _WEIGHTS, _MAKES) or sums.reduction_dims != (7,):
        return None
    if [inner.name for inner in sums.body][:-1] != ["arith.mulf", "arith.addf"]:
        return None
    weights, expand = sums.inputs[1], sums.inputs[0].defining_op
    initial = initial_of(sums)
    if constant_of(weights) is None or initial is None or not isinstance(expand, tensor.ExpandShape):
        return None
    image, result = expand.src, op.result
    if not is_image(image) or not is_image(result) or weights.type.shape[0] != 1:
        return None
    n, _, height, width = image.type.shape
    _, channels, out, ky, kx = weights.type.shape
    if DYNAMIC in (height, width) or image.type.shape[1] != channels:
        return None
    if result.type.shape != (n, out, height * ky, width * kx):
        return None
    if out * 2 >= blocks.lanes:
        return Enlarged(op, (image,), result, sums, biased)
    # A few channels would fill blocks with little: they leave the blocks here.
    return (
        Enlarged(op, (image,), None, sums, biased) if math.prod((out, ky, kx)) <= 4 * blocks.lanes else None
    )


def _adds_bias(op: Any) -> bool:
    """A number for each feature is added to ``[n][group][f][y][ky][x][kx]``."""
    if len(op.iterator_types) != 7 or op.n_inputs != 2 or op.reduction_dims:
        return False
    if [inner.name for inner in op.body][:-1] != ["arith.addf"] or constant_of(op.inputs[1]) is None:
        return False
    if set(next(iter(op.body)).operands) != set(op.body.args[:2]):
        return False
    identity, zero = AffineMap.identity(7), AffineConstant(0)
    bias = AffineMap(7, 0, [AffineDim(1), AffineDim(2), zero, zero, zero, zero])
    return bool(tuple(op.indexing_maps) == (identity, bias, identity) and op.inputs[0].has_one_use)


__all__ = ["Enlarged", "Repeated", "resized"]
