"""``math``: float and integer functions, elementwise on scalars, vectors and tensors, as in MLIR."""

from __future__ import annotations

from typing import Any, Self

from iree_core_ir.dialects import math_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.arith import materialize_constant
from iree_core_ir.dialects.arith_attributes import NO_FASTMATH, FastMathAttr, fastmath_attributes
from iree_core_ir.dialects.constraints import BOOL_LIKE, FLOAT_LIKE, INTEGER_LIKE, bool_like
from iree_core_ir.dialects.folds import FoldableOp
from iree_core_ir.ir.declaration import operand, optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.traits import ELEMENTWISE, PURE, SAME_TYPE


class _FloatUnary(FoldableOp, traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    operand = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = "$operand (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, operand: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((operand,), (operand.type,), fastmath_attributes(fastmath))


class _FloatBinary(FoldableOp, traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    lhs = operand(FLOAT_LIKE)
    rhs = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = "$lhs `,` $rhs (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((lhs, rhs), (lhs.type,), fastmath_attributes(fastmath))


class _IntUnary(FoldableOp, traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    operand = operand(INTEGER_LIKE)
    result = result(INTEGER_LIKE)
    assembly_format = "$operand attr-dict `:` type($result)"

    @classmethod
    def make(cls, operand: Value) -> Self:
        return cls((operand,), (operand.type,))


class _Classify(FoldableOp, traits=(PURE, ELEMENTWISE)):
    operand = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(BOOL_LIKE)
    assembly_format = "$operand (`fastmath` `` $fastmath^)? attr-dict `:` type($operand)"

    @classmethod
    def make(cls, operand: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((operand,), (bool_like(operand.type),), fastmath_attributes(fastmath))

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = [bool_like(types["operand"][0])]


class AbsF(_FloatUnary, name="math.absf"):
    """|x|; clears the sign bit."""


class Exp(_FloatUnary, name="math.exp"):
    """e^x."""


class Exp2(_FloatUnary, name="math.exp2"):
    """2^x."""


class ExpM1(_FloatUnary, name="math.expm1"):
    """e^x - 1, accurate near 0."""


class Log(_FloatUnary, name="math.log"):
    """Natural logarithm."""


class Log1p(_FloatUnary, name="math.log1p"):
    """log(1 + x), accurate near 0."""


class Log2(_FloatUnary, name="math.log2"):
    """Logarithm to base 2."""


class Log10(_FloatUnary, name="math.log10"):
    """Logarithm to base 10."""


class Sqrt(_FloatUnary, name="math.sqrt"):
    """Square root."""


class Rsqrt(_FloatUnary, name="math.rsqrt"):
    """1 / sqrt(x)."""


class Cbrt(_FloatUnary, name="math.cbrt"):
    """Cube root."""


class Sin(_FloatUnary, name="math.sin"):
    """Sine (radians)."""


class Cos(_FloatUnary, name="math.cos"):
    """Cosine (radians)."""


class Tan(_FloatUnary, name="math.tan"):
    """Tangent (radians)."""


class Asin(_FloatUnary, name="math.asin"):
    """Arc sine."""


class Acos(_FloatUnary, name="math.acos"):
    """Arc cosine."""


class Atan(_FloatUnary, name="math.atan"):
    """Arc tangent."""


class Sinh(_FloatUnary, name="math.sinh"):
    """Hyperbolic sine."""


class Cosh(_FloatUnary, name="math.cosh"):
    """Hyperbolic cosine."""


class Tanh(_FloatUnary, name="math.tanh"):
    """Hyperbolic tangent."""


class Asinh(_FloatUnary, name="math.asinh"):
    """Inverse hyperbolic sine."""


class Acosh(_FloatUnary, name="math.acosh"):
    """Inverse hyperbolic cosine."""


class Atanh(_FloatUnary, name="math.atanh"):
    """Inverse hyperbolic tangent."""


class Erf(_FloatUnary, name="math.erf"):
    """Gauss error function."""


class Erfc(_FloatUnary, name="math.erfc"):
    """Complementary error function, 1 - erf(x) without cancellation."""


class Floor(_FloatUnary, name="math.floor"):
    """Rounded down."""


class Ceil(_FloatUnary, name="math.ceil"):
    """Rounded up."""


class Round(_FloatUnary, name="math.round"):
    """Rounded to nearest, halves away from zero."""


class RoundEven(_FloatUnary, name="math.roundeven"):
    """Rounded to nearest, halves to even."""


class Trunc(_FloatUnary, name="math.trunc"):
    """Rounded to zero."""


class Atan2(_FloatBinary, name="math.atan2"):
    """Angle of the point (rhs, lhs), in [-pi, pi]."""


class PowF(_FloatBinary, name="math.powf"):
    """lhs to the power rhs."""


class CopySign(_FloatBinary, name="math.copysign"):
    """lhs with the sign of rhs."""


class AbsI(_IntUnary, name="math.absi"):
    """Absolute value; that of MIN is MIN."""


class CountLeadingZeros(_IntUnary, name="math.ctlz"):
    """Number of leading zero bits; the width for 0."""


class CountTrailingZeros(_IntUnary, name="math.cttz"):
    """Number of trailing zero bits; the width for 0."""


class CtPop(_IntUnary, name="math.ctpop"):
    """Number of set bits."""


class IsNaN(_Classify, name="math.isnan"):
    """Whether x is NaN."""


class IsInf(_Classify, name="math.isinf"):
    """Whether x is an infinity."""


class IsFinite(_Classify, name="math.isfinite"):
    """Whether x is neither NaN nor an infinity."""


class IsNormal(_Classify, name="math.isnormal"):
    """Whether x is neither 0, denormal, infinite nor NaN."""


class FPowI(FoldableOp, name="math.fpowi", traits=(PURE, ELEMENTWISE)):
    """Float to an integer power."""

    lhs = operand(FLOAT_LIKE)
    rhs = operand(INTEGER_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = "$lhs `,` $rhs (`fastmath` `` $fastmath^)? attr-dict `:` type($lhs) `,` type($rhs)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((lhs, rhs), (lhs.type,), fastmath_attributes(fastmath))

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = types["lhs"]


class IPowI(FoldableOp, name="math.ipowi", traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    """Signed integer power modulo 2^n; a negative exponent gives 0 unless the base is 1 or -1."""

    lhs = operand(INTEGER_LIKE)
    rhs = operand(INTEGER_LIKE)
    result = result(INTEGER_LIKE)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (lhs.type,))


class Fma(FoldableOp, name="math.fma", traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    """a * b + c rounded once."""

    a = operand(FLOAT_LIKE)
    b = operand(FLOAT_LIKE)
    c = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = "$a `,` $b `,` $c (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, a: Value, b: Value, c: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((a, b, c), (a.type,), fastmath_attributes(fastmath))


class ClampF(FoldableOp, name="math.clampf", traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    """The value bounded by ``min`` and ``max``; NaN when any operand is NaN."""

    value = operand(FLOAT_LIKE)
    min = operand(FLOAT_LIKE)
    max = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = (
        "$value `to` ` ` `[` $min `,` $max `]` (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"
    )

    @classmethod
    def make(cls, value: Value, min: Value, max: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((value, min, max), (value.type,), fastmath_attributes(fastmath))


class SinCos(FoldableOp, name="math.sincos", traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    """Sine and cosine of one angle."""

    operand = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    sin = result(FLOAT_LIKE)
    cos = result(FLOAT_LIKE)
    assembly_format = "$operand (`fastmath` `` $fastmath^)? attr-dict `:` type($operand)"

    @classmethod
    def make(cls, operand: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((operand,), (operand.type, operand.type), fastmath_attributes(fastmath))


DIALECT = Dialect(
    "math",
    ops=[
        AbsF, Exp, Exp2, ExpM1, Log, Log1p, Log2, Log10, Sqrt, Rsqrt, Cbrt, Sin, Cos, Tan, Asin,
        Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh, Erf, Erfc, Floor, Ceil, Round,
        RoundEven, Trunc, Atan2, PowF, CopySign, AbsI, CountLeadingZeros, CountTrailingZeros,
        CtPop, IsNaN, IsInf, IsFinite, IsNormal, FPowI, IPowI, Fma, ClampF, SinCos,
    ],
    materialize_constant=materialize_constant,
)  # fmt: skip
