"""Numpy meanings of ``math``: functions compute in f64 and round once to the type."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import math
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters import floats, integers
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.interpreters.values import finish, finish_integer
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import element_of


def _float_unary(cls: type[Op], name: str) -> None:
    kernel = floats.UNARY[name]

    def meaning(frame: Frame, op: Op, a: Any) -> Any:
        f = float_format(element_of(op.results[0].type))
        return finish(f.narrow(kernel(f.widest(a))), a)

    implements(cls)(meaning)


for _cls in (
    math.AbsF, math.Exp, math.Exp2, math.ExpM1, math.Log, math.Log1p, math.Log2, math.Log10, math.Sqrt,
    math.Rsqrt, math.Cbrt, math.Sin, math.Cos, math.Tan, math.Asin, math.Acos, math.Atan, math.Sinh,
    math.Cosh, math.Tanh, math.Asinh, math.Acosh, math.Atanh, math.Erf, math.Erfc, math.Floor, math.Ceil,
    math.Round, math.RoundEven, math.Trunc,
):  # fmt: skip
    _float_unary(_cls, _cls.name.partition(".")[2])


def _float_binary(cls: type[Op], kernel: Any) -> None:
    def meaning(frame: Frame, op: Op, a: Any, b: Any) -> Any:
        f = float_format(element_of(op.results[0].type))
        return finish(f.narrow(kernel(f.widest(a), f.widest(b))), a, b)

    implements(cls)(meaning)


_float_binary(math.Atan2, np.arctan2)
_float_binary(math.PowF, np.power)
_float_binary(math.CopySign, np.copysign)


def _integer_unary(cls: type[Op], name: str) -> None:
    kernel = integers.UNARY[name]

    def meaning(frame: Frame, op: Op, a: Any) -> Any:
        f = integer_format(element_of(op.results[0].type))
        return finish_integer(f, kernel(f, a), a)

    implements(cls)(meaning)


_integer_unary(math.AbsI, "abs")
_integer_unary(math.CtPop, "ctpop")
_integer_unary(math.CountLeadingZeros, "ctlz")
_integer_unary(math.CountTrailingZeros, "cttz")


@implements(math.IPowI)
def ipowi(frame: Frame, op: Op, a: Any, b: Any) -> Any:
    f = integer_format(element_of(op.results[0].type))
    return finish_integer(f, integers.power(f, a, b), a, b)


@implements(math.FPowI)
def fpowi(frame: Frame, op: Op, a: Any, b: Any) -> Any:
    f = float_format(element_of(op.results[0].type))
    exponent = integer_format(element_of(op.operands[1].type)).as_signed(b).astype(np.int64)
    return finish(f.narrow(floats.power_integer(f.widest(a), exponent)), a, b)


@implements(math.Fma)
def fma(frame: Frame, op: Op, a: Any, b: Any, c: Any) -> Any:
    f = float_format(element_of(op.results[0].type))
    return finish(floats.fma(f, a, b, c), a, b, c)


@implements(math.ClampF)
def clampf(frame: Frame, op: Op, value: Any, low: Any, high: Any) -> Any:
    f = float_format(element_of(op.results[0].type))
    bounded = floats.minimum(floats.maximum(f.widen(value), f.widen(low)), f.widen(high))
    return finish(f.narrow(bounded), value, low, high)


@implements(math.SinCos)
def sincos(frame: Frame, op: Op, a: Any) -> Any:
    f = float_format(element_of(op.results[0].type))
    wide = f.widest(a)
    return finish(f.narrow(np.sin(wide)), a), finish(f.narrow(np.cos(wide)), a)


@implements(math.IsNaN)
def isnan(frame: Frame, op: Op, a: Any) -> Any:
    return finish(np.isnan(float_format(element_of(op.operands[0].type)).widen(a)), a)


@implements(math.IsInf)
def isinf(frame: Frame, op: Op, a: Any) -> Any:
    return finish(np.isinf(float_format(element_of(op.operands[0].type)).widen(a)), a)


@implements(math.IsFinite)
def isfinite(frame: Frame, op: Op, a: Any) -> Any:
    return finish(np.isfinite(float_format(element_of(op.operands[0].type)).widen(a)), a)


@implements(math.IsNormal)
def isnormal(frame: Frame, op: Op, a: Any) -> Any:
    f = float_format(element_of(op.operands[0].type))
    wide = f.widest(a)
    return finish(np.isfinite(wide) & (np.abs(wide) >= f.smallest_normal), a)
