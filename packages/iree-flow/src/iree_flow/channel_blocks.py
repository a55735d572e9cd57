"""Images in channel blocks: ``[N][C][H][W]`` as ``[N][ceil(C / L)][H][W][L]``, and the way there and back.

One pixel of a block is one vector of ``L`` channels. Lanes behind the last channel are zero where they
count (see ``blocked_ops``). Everything is plain ops on tensors, so the interpreter and every strategy works
on it: packing is a pad of the channels, an ``expand_shape`` and a transpose, unpacking the way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_base.records import field, record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import DenseElementsAttr, DenseResourceAttr, Type
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IntegerType, TensorType, f32
from iree_flow.dims import Dim, DimResolver

RANK = 5
CHANNEL, BLOCK, LANE = 1, 1, 4
"""The axis of channels in an image; in a blocked image the axes of blocks and of channels in a block."""


@record
class ChannelBlocks:
    """Blocks of ``lanes`` channels in one block of IR; remembers what it has packed."""

    lanes: int
    resolver: DimResolver
    constants: ConstantStore
    images: dict[Value, Value] = field(default_factory=dict)
    """Image -> the same image in blocks."""
    operands: dict[tuple[Value, int], Value] = field(default_factory=dict)
    """(other tensor, axis of channels) -> the same with that axis in blocks."""

    def count(self, channels: int) -> int:
        """Blocks of so many channels."""
        return -(-channels // self.lanes)

    def dims(self, image: Value) -> list[Dim]:
        """The dims of ``image`` in blocks."""
        n, c, h, w = self.resolver.dims(image)
        assert isinstance(c, int)
        return [n, self.count(c), h, w, self.lanes]

    def empty(self, builder: Builder, sizes: Sequence[Dim], element: Type = f32) -> Value:
        return builder.create(tensor.Empty, list(sizes), element).result

    def filled(self, builder: Builder, sizes: Sequence[Dim], scalar: Value) -> Value:
        return linalg.fill(builder, scalar, self.empty(builder, sizes, scalar.type))

    # -- images ------------------------------------------------------------------------------------

    def image(self, value: Value, builder: Builder) -> Value:
        """``value`` in blocks: made so by an op that was blocked, or packed here."""
        found = self.images.get(value)
        if found is None:
            found = self.images[value] = self.pack(value, CHANNEL, builder)
        return found

    def pack(self, value: Value, axis: int, builder: Builder) -> Value:
        """``value`` with ``axis`` in blocks; the axis within a block becomes the last one."""
        value = self._padded(value, axis, builder)
        sizes = self.resolver.dims(value)
        channels = sizes[axis]
        assert isinstance(channels, int)
        split = [*sizes[:axis], channels // self.lanes, self.lanes, *sizes[axis + 1 :]]
        groups = [[i] for i in range(axis)] + [[axis, axis + 1]]
        groups += [[i + 1] for i in range(axis + 1, len(sizes))]
        made = builder.create(tensor.ExpandShape, value, groups, split).result
        if axis == len(sizes) - 1:
            return made
        order = [i for i in range(len(split)) if i != axis + 1] + [axis + 1]
        return self._transposed(made, order, split, builder)

    def unpack(self, blocked: Value, image: Value, builder: Builder) -> Value:
        """``blocked`` with the dims of ``image``."""
        sizes = self.resolver.dims(image)
        n, c, h, w = sizes
        assert isinstance(c, int)
        blocks = self.count(c)
        split: list[Dim] = [n, blocks, h, w, self.lanes]
        made = self._transposed(blocked, [0, BLOCK, LANE, 2, 3], split, builder)
        full = image.type.with_shape([image.type.shape[0], blocks * self.lanes, *image.type.shape[2:]])
        made = builder.create(tensor.CollapseShape, made, [[0], [1, 2], [3], [4]], full).result
        if full.shape[CHANNEL] != c:
            offsets = [0] * 4
            made = builder.create(tensor.ExtractSlice, made, offsets, list(sizes)).result
        return made

    def merge(self, blocked: Value, rows: Value, builder: Builder) -> Value:
        """``blocked[N][blocks][1][1][L]`` as ``rows[N][C]``."""
        n, c = self.resolver.dims(rows)
        assert isinstance(c, int)
        full = rows.type.with_shape([rows.type.shape[0], self.count(c) * self.lanes])
        made = builder.create(tensor.CollapseShape, blocked, [[0], [1, 2, 3, 4]], full).result
        if full.shape[1] != c:
            made = builder.create(tensor.ExtractSlice, made, [0, 0], [n, c]).result
        return made

    def _transposed(self, value: Value, order: list[int], sizes: Sequence[Dim], builder: Builder) -> Value:
        target = self.empty(builder, [sizes[i] for i in order], value.type.element_type)
        return builder.create(linalg.Transpose, value, target, order).results[0]

    def _padded(self, value: Value, axis: int, builder: Builder) -> Value:
        sizes = self.resolver.dims(value)
        channels = sizes[axis]
        assert isinstance(channels, int)
        missing = -channels % self.lanes
        if not missing:
            return value
        element = value.type.element_type
        number = 0 if isinstance(element, IntegerType) else 0.0
        zero = builder.insert(arith.Constant.of(number, element)).result
        high = [missing if i == axis else 0 for i in range(len(sizes))]
        return builder.create(tensor.Pad, value, [0] * len(sizes), high, zero).result

    # -- other operands ----------------------------------------------------------------------------

    def operand(self, value: Value, map: AffineMap, builder: Builder) -> tuple[Value, AffineMap] | None:
        """How an elementwise op over blocks reads what it read by ``map`` over ``(n, c, h, w)``.

        None where the channels are not an axis of their own.
        """
        if not isinstance(value.type, TensorType):
            return value, AffineMap(RANK, 0, [])
        places = [axis for axis, e in enumerate(map.results) if CHANNEL in e.dims_used()]
        if not places:
            return value, AffineMap(RANK, 0, map.results)
        axis = places[0]
        if len(places) > 1 or not isinstance(map.results[axis], AffineDim):
            return None
        exprs: list[AffineExpr] = list(map.results)
        if constant_of(value) is None:
            value, exprs = self._without_units_behind(value, exprs, axis, builder)
        key = (value, axis)
        found = self.operands.get(key)
        if found is None:
            found = self._packed_constant(value, axis, builder) or self.pack(value, axis, builder)
            self.operands[key] = found
        return found, AffineMap(RANK, 0, [*exprs, AffineDim(LANE)])

    def _without_units_behind(
        self, value: Value, exprs: list[AffineExpr], axis: int, builder: Builder
    ) -> tuple[Value, list[AffineExpr]]:
        """``[N][C][1][1]`` as ``[N][C]``: packing it then moves nothing."""
        shape = value.type.shape
        behind = range(axis + 1, len(shape))
        if not behind or any(shape[i] != 1 or not isinstance(exprs[i], AffineConstant) for i in behind):
            return value, exprs
        groups = [[i] for i in range(axis)] + [[axis, *behind]]
        result = value.type.with_shape(shape[: axis + 1])
        made = builder.create(tensor.CollapseShape, value, groups, result).result
        return made, exprs[: axis + 1]

    def _packed_constant(self, value: Value, axis: int, builder: Builder) -> Value | None:
        if constant_of(value) is None:
            return None
        return self.packed_weights(value, [axis], builder)

    def key_of(self, value: Value) -> str:
        """The elements of a constant in the store."""
        attribute = constant_of(value)
        if isinstance(attribute, DenseElementsAttr):
            return self.constants.add_array(attribute.to_array())
        assert isinstance(attribute, DenseResourceAttr)
        return attribute.key

    def packed_weights(self, value: Value, axes: Sequence[int], builder: Builder) -> Value:
        """A constant with ``axes`` in blocks: the blocks in their places, the lanes last in that order."""
        key = self.key_of(value)
        shape = list(value.type.shape)
        for axis in axes:
            shape[axis] = self.count(shape[axis])
        shape += [self.lanes] * len(axes)
        parameters = {"inner_dims_pos": list(axes), "inner_tiles": [self.lanes] * len(axes)}
        name = str(value.type.element_type)
        packed = self.constants.add_transform("pack", [key], shape, name, parameters)
        type = TensorType(shape, value.type.element_type)
        return builder.insert(arith.Constant.make(DenseResourceAttr(packed, type))).result


def constant_of(value: Value) -> Any:
    """The elements of a constant tensor; None for any other value."""
    op = value.defining_op
    if not isinstance(op, arith.Constant) or not isinstance(value.type, TensorType):
        return None
    attribute = op.attributes["value"]
    return attribute if isinstance(attribute, (DenseElementsAttr, DenseResourceAttr)) else None


__all__ = ["BLOCK", "CHANNEL", "LANE", "RANK", "ChannelBlocks", "constant_of"]
