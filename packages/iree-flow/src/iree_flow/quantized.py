"""Recognizes f32 tensors that are dequantized integers: ``scale * (q - zero_point)`` and moved from there.

What frontends make of a dequantization is an elementwise op on 8-bit integers; reshapes, transposes and pads
with zeros (the zero point, as integers) may follow it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from iree_base.records import record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineConstant, AffineDim
from iree_core_ir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TensorType, f32, i8
from iree_core_ir.pass_manager import PassContext
from iree_flow.dims import DimResolver
from iree_flow.symbolic_dims import argument_dim_names

Array = np.ndarray[Any, Any]
MOVES = ("tensor.collapse_shape", "tensor.expand_shape", "tensor.pad", "linalg.transpose")


@record
class Quantized:
    """``value`` is ``scale * (source - zero_point)``, moved by ``moves`` (nearest to the source first)."""

    source: Value
    signed: bool
    scale: Any
    """A number, or an array that broadcasts to the source."""
    zero_point: Any
    moves: list[Any]


def _moves(value: Value) -> tuple[Value, list[Any]] | None:
    """What ``value`` is moved from, and how; None when it is padded with anything but zeros."""
    moves: list[Any] = []
    op: Any = value.defining_op
    while op is not None and op.name in MOVES:
        if op.name == "tensor.pad" and not _is_zero(op.constant_padding):
            return None
        moves.insert(0, op)
        value = op.operands[0]
        op = value.defining_op
    return value, moves


def centred(value: Value) -> Quantized | None:
    """How a tensor of i32 is 8-bit integers less their zero point; None when it is not."""
    found = _moves(value)
    if found is None:
        return None
    value, moves = found
    zero_point = 0
    while True:
        op: Any = value.defining_op
        if (
            not isinstance(op, linalg.Generic)
            or op.reduction_dims
            or op.n_inputs != 1
            or len(op.outputs) != 1
        ):
            return None
        if not all(map.is_identity for map in op.indexing_maps):
            return None
        inner = op.body.terminator.operands[0].defining_op
        if inner is None:
            return None
        if inner.name in ("arith.extsi", "arith.extui"):
            source = _source(op, inner.operands[0])
            if source is None:
                return None
            return Quantized(source, inner.name == "arith.extsi", 1.0, zero_point, moves)
        if inner.name not in ("arith.addi", "arith.subi") or inner.operands[0] is not op.body.args[0]:
            return None
        number = known_number(inner.operands[1])
        if not isinstance(number, int):
            return None
        zero_point += number if inner.name == "arith.subi" else -number
        value = op.operands[0]


def quantized(value: Value, constants: ConstantStore) -> Quantized | None:
    """How ``value`` comes from 8-bit integers; None when it does not."""
    found = _moves(value)
    if found is None:
        return None
    op: Any = found[0].defining_op
    moves = found[1]
    if not isinstance(op, linalg.Generic) or op.reduction_dims or len(op.outputs) != 1:
        return None
    if op.outputs[0].type.element_type is not f32 or not op.indexing_maps[-1].is_identity:
        return None
    return _of_body(op, moves, constants)


def array_of(value: Value, constants: ConstantStore) -> Array | None:
    """The elements of a constant tensor; None for any other value."""
    op = value.defining_op
    if not isinstance(op, arith.Constant) or not isinstance(value.type, TensorType):
        return None
    attribute = op.attributes["value"]
    if isinstance(attribute, DenseElementsAttr):
        return np.asarray(attribute.to_array())
    if isinstance(attribute, DenseResourceAttr):
        return np.asarray(constants.array(attribute.key)).reshape(value.type.shape)
    return None


def moved(source: Value, moves: Sequence[Any], zero_point: int, builder: Builder) -> Value:
    """The integers ``source`` moved as ``moves`` move the numbers that they stand for."""
    for op in moves:
        shape = op.results[0].type.shape
        if op.name == "tensor.pad":
            padding = builder.insert(arith.Constant.of(_signless(zero_point), i8)).result
            source = builder.create(tensor.Pad, source, op.mixed_low, op.mixed_high, padding).result
        elif op.name == "linalg.transpose":
            # Only constants are transposed, so all sizes are known.
            empty = builder.create(tensor.Empty, list(shape), i8).result
            source = builder.create(linalg.Transpose, source, empty, list(op.permutation.values)).results[0]
        else:
            made = type(op)((source, *op.operands[1:]), (TensorType(shape, i8),), dict(op.attributes))
            source = builder.insert(made).results[0]
    return source


def moved_array(array: Array, moves: Sequence[Any]) -> Array | None:
    """A constant moved likewise; None where it is padded."""
    for op in moves:
        if op.name == "tensor.pad":
            return None
        if op.name == "linalg.transpose":
            array = array.transpose(op.permutation.values)
        else:
            array = array.reshape(op.results[0].type.shape)
    return array


def _signless(value: int) -> int:
    """An unsigned byte as the number of i8 with its bits."""
    return value - 256 if value > 127 else value


def _is_zero(value: Value | None) -> bool:
    number = None if value is None else known_number(value)
    return number is not None and number == 0


def _of_body(op: Any, moves: list[Any], constants: ConstantStore) -> Quantized | None:
    """The body ``mulf(to float(integer - zero point), scale)`` taken apart."""
    product = op.body.terminator.operands[0].defining_op
    if product is None or product.name != "arith.mulf":
        return None
    for a, b in (product.operands, tuple(reversed(product.operands))):
        conversion = a.defining_op
        if conversion is None or conversion.name not in ("arith.sitofp", "arith.uitofp"):
            continue
        scale = _parameter(op, b, constants)
        found = _integer(op, conversion, constants)
        if scale is None or found is None:
            return None
        source, signed, zero_point = found
        return Quantized(source, signed, scale, zero_point, moves)
    return None


def _integer(op: Any, conversion: Op, constants: ConstantStore) -> tuple[Value, bool, Any] | None:
    """(8-bit source, signed, zero point) of what is converted to a float."""
    value = conversion.operands[0]
    source = _source(op, value)
    if source is not None:
        return source, conversion.name == "arith.sitofp", 0
    if conversion.name != "arith.sitofp":
        return None
    inner = value.defining_op
    if inner is None:
        return None
    zero_point: Any = 0
    if inner.name in ("arith.addi", "arith.subi"):
        zero_point = _parameter(op, inner.operands[1], constants)
        if zero_point is None:
            return None
        zero_point = -zero_point if inner.name == "arith.addi" else zero_point
        inner = inner.operands[0].defining_op
    if inner is None or inner.name not in ("arith.extsi", "arith.extui"):
        return None
    source = _source(op, inner.operands[0])
    return None if source is None else (source, inner.name == "arith.extsi", zero_point)


def _source(op: Any, value: Value) -> Value | None:
    """The input whose element ``value`` is, when it is 8-bit and read at the element's own place."""
    position = _argument(op, value)
    if position is None or position >= op.n_inputs:
        return None
    source: Value = op.operands[position]
    fits = isinstance(source.type, TensorType) and source.type.element_type is i8
    return source if fits and op.indexing_maps[position].is_identity else None


