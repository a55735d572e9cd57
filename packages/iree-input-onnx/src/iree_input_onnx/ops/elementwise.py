"""Elementwise arithmetic, comparison, logic and bits -> ``linalg.generic`` with numpy broadcasting.

Each op is a row: its body on scalars, its numpy meaning where numpy rounds the same way (constants are folded
with it), and its meaning on dims where shape arithmetic uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import math
from iree_input_onnx.dims import Dim, Expr, differ, lower_bound, maximum, minimum
from iree_input_onnx.elements import F32, F64, I1, is_float
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op, register_op
from iree_input_onnx.values import Tensor

Body = Callable[..., Scalar]


def same_element(node: Node, tensors: Sequence[Tensor]) -> ElementType:
    """The element type that all inputs share."""
    element = tensors[0].element
    if any(t.element != element for t in tensors):
        raise node.error("inputs differ in element type")
    return element


def widened(body: Body) -> Body:
    """``body`` computed in f32 where its inputs are narrower floats, so that it rounds once."""

    def wide(*scalars: Scalar) -> Scalar:
        element = scalars[0].element
        if element.kind == "f" and element.bits < 32:
            return body(*(s.to(F32) for s in scalars)).to(element)
        return body(*scalars)

    return wide


# -- unary ------------------------------------------------------------------------------------------


def _sign(x: Scalar) -> Scalar:
    if x.element.kind == "u":
        return (x.differs(0)).select(x.like(1), x.like(0))
    return (x > 0).select(x.like(1), (x < 0).select(x.like(-1), x))


def _apply(op: Any) -> Body:
    return widened(lambda x: x.apply(op))


_UNARY: dict[str, tuple[Body, Any, Any]] = {
    "Abs": (lambda x: x.abs(), np.abs, None),
    "Neg": (lambda x: -x, np.negative, lambda a: -a),
    "Ceil": (_apply(math.Ceil), np.ceil, None),
    "Floor": (_apply(math.Floor), np.floor, None),
    "Round": (_apply(math.RoundEven), np.round, None),
    "Sqrt": (_apply(math.Sqrt), np.sqrt, None),
    "Reciprocal": (widened(lambda x: 1 / x), np.reciprocal, None),
    "Exp": (_apply(math.Exp), None, None),
    "Log": (_apply(math.Log), None, None),
    "Sin": (_apply(math.Sin), None, None),
    "Cos": (_apply(math.Cos), None, None),
    "Tan": (_apply(math.Tan), None, None),
    "Asin": (_apply(math.Asin), None, None),
    "Acos": (_apply(math.Acos), None, None),
    "Atan": (_apply(math.Atan), None, None),
    "Sinh": (_apply(math.Sinh), None, None),
    "Cosh": (_apply(math.Cosh), None, None),
    "Tanh": (_apply(math.Tanh), None, None),
    "Asinh": (_apply(math.Asinh), None, None),
    "Acosh": (_apply(math.Acosh), None, None),
    "Atanh": (_apply(math.Atanh), None, None),
    "Erf": (_apply(math.Erf), None, None),
    "Sign": (_sign, np.sign, None),
    "Not": (lambda x: ~x, np.logical_not, lambda a: int(not a) if isinstance(a, int) else None),
    "BitwiseNot": (lambda x: ~x, np.invert, None),
}
_FLOAT_ONLY = frozenset(_UNARY) - {"Abs", "Neg", "Sign", "Not", "BitwiseNot"}


def _unary(op_type: str) -> None:
    body, fold, dims = _UNARY[op_type]

    def lower(e: Emitter, node: Node) -> Tensor:
        x = node.input(0)
        if op_type == "Erf" and not is_float(x.element):
            # The standard allows integers here, but not a fraction of the result's range to hold.
            return e.elementwise([x], lambda v: v.to(F32).apply(math.Erf).to(v.element), x.element)
        if op_type in _FLOAT_ONLY and not is_float(x.element):
            raise Unsupported(f"element type {x.element.name}")
        return e.elementwise([x], body, x.element, fold, dims)

    register_op(op_type, lower)


for _name in _UNARY:
    _unary(_name)


@onnx_op("IsNaN")
def is_nan(e: Emitter, node: Node) -> Tensor:
    return e.elementwise([node.input(0)], lambda x: x.is_nan(), I1, np.isnan)


@onnx_op("IsInf")
def is_inf(e: Emitter, node: Node) -> Tensor:
    positive, negative = node.int("detect_positive", 1), node.int("detect_negative", 1)

    def body(x: Scalar) -> Scalar:
        found = x.like(0).differs(0)
        if positive:
            found = found | x.equals(float("inf"))
        if negative:
            found = found | x.equals(float("-inf"))
        return found

    return e.elementwise([node.input(0)], body, I1)


# -- binary -----------------------------------------------------------------------------------------


def _divide(a: Any, b: Any) -> Any:
    """numpy meaning of Div: integers round to zero; no fold where the divisor has a zero."""
    if a.dtype.kind in "iu":
        if not np.all(b):
            return None
        quotient = np.floor_divide(a, b)
        inexact = np.remainder(a, b) != 0
        return quotient + (inexact & ((a < 0) != (b < 0)))
    return np.divide(a, b)


def _divide_dims(a: Dim, b: Dim) -> Dim | None:
    if b == 0:
        return None
    space = a.space if isinstance(a, Expr) else b.space if isinstance(b, Expr) else None
    if space is None:
        assert isinstance(a, int) and isinstance(b, int)
        return int(_divide(np.int64(a), np.int64(b)))
    return space.truncdiv(a, b)


_ARITHMETIC: dict[str, tuple[Body, Any, Any]] = {
    "Add": (lambda a, b: a + b, np.add, lambda a, b: a + b),
    "Sub": (lambda a, b: a - b, np.subtract, lambda a, b: a - b),
    "Mul": (lambda a, b: a * b, np.multiply, lambda a, b: a * b),
    "Div": (lambda a, b: a / b, _divide, _divide_dims),
    "And": (lambda a, b: a & b, np.logical_and, lambda a, b: _both(lambda: a and b, a, b)),
    "Or": (lambda a, b: a | b, np.logical_or, lambda a, b: _both(lambda: a or b, a, b)),
    "Xor": (lambda a, b: a ^ b, np.logical_xor, lambda a, b: _both(lambda: a != b, a, b)),
    "BitwiseAnd": (lambda a, b: a & b, np.bitwise_and, None),
    "BitwiseOr": (lambda a, b: a | b, np.bitwise_or, None),
    "BitwiseXor": (lambda a, b: a ^ b, np.bitwise_xor, None),
}


def _both(function: Callable[[], Any], *operands: Dim) -> int | None:
    return int(bool(function())) if all(isinstance(o, int) for o in operands) else None


def _arithmetic(op_type: str) -> None:
    body, fold, dims = _ARITHMETIC[op_type]

    def lower(e: Emitter, node: Node) -> Tensor:
        inputs = [node.input(0), node.input(1)]
        return e.elementwise(inputs, body, same_element(node, inputs), fold, dims)

    register_op(op_type, lower, 7)


for _name in _ARITHMETIC:
    _arithmetic(_name)


def _equal_dims(a: Dim, b: Dim) -> int | None:
    if a == b:
        return 1
    return 0 if differ(a, b) else None


def _less_dims(a: Dim, b: Dim) -> int | None:
    gap, opposite = lower_bound(b - a), lower_bound(a - b)
    if gap is not None and gap > 0:
        return 1
    return 0 if opposite is not None and opposite >= 0 else None


def _negated(value: int | None) -> int | None:
    return None if value is None else 1 - value


_COMPARE: dict[str, tuple[str, Any, Any]] = {
    "Equal": ("eq", np.equal, _equal_dims),
    "Less": ("lt", np.less, _less_dims),
    "Greater": ("gt", np.greater, lambda a, b: _less_dims(b, a)),
    "LessOrEqual": ("le", np.less_equal, lambda a, b: _negated(_less_dims(b, a))),
    "GreaterOrEqual": ("ge", np.greater_equal, lambda a, b: _negated(_less_dims(a, b))),
}


def _compare(op_type: str) -> None:
    predicate, fold, dims = _COMPARE[op_type]

    def lower(e: Emitter, node: Node) -> Tensor:
        inputs = [node.input(0), node.input(1)]
        same_element(node, inputs)
        return e.elementwise(inputs, lambda a, b: a.compare(predicate, b), I1, fold, dims)

    register_op(op_type, lower, 7)


for _name in _COMPARE:
    _compare(_name)


@onnx_op("Where")
def where(e: Emitter, node: Node) -> Tensor:
    condition, x, y = node.variadic
    element = same_element(node, [x, y])

    def dims(c: Dim, a: Dim, b: Dim) -> Dim | None:
        if a == b:
            return a
        return (a if c else b) if isinstance(c, int) else None

    return e.elementwise([condition, x, y], lambda c, a, b: c.select(a, b), element, np.where, dims)


@onnx_op("BitShift")
def bit_shift(e: Emitter, node: Node) -> Tensor:
    inputs = [node.input(0), node.input(1)]
    left = node.string("direction") == "LEFT"
    return e.elementwise(inputs, lambda a, b: a << b if left else a >> b, same_element(node, inputs))


@onnx_op("Mod")
def mod(e: Emitter, node: Node) -> Tensor:
    inputs = [node.input(0), node.input(1)]
    truncated = bool(node.int("fmod", 0))

    def body(a: Scalar, b: Scalar) -> Scalar:
        rest = a % b
        if truncated or a.element.kind == "u":
            return rest
        wrong = rest.differs(0) & ((rest < 0) ^ (b < 0))
        fixed = wrong.select(rest + b, rest)
        if not a.is_float:
            return fixed
        return fixed.equals(0).select(fixed.apply(math.CopySign, b), fixed)

    def dims(a: Dim, b: Dim) -> Dim | None:
        return None if truncated or b == 0 else a - a // b * b

    def fold(a: Any, b: Any) -> Any:
        if b.dtype.kind in "iu" and not np.all(b):
            return None
        return np.fmod(a, b) if truncated else np.mod(a, b)

    return e.elementwise(inputs, widened(body), same_element(node, inputs), fold, dims)


@onnx_op("Pow", since=7)
def power(e: Emitter, node: Node) -> Tensor:
    base, exponent = node.input(0), node.input(1)
    number = exponent.number
    if number is not None and float(number) in (1.0, 2.0, 3.0):
        times = int(number)
        small = e.reshape(exponent, [1] * 0) if exponent.n_elements == 1 else exponent
        shape = e.broadcast_shape([base.shape, small.shape])
        body = widened(lambda x: reduce(lambda a, b: a * b, [x] * times))
        return e.broadcast_to(e.elementwise([base], body, base.element), shape)

    def general(a: Scalar, b: Scalar) -> Scalar:
        if a.is_float:
            wide = F32 if a.element.bits < 32 else a.element
            return a.to(wide).apply(math.PowF, b.to(wide)).to(a.element)
        if b.is_float:
            power = a.to(F64).apply(math.PowF, b.to(F64))
            # A whole number computed a little too small must not lose one when the fraction is cut off.
            whole = power.apply(math.RoundEven)
            near = (power - whole).abs() <= whole.abs() * 2.0**-40
            return near.select(whole, power).to(a.element)
        return a.apply(math.IPowI, b.to(a.element))

    def fold(a: Any, b: Any) -> Any:
        integers = a.dtype.kind in "iu" and b.dtype.kind in "iu"
        if integers:
            return None if np.any(b < 0) else np.power(a, b.astype(a.dtype))
        return np.power(a.astype(np.float64), b.astype(np.float64)) if base.element.kind == "f" else None

    return e.elementwise([base, exponent], general, base.element, fold)


# -- variadic ---------------------------------------------------------------------------------------


def _mean(*values: Scalar) -> Scalar:
    return reduce(lambda a, b: a + b, values) / float(len(values))


_VARIADIC: dict[str, tuple[Body, Any, Any]] = {
    "Max": (
        lambda *v: reduce(lambda a, b: a.maximum(b), v),
        lambda *v: reduce(np.maximum, v),
        lambda *v: reduce(maximum, v),
    ),
    "Min": (
        lambda *v: reduce(lambda a, b: a.minimum(b), v),
        lambda *v: reduce(np.minimum, v),
        lambda *v: reduce(minimum, v),
    ),
    "Sum": (lambda *v: reduce(lambda a, b: a + b, v), None, lambda *v: sum(v)),
    "Mean": (widened(_mean), None, None),
}


def _variadic(op_type: str) -> None:
    body, fold, dims = _VARIADIC[op_type]

    def lower(e: Emitter, node: Node) -> Tensor:
        inputs = node.variadic
        if len(inputs) == 1:
            return inputs[0]
        return e.elementwise(inputs, body, same_element(node, inputs), fold, dims)

    register_op(op_type, lower, 6)


for _name in _VARIADIC:
    _variadic(_name)


@onnx_op("Clip", since=6)
def clip(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    bounds: list[Tensor | None]
    if node.since < 11:
        bounds = [
            None if node.get(name) is None else e.splat(node.float(name), (), x.element)
            for name in ("min", "max")
        ]
    else:
        bounds = [node.optional(1), node.optional(2)]
    low, high = bounds
    inputs = [x, *(b for b in bounds if b is not None)]
    for bound in inputs[1:]:
        if bound.n_elements != 1:
            raise node.error("bounds must be scalars")
    same_element(node, inputs)
    inputs[1:] = [e.reshape(b, ()) for b in inputs[1:]]

    def body(value: Scalar, *given: Scalar) -> Scalar:
        rest = list(given)
        if low is not None:
            value = value.maximum(rest.pop(0))
        return value.minimum(rest[0]) if high is not None else value

    def fold(value: Any, *given: Any) -> Any:
        rest = list(given)
        if low is not None:
            value = np.maximum(value, rest.pop(0))
        return np.minimum(value, rest[0]) if high is not None else value

    return e.elementwise(inputs, body, x.element, fold)


__all__ = ["same_element", "widened"]
