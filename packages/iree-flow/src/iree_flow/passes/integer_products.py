"""``integer-products``: products of dequantized 8-bit integers are computed on the integers.

Before: a matrix product or convolution in f32 of ``sx * (x - zx)`` and constant weights ``sw * w``, with one
``sw`` per column of the result. After, for targets that multiply 8-bit integers (``integer_products``): a
product of the integers, summed in i32, and behind it ``(sum - zx * sum of w) * (sx * sw)``, which is the same
number before any rounding. ``x`` is unsigned there: a signed one is shifted by 128. Products of i32 that are
such integers less their zero point (quantized operators) likewise, without scales. Products of two
dequantized tensors lose their scales, too, and stay in f32 where that is exact.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.attributes import DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType, f32, i8, i32
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dims import DimResolver
from iree_flow.exact_products import multiply_exactly
from iree_flow.moved_elements import is_zero_filled
from iree_flow.quantized import Quantized, array_of, centred, integer_blocks, moved, moved_array, quantized

COLUMNS = {"linalg.matmul": (1, 1), "linalg.conv_2d_nchw_fchw": (1, 0)}
"""Op -> (axis of the result, axis of the weights) that scales may differ along."""
Array = np.ndarray[Any, Any]


@record
class IntegerProducts(Pass):
    name: ClassVar[str] = "integer-products"
    always: bool = False
    """Whatever the target says."""

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for block, resolver in integer_blocks(module, context, self.always):
            changed |= _block(block, context, resolver)
        return changed


def _block(block: Block, context: PassContext, resolver: DimResolver) -> bool:
    changed = False
    unsigned: dict[Value, Value] = {}
    for op in list(block):
        if op.name in COLUMNS:
            product = _Product.of(op, context)
            if product is not None:
                product.rewrite(resolver, unsigned)
                changed = True
                continue
        changed |= multiply_exactly(op, context.constants, resolver)
    return changed


@record
class _Product:
    op: Any
    context: PassContext
    image: Quantized
    integers: Array
    """The weights as the op reads them."""
    weights: Value | None
    """The tensor of ``integers``; None where they stand in the program some other way."""
    scales: Array
    """By column."""

    @classmethod
    def of(cls, op: Any, context: PassContext) -> _Product | None:
        if not is_zero_filled(op.outputs[0]):
            return None
        if op.outputs[0].type.element_type is i32:
            return cls._of_integers(op, context)
        if op.outputs[0].type.element_type is not f32:
            return None
        constants = context.constants
        image = quantized(op.inputs[0], constants)
        weights = quantized(op.inputs[1], constants)
        if image is None or weights is None or array_of(image.source, constants) is not None:
            return None
        if not isinstance(image.scale, float) or not isinstance(image.zero_point, int):
            return None
        if any(move.name == "linalg.transpose" for move in image.moves) or not weights.signed:
            return None
        if np.any(np.asarray(weights.zero_point) != 0):
            return None
        source = array_of(weights.source, constants)
        if source is None:
            return None
        integers = moved_array(source, weights.moves)
        scales = moved_array(np.broadcast_to(np.asarray(weights.scale), source.shape), weights.moves)
        if integers is None or scales is None:
            return None
        axis = COLUMNS[op.name][1]
        by_column = np.moveaxis(scales, axis, 0).reshape(scales.shape[axis], -1)
        if by_column.size == 0 or np.any(by_column != by_column[:, :1]):
            return None
        if not _sizes_known(op, context):
            return None
        stands = None if weights.moves else weights.source
        return cls(op, context, image, integers, stands, by_column[:, 0].astype(np.float32))

    @classmethod
    def _of_integers(cls, op: Any, context: PassContext) -> _Product | None:
        """The same of integers of which the zero points are taken already: a sum of i32 without scales."""
        image = centred(op.inputs[0])
        integers = array_of(op.inputs[1], context.constants)
        if (
            image is None
            or integers is None
            or integers.size == 0
            or op.inputs[0].type.element_type is not i32
        ):
            return None
        if any(move.name == "linalg.transpose" for move in image.moves):
            return None
        if not _sizes_known(op, context):
            return None
        if (
            integers.min() < -128
            or integers.max() > 127
            or not 0 <= image.zero_point + 128 * image.signed <= 255
        ):
            return None
        ones = np.ones(integers.shape[COLUMNS[op.name][1]], np.float32)
        return cls(op, context, image, integers.astype(np.int8), None, ones)

    def rewrite(self, resolver: DimResolver, unsigned: dict[Value, Value]) -> None:
        op = self.op
        builder = Builder.before_op(op)
        builder.location = op.location
        zero_point = self.image.zero_point
        source = self.image.source
        if self.image.signed:
            zero_point += 128
            if source not in unsigned:
                unsigned[source] = _shifted(source)
            source = unsigned[source]
        image = moved(source, self.image.moves, zero_point, builder)
        weights = self._constant(self.integers, builder) if self.weights is None else self.weights
        sizes = resolver.dims(op.outputs[0])
        zero = builder.insert(arith.Constant.of(0, i32)).result
        start = linalg.fill(builder, zero, builder.create(tensor.Empty, list(sizes), i32).result)

        def multiply(b: Builder, x: Value, w: Value, total: Value) -> Value:
            product = b.create(
                arith.MulI, b.create(arith.ExtUI, x, i32).result, b.create(arith.ExtSI, w, i32).result
            )
            return b.create(arith.AddI, total, product.result).result

        made = linalg.generic(
            builder, [image, weights], [start], op.indexing_maps, op.iterator_types, multiply
        )
        op.replace_by([self._scaled(made.results[0], sizes, zero_point, builder)])

    def _scaled(self, total: Value, sizes: Any, zero_point: int, builder: Builder) -> Value:
        """The sums as the numbers that they stand for."""
        axis, weights_axis = COLUMNS[self.op.name]
        rank = total.type.rank
        inner = tuple(i for i in range(self.integers.ndim) if i != weights_axis)
        shift = -zero_point * self.integers.sum(axis=inner, dtype=np.int64)
        scale = np.float32(self.image.scale) * self.scales
        inputs = [total, self._constant(shift.astype(np.int32), builder), self._constant(scale, builder)]
        identity = AffineMap.identity(rank)
        column = AffineMap(rank, 0, [AffineDim(axis)])
        if self.op.outputs[0].type.element_type is i32:
            return self._shifted_sums(inputs[:2], sizes, [identity, column, identity], builder)
        empty = builder.create(tensor.Empty, list(sizes), f32).result

        def scaled(b: Builder, x: Value, shift: Value, scale: Value, _: Value) -> Value:
            exact = b.create(arith.SIToFP, b.create(arith.AddI, x, shift).result, f32).result
            return b.create(arith.MulF, exact, scale).result

        maps = [identity, column, column, identity]
        return linalg.generic(builder, inputs, [empty], maps, ["parallel"] * rank, scaled).results[0]

    def _shifted_sums(self, inputs: Any, sizes: Any, maps: Any, builder: Builder) -> Value:
        """The sums less what the zero point adds to them."""
        empty = builder.create(tensor.Empty, list(sizes), i32).result

        def shifted(b: Builder, x: Value, shift: Value, _: Value) -> Value:
            return b.create(arith.AddI, x, shift).result

        iterators = ["parallel"] * len(maps[0].results)
        return linalg.generic(builder, inputs, [empty], maps, iterators, shifted).results[0]

    def _constant(self, array: Array, builder: Builder) -> Value:
        element = {"int8": i8, "int32": i32, "float32": f32}[array.dtype.name]
        key = self.context.constants.add_array(np.ascontiguousarray(array), str(element))
        type = TensorType(array.shape, element)
        return builder.insert(arith.Constant.make(DenseResourceAttr(key, type))).result


def _sizes_known(op: Any, context: PassContext) -> bool:
    """Kernels for convolutions of bytes are made for known sizes; those of images in channel blocks for any
    number of images. What has one pixel is never in blocks.
    """
    if op.name == "linalg.matmul":
        return True
    ask = getattr(context.options.get("target"), "channel_block", None)
    blocks = ask is not None and ask(context.options["description"]) is not None
    blocks = blocks and op.results[0].type.shape[2:] != (1, 1)
    return DYNAMIC not in op.inputs[0].type.shape[1 if blocks else 0 :]


def _shifted(source: Value) -> Value:
    """Signed bytes with 128 added: unsigned, in the same order."""
    owner = source.owner
    builder = Builder.after_op(owner) if isinstance(owner, Op) else Builder.at_start(owner)
    if isinstance(owner, Op):
        builder.location = owner.location

    def flip(b: Builder, x: Value, *_: Value) -> Value:
        return b.create(arith.XOrI, x, b.insert(arith.Constant.of(-128, i8)).result).result

    return linalg.elementwise(builder, [source], flip)
