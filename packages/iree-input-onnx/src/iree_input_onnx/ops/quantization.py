"""Quantization -> elementwise integer and float arithmetic; products of quantized tensors in i32.

``DequantizeLinear`` and ``QuantizeLinear`` stay separate from the op between them, so that later phases see
the pattern dequantize - op - quantize.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import math
from iree_input_onnx.dims import Dim, ceildiv
from iree_input_onnx.elements import F32, I8, I32, UI8, from_code
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.convolution import add_bias, convolution
from iree_input_onnx.ops.matmul import matmul
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor

_WIDTHS = {"f8E4M3FN": 448.0, "f8E4M3FNUZ": 240.0, "f8E5M2": 57344.0, "f8E5M2FNUZ": 57344.0}


def along(e: Emitter, t: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point shaped to broadcast with ``x``: for all, per index of ``axis``, or blocked."""
    if t.rank == 0 or (t.n_elements == 1 and not block):
        return e.reshape(t, ())
    axis = normalize_axis(axis, x.rank)
    if t.rank == 1 and not block:
        return e.reshape(t, [t.shape[0], *[1] * (x.rank - axis - 1)])
    if not block or t.rank != x.rank:
        raise Unsupported(f"a parameter of rank {t.rank}")
    spread: list[Dim] = [*t.shape[: axis + 1], block, *t.shape[axis + 1 :]]
    full = e.broadcast_to(e.unsqueeze(t, [axis + 1]), spread)
    merged = e.reshape(full, [*t.shape[:axis], t.shape[axis] * block, *t.shape[axis + 1 :]])
    size, count = x.shape[axis], t.shape[axis]
    if isinstance(size, int) and isinstance(count, int) and ceildiv(size, block) != count:
        raise ValueError(f"{count} blocks of {block} for a dimension of {size}")
    return e.slice(merged, [0] * x.rank, x.shape)


def dequantize(x: Scalar, scale: Scalar, zero: Scalar | None) -> Scalar:
    """(x - zero) * scale in f32."""
    if x.is_float:
        value = x.to(F32)
        value = value if zero is None else value - zero.to(F32)
    else:
        wide = x.to(I32)
        value = (wide if zero is None else wide - zero.to(I32)).to(F32)
    return value * scale.to(F32)


def _addressable(e: Emitter, t: Tensor) -> Tensor:
    """Constants of less than a byte one a byte: every target reads those."""
    if t.element.bits >= 8 or not t.is_constant:
        return t
    return e.widened(t, UI8 if t.element.kind == "u" else I8)


@onnx_op("DequantizeLinear", notes="no float4, int2")
def dequantize_linear(e: Emitter, node: Node) -> Tensor:
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    code = node.get("output_dtype", 0)
    element = from_code(code, node.label) if code else scale.element
    x, zero = _addressable(e, x), None if zero is None else _addressable(e, zero)
    inputs = [x, along(e, scale, x, axis, block)]
    if zero is not None:
        inputs.append(along(e, zero, x, axis, block))
    return e.elementwise(inputs, lambda v, s, *z: dequantize(v, s, z[0] if z else None).to(element), element)


def quantize(value: Scalar, zero: Scalar | None, element: ElementType, saturate: bool = True) -> Scalar:
    """Round half to even, add the zero point, saturate to ``element``."""
    if element.kind == "f":
        limit = _WIDTHS[element.name]
        return (value.clamp(-limit, limit) if saturate else value).to(element)
    rounded = value.apply(math.RoundEven)
    if zero is not None:
        rounded = rounded + zero.to(I32).to(F32)
    info = _range(element)
    return rounded.clamp(float(info[0]), float(info[1])).to(element)


def _range(element: ElementType) -> tuple[int, int]:
    if element.bits < 8:
        return (
            (-(1 << element.bits - 1), (1 << element.bits - 1) - 1)
            if element.kind == "i"
            else (
                0,
                (1 << element.bits) - 1,
            )
        )
    info = np.iinfo(element.dtype)
    return int(info.min), int(info.max)


@onnx_op("QuantizeLinear", notes="no float4, int2; computed in f32")
def quantize_linear(e: Emitter, node: Node) -> Tensor:
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    code = node.get("output_dtype", 0)
    element = zero.element if zero is not None else from_code(code, node.label) if code else UI8
    saturate = bool(node.get("saturate", 1))
    inputs = [x, along(e, scale, x, axis, block)]
    if zero is not None and element.kind != "f":
        inputs.append(along(e, zero, x, axis, block))

    def body(v: Scalar, s: Scalar, *z: Scalar) -> Scalar:
        return quantize(v.to(F32) / s.to(F32), z[0] if z else None, element, saturate)

    return e.elementwise(inputs, body, element)


@onnx_op("QLinearMatMul")
def qlinear_matmul(e: Emitter, node: Node) -> Tensor:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.variadic
    element = y_zero.element
    left, right = (
        _centred(e, t, _parameter(e, convert(e, zero, I32), t.rank, axis))
        for t, zero, axis in ((a, a_zero, -2), (b, b_zero, -1))
    )
    total = matmul(e, left, right)
    scales = [_parameter(e, s, total.rank, axis) for s, axis in ((a_scale, -2), (b_scale, -1), (y_scale, -2))]
    return _requantized(e, total, scales, _parameter(e, y_zero, total.rank, -2), element)


@onnx_op("QLinearConv")
def qlinear_conv(e: Emitter, node: Node) -> Tensor:
    """Products in i32 of what is left of the zero points: padding is the input's zero point."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (node.input(i) for i in range(8))
    bias = node.optional(8)
    element = y_zero.element
    centred = _centred(e, x, e.reshape(convert(e, x_zero, I32), ()))
    weights = _centred(e, w, _per_filter(e, convert(e, w_zero, I32), w.rank))
    total = add_bias(e, convolution(e, node, centred, weights), bias)
    scales = [e.reshape(x_scale, ()), _per_filter(e, w_scale, w.rank - 1), e.reshape(y_scale, ())]
    return _requantized(e, total, scales, e.reshape(y_zero, ()), element)


def _per_filter(e: Emitter, t: Tensor, rank: int) -> Tensor:
    """A scalar, or one number per filter with ``rank - 1`` unit dims behind."""
    return e.reshape(t, ()) if t.n_elements == 1 else e.reshape(t, [t.shape[0], *[1] * (rank - 1)])


def _parameter(e: Emitter, t: Tensor, rank: int, axis: int) -> Tensor:
    """A scalar, or one number per row (axis -2) or column (axis -1)."""
    if t.n_elements == 1:
        return e.reshape(t, ())
    return e.reshape(t, [*t.shape, 1] if t.rank == 1 and axis == -2 else t.shape)


def _centred(e: Emitter, t: Tensor, zero: Tensor) -> Tensor:
    """``t`` in i32 less a zero point of i32 that broadcasts to it."""
    return e.elementwise([convert(e, t, I32), zero], lambda v, z: v - z, I32)


def _requantized(
    e: Emitter, total: Tensor, scales: Sequence[Tensor], zero: Tensor, element: ElementType
) -> Tensor:
    """Sums of products by the scales of both factors over that of the result, quantized."""

    def body(v: Scalar, sa: Scalar, sb: Scalar, sy: Scalar, z: Scalar) -> Scalar:
        return quantize(v.to(F32) * (sa.to(F32) * sb.to(F32) / sy.to(F32)), z, element)

    return e.elementwise([total, *scales, zero], body, element)
