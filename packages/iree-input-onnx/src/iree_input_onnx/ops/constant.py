"""Constants and what follows from shapes: Constant, ConstantOfShape, Shape, Size, Range, EyeLike."""

from __future__ import annotations

import numpy as np

from iree_core_ir.dialects import math
from iree_core_ir.ir.affine import AffineMap
from iree_input_onnx.dims import Dim, ceildiv, maximum, product
from iree_input_onnx.elements import F32, F64, I64, accumulator, from_code
from iree_input_onnx.emit import PARALLEL, Emitter, body_index
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.elementwise import same_element
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor


@onnx_op("Constant", notes="no strings")
def constant(e: Emitter, node: Node) -> Tensor:
    given = [name for name in node.attributes if name.startswith(("value", "sparse_value"))]
    if len(given) != 1:
        raise node.error("exactly one value must be given")
    name = given[0]
    value = node.attributes[name]
    label = node.proto.output[0] or node.label
    if name in ("value", "sparse_value"):
        return e.load(value, label)
    if name in ("value_string", "value_strings"):
        raise Unsupported("strings")
    element = F32 if "float" in name else I64
    return e.constant(np.array(value, element.dtype), element, label)


@onnx_op("ConstantOfShape")
def constant_of_shape(e: Emitter, node: Node) -> Tensor:
    shape = e.dims(node.input(0))
    value = node.get("value")
    if value is None:
        return e.splat(0.0, shape, F32)
    t = e.load(value, node.label)
    array = e.array(t)
    if array is None or array.size != 1:
        raise node.error("value must have one element")
    return e.splat(array.reshape(-1)[0], shape, t.element)


@onnx_op("Identity", notes="tensors only")
def identity(e: Emitter, node: Node) -> Tensor:
    return node.input(0)


@onnx_op("Shape")
def shape(e: Emitter, node: Node) -> Tensor:
    dims = node.input(0).shape
    part = dims[slice(node.int("start", 0), node.get("end"))]
    return Tensor.host(part, [len(part)], I64)


@onnx_op("Size")
def size(e: Emitter, node: Node) -> Tensor:
    return Tensor.host([product(node.input(0).shape)], (), I64)


@onnx_op("Range")
def range_(e: Emitter, node: Node) -> Tensor:
    start, limit, delta = node.variadic
    element = same_element(node, [start, limit, delta])
    if any(t.n_elements is None for t in node.variadic):
        raise Unsupported("bounds of a number only known at run time")
    if any(t.n_elements != 1 for t in node.variadic):
        raise node.error("start, limit and delta must be scalars")
    arrays = [e.array(t) for t in node.variadic]
    count: Dim
    if element.kind in "iu":
        first, last, step = (e.dims(t)[0] for t in node.variadic)
        if not isinstance(step, int):
            raise Unsupported("an integer delta only known at run time")
        if step == 0:
            raise node.error("delta is 0")
        distance = last - first if step > 0 else first - last
        count = maximum(ceildiv(distance, abs(step)), 0)
    elif all(a is not None for a in arrays):
        low, high, by = (float(a.reshape(-1)[0]) for a in arrays if a is not None)
        count = max(int(np.ceil((high - low) / by)), 0)
    else:
        a, b, c = (e.scalar(e.scalars(t)[0], element).to(F64) for t in node.variadic)
        counted = ((b - a) / c).apply(math.Ceil).to(I64)
        count = maximum(e.space.symbol("range", counted.to_index(), non_negative=False), 0)
    wide = accumulator(element)
    if isinstance(count, int) and count <= 4096 and all(a is not None for a in arrays):
        base, _, by_ = (a.reshape(-1)[0].astype(wide.dtype) for a in arrays if a is not None)
        values = base + np.arange(count).astype(wide.dtype) * by_
        return e.constant(values.astype(element.dtype), element)
    first_scalar, _, step_scalar = (e.scalar(e.scalars(t)[0], element) for t in node.variadic)

    def body(builder: object, out: Scalar) -> Scalar:
        index = Scalar.from_index(out.builder, body_index(out.builder, 0), I64)
        return (first_scalar_in(out, first_scalar) + index.to(wide) * first_scalar_in(out, step_scalar)).to(
            element
        )

    def first_scalar_in(out: Scalar, outer: Scalar) -> Scalar:
        return Scalar(out.builder, outer.value, element).to(wide)

    destination = (e.empty([count], element), [count], element)
    return e.generic([], [AffineMap.identity(1)], [PARALLEL], [destination], body)[0]


@onnx_op("EyeLike")
def eye_like(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    element = x.element if node.get("dtype") is None else from_code(node.int("dtype"), node.label)
    offset = node.int("k", 0)
    if x.rank != 2:
        raise node.error(f"rank {x.rank}, expected 2")

    def body(builder: object, out: Scalar) -> Scalar:
        row, column = (Scalar.from_index(out.builder, body_index(out.builder, a), I64) for a in (0, 1))
        return column.equals(row + offset).select(out.like(1), out.like(0))

    destination = (e.empty(x.shape, element), x.shape, element)
    return e.generic([], [AffineMap.identity(2)], [PARALLEL] * 2, [destination], body)[0]