def _argument(op: StructuredOp, value: Value) -> int | None:
    args: list[Value] = list(op.body.args)
    return args.index(value) if value in args else None


def _parameter(op: Any, value: Value, constants: ConstantStore) -> Any:
    """A scale or zero point: a number, or a constant input as an array that broadcasts to the result."""
    number = known_number(value)
    if number is not None:
        return number
    inner = value.defining_op
    if inner is not None and inner.name in ("arith.extsi", "arith.extui"):
        found = _parameter(op, inner.operands[0], constants)
        if isinstance(found, np.ndarray):
            bits = found.astype(np.int8)
            return (bits if inner.name == "arith.extsi" else bits.view(np.uint8)).astype(np.int64)
        return found
    position = _argument(op, value)
    if position is None or position >= op.n_inputs:
        return None
    array = array_of(op.operands[position], constants)
    if array is None:
        return None
    shape = [1] * len(op.iterator_types)
    order = []
    for axis, expr in enumerate(op.indexing_maps[position].results):
        if isinstance(expr, AffineDim):
            shape[expr.position] = array.shape[axis]
            order.append(expr.position)
        elif not isinstance(expr, AffineConstant):
            return None
    if order != sorted(order):
        return None
    return array.reshape(shape)


def integer_blocks(
    module: Op, context: PassContext, always: bool = False
) -> Iterator[tuple[Block, DimResolver]]:
    """The blocks of functions whose target multiplies 8-bit integers, with what knows their dims.

    ``always``: whatever the target says.
    """
    ask = getattr(context.options.get("target"), "integer_products", None)
    if not always and (ask is None or not ask(context.options["description"])):
        return
    for function in module.regions[0].block:
        if isinstance(function, FuncOp) and function.regions[0].blocks:
            resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
            for block in function.regions[0].blocks:
                yield block, resolver


__all__ = ["Quantized", "array_of", "centred", "moved", "moved_array", "quantized"]
