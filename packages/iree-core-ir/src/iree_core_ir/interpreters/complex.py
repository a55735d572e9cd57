"""Numpy meanings of ``complex``: computed in complex128, rounded once per part to the type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects import complex
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.values import finish
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import ComplexType, element_of


def _dtype(type: Any) -> np.dtype[Any]:
    return element_type(str(element_of(type))).dtype


def _wide(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _function(cls: type[Op], kernel: Callable[..., Any]) -> None:
    def meaning(frame: Frame, op: Op, *operands: Any) -> Any:
        result = np.asarray(kernel(*[_wide(operand) for operand in operands]))
        return finish(result.astype(_dtype(op.results[0].type)), *operands)

    implements(cls)(meaning)


def _expm1(z: Any) -> Any:
    """e^x cos y - 1 without cancellation: expm1(x) cos y - 2 sin^2(y / 2)."""
    x, y = z.real, z.imag
    real = np.expm1(x) * np.cos(y) - 2.0 * np.sin(0.5 * y) ** 2
    return real + 1j * (np.exp(x) * np.sin(y))


def _log1p(z: Any) -> Any:
    """log |1 + z| from log1p of |1 + z|^2 - 1 where z is small."""
    x, y = z.real, z.imag
    near = np.abs(z) < 0.5
    small = 0.5 * np.log1p(np.where(near, x * (2.0 + x) + y * y, 0.0))
    return np.where(near, small, np.log(np.abs(1.0 + z))) + 1j * np.arctan2(y, 1.0 + x)


def _sign(z: Any) -> Any:
    return np.where(z == 0, z, z / np.abs(z))


def _atan2(y: Any, x: Any) -> Any:
    return -1j * np.log((x + 1j * y) / np.sqrt(x * x + y * y))


def _power(a: Any, b: Any) -> Any:
    """0^b is 0 for a positive real part, and z^0 is 1; numpy gives NaN for the former."""
    zero = (a == 0) & (b.real > 0)
    return np.where(b == 0, 1.0, np.where(zero, 0.0, np.power(a, b)))


for _cls, _kernel in (
    (complex.Re, np.real),
    (complex.Im, np.imag),
    (complex.Abs, np.abs),
    (complex.Angle, np.angle),
    (complex.Neg, np.negative),
    (complex.Conj, np.conj),
    (complex.Exp, np.exp),
    (complex.ExpM1, _expm1),
    (complex.Log, np.log),
    (complex.Log1p, _log1p),
    (complex.Sqrt, np.sqrt),
    (complex.Rsqrt, lambda z: 1.0 / np.sqrt(z)),
    (complex.Sign, _sign),
    (complex.Sin, np.sin),
    (complex.Cos, np.cos),
    (complex.Tan, np.tan),
    (complex.Tanh, np.tanh),
    (complex.Add, np.add),
    (complex.Sub, np.subtract),
    (complex.Mul, np.multiply),
    (complex.Div, np.divide),
    (complex.Pow, _power),
    (complex.Atan2, _atan2),
    (complex.Equal, np.equal),
    (complex.NotEqual, np.not_equal),
):
    _function(_cls, _kernel)


@implements(complex.Constant)
def constant(frame: Frame, op: complex.Constant) -> Any:
    real, imaginary = (frame.constant(part) for part in op.value)
    return _dtype(op.results[0].type).type(float(real) + 1j * float(imaginary))


@implements(complex.Create)
def create(frame: Frame, op: Op, real: Any, imaginary: Any) -> Any:
    dtype = _dtype(op.results[0].type)
    result = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imaginary)), dtype)
    result.real, result.imag = real, imaginary
    return finish(result, real, imaginary)


@implements(complex.Bitcast)
def bitcast(frame: Frame, op: Op, value: Any) -> Any:
    source, target = op.operands[0].type, op.results[0].type
    if isinstance(source, ComplexType) or isinstance(target, ComplexType):
        return finish(np.asarray(value).view(_dtype(target)), value)
    return value
