"""Activations -> one ``linalg.generic`` each, computed in at least f32."""

from __future__ import annotations

import math as number
from collections.abc import Callable

from iree_core_ir.dialects import math
from iree_input_onnx.elements import I1
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.elementwise import same_element, widened
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op, register_op
from iree_input_onnx.values import Tensor


def sigmoid(x: Scalar) -> Scalar:
    return 1 / ((-x).exp() + 1)


def softplus(x: Scalar) -> Scalar:
    """log(1 + e^x) without overflow."""
    return x.maximum(0) + (-x.abs()).exp().apply(math.Log1p)


def _elu(x: Scalar, alpha: float) -> Scalar:
    return (x < 0).select(x.apply(math.ExpM1) * alpha, x)


def _celu(x: Scalar, alpha: float) -> Scalar:
    return x.maximum(0) + ((x / alpha).apply(math.ExpM1) * alpha).minimum(0)


def _selu(x: Scalar, alpha: float, gamma: float) -> Scalar:
    return (x > 0).select(x * gamma, x.apply(math.ExpM1) * (alpha * gamma))


def _shrink(x: Scalar, bias: float, lambd: float) -> Scalar:
    return (x < -lambd).select(x + bias, (x > lambd).select(x - bias, x.like(0)))


_FLOATS: dict[str, tuple[Callable[..., Scalar], tuple[str, ...]]] = {
    "Sigmoid": (sigmoid, ()),
    "Softplus": (softplus, ()),
    "Softsign": (lambda x: x / (x.abs() + 1), ()),
    "LeakyRelu": (lambda x, alpha: (x < 0).select(x * alpha, x), ("alpha",)),
    "ThresholdedRelu": (lambda x, alpha: (x > alpha).select(x, x.like(0)), ("alpha",)),
    "Elu": (_elu, ("alpha",)),
    "Celu": (_celu, ("alpha",)),
    "Selu": (_selu, ("alpha", "gamma")),
    "HardSigmoid": (lambda x, alpha, beta: (x * alpha + beta).clamp(0, 1), ("alpha", "beta")),
    "HardSwish": (lambda x: x * (x / 6 + 0.5).clamp(0, 1), ()),
    "Mish": (lambda x: x * softplus(x).tanh(), ()),
    "Swish": (lambda x, alpha: x * sigmoid(x * alpha), ("alpha",)),
}
"""Op -> body and the float attributes it takes, in order."""


def _activation(op_type: str) -> None:
    body, names = _FLOATS[op_type]

    def lower(e: Emitter, node: Node) -> Tensor:
        x = node.input(0)
        if x.element.kind != "f":
            raise Unsupported(f"element type {x.element.name}")
        given = [node.float(name) for name in names]
        return e.elementwise([x], widened(lambda v: body(v, *given)), x.element)

    register_op(op_type, lower)


for _name in _FLOATS:
    _activation(_name)


@onnx_op("Relu")
def relu(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    return e.elementwise([x], lambda v: v.maximum(0), x.element)


@onnx_op("PRelu", since=7)
def prelu(e: Emitter, node: Node) -> Tensor:
    inputs = [node.input(0), node.input(1)]
    element = same_element(node, inputs)
    return e.elementwise(inputs, lambda x, slope: (x < 0).select(x * slope, x), element)


@onnx_op("Gelu")
def gelu(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    approximate = node.string("approximate") == "tanh"

    def body(v: Scalar) -> Scalar:
        if approximate:
            inner = (v * v * v * 0.044715 + v) * number.sqrt(2 / number.pi)
            return v * 0.5 * (inner.tanh() + 1)
        return v * 0.5 * ((v * number.sqrt(0.5)).apply(math.Erf) + 1)

    return e.elementwise([x], widened(body), x.element)


@onnx_op("Shrink")
def shrink(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    bias, lambd = node.float("bias"), node.float("lambd")
    if x.element.kind != "f":
        raise Unsupported(f"element type {x.element.name}")
    return e.elementwise([x], widened(lambda v: _shrink(v, bias, lambd)), x.element)


@onnx_op("Dropout", since=7, notes="inference: training_mode must be a constant false, or ratio a constant 0")
def dropout(e: Emitter, node: Node) -> list[Tensor]:
    x = node.input(0)
    training = node.optional(2)
    ratio = node.optional(1)
    if training is not None and training.number is None:
        raise Unsupported("training mode only known at run time")
    if training is not None and bool(training.number):
        if ratio is None or ratio.number is None or float(ratio.number) != 0:
            raise Unsupported("training mode draws random numbers")
    return [x, e.splat(True, x.shape, I1 if node.since >= 10 else x.element)]
