"""Softmax -> ``linalg_ext.softmax``; LogSoftmax and Hardmax -> reductions and elementwise ops.

Before opset 13 these ops flatten their input to two dimensions at ``axis`` and work on the rows.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.dialects import linalg_ext
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_input_onnx.dims import product
from iree_input_onnx.elements import I64, accumulator, is_float
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter, body_index
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.reduction import lowest
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor


def _along(e: Emitter, node: Node, apply: Callable[[Tensor, int], Tensor]) -> Tensor:
    x = node.input(0)
    if not is_float(x.element):
        raise Unsupported(f"element type {x.element.name}")
    axis = normalize_axis(node.int("axis"), x.rank)
    if node.since >= 13 or axis == x.rank - 1:
        return apply(x, axis)
    flat = e.reshape(x, [product(x.shape[:axis]), product(x.shape[axis:])])
    return e.reshape(apply(flat, 1), x.shape)


@onnx_op("Softmax")
def softmax(e: Emitter, node: Node) -> Tensor:
    def apply(x: Tensor, axis: int) -> Tensor:
        wide = accumulator(x.element)
        op = linalg_ext.Softmax.make(e.value(convert(e, x, wide)), e.empty(x.shape, wide), axis)
        return convert(e, e.named(op, x.shape, wide), x.element)

    return _along(e, node, apply)


@onnx_op("LogSoftmax")
def log_softmax(e: Emitter, node: Node) -> Tensor:
    def apply(x: Tensor, axis: int) -> Tensor:
        element = x.element
        wide = accumulator(element)
        x = convert(e, x, wide)
        top = e.reduce(x, [axis], wide, lowest(wide), lambda a, v: a.maximum(v), keep=True)
        shifted = e.elementwise([x, top], lambda v, m: v - m, wide)
        total = e.reduce(shifted, [axis], wide, 0, lambda a, v: a + v.exp(), keep=True)
        return convert(e, e.elementwise([shifted, total], lambda v, s: v - s.log(), wide), element)

    return _along(e, node, apply)


@onnx_op("Hardmax")
def hardmax(e: Emitter, node: Node) -> Tensor:
    def apply(x: Tensor, axis: int) -> Tensor:
        kept = [i for i in range(x.rank) if i != axis]
        shape = [x.shape[i] for i in kept]

        def first_largest(builder: Builder, v: Scalar, best: Scalar, at: Scalar) -> list[Scalar]:
            index = Scalar.from_index(builder, body_index(builder, axis))
            better = (v > best) | (at < 0)
            return [better.select(v, best), better.select(index, at)]

        maps = [AffineMap.identity(x.rank), *[AffineMap.select(x.rank, kept)] * 2]
        iterators = [REDUCTION if i == axis else PARALLEL for i in range(x.rank)]
        outputs = [
            (e.filled(shape, x.element, lowest(x.element)), shape, x.element),
            (e.filled(shape, I64, -1), shape, I64),
        ]
        position = e.generic([x], maps, iterators, outputs, first_largest)[1]

        def mark(builder: Builder, at: Scalar, out: Scalar) -> Scalar:
            here = Scalar.from_index(builder, body_index(builder, axis))
            return here.equals(at).select(out.like(1), out.like(0))

        destination = (e.empty(x.shape, x.element), x.shape, x.element)
        spread = [AffineMap.select(x.rank, kept), AffineMap.identity(x.rank)]
        return e.generic([position], spread, [PARALLEL] * x.rank, [destination], mark)[0]

    return _along(e, node, apply)
