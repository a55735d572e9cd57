"""``complex``: arithmetic and functions on complex numbers, as in MLIR."""

from __future__ import annotations

from typing import Any, Self

from iree_core_ir.dialects import complex_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.arith_attributes import (
    NO_FASTMATH,
    FastMathAttr,
    constant_attribute,
    fastmath_attributes,
)
from iree_core_ir.dialects.constraints import BOOL_LIKE, COMPLEX_LIKE, FLOAT_LIKE, bool_like, with_element
from iree_core_ir.dialects.folds import FoldableOp
from iree_core_ir.ir.attributes import ArrayAttr, Attribute, Type
from iree_core_ir.ir.declaration import attribute, operand, optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import (
    COMMUTATIVE,
    CONSTANT_LIKE,
    ELEMENTWISE,
    PURE,
    SAME_OPERAND_TYPES,
    SAME_TYPE,
)
from iree_core_ir.ir.types import ComplexType, element_of


def _part_type(type: Type) -> Type:
    """The float type of a complex type's parts, in its shape."""
    element: Any = element_of(type)
    return with_element(type, element.element_type)


class Constant(Op, name="complex.constant", traits=(PURE, CONSTANT_LIKE)):
    """``[real, imaginary]``."""

    value = attribute(ArrayAttr)
    complex = result(ComplexType)
    assembly_format = "$value attr-dict `:` type($complex)"

    @classmethod
    def make(cls, real: float, imaginary: float, type: ComplexType) -> Self:
        part = type.element_type
        parts = ArrayAttr([constant_attribute(real, part), constant_attribute(imaginary, part)])
        return cls((), (type,), {"value": parts})


class Create(FoldableOp, name="complex.create", traits=(PURE, ELEMENTWISE)):
    """From real and imaginary part."""

    real = operand(FLOAT_LIKE)
    imaginary = operand(FLOAT_LIKE)
    complex = result(COMPLEX_LIKE)
    assembly_format = "$real `,` $imaginary attr-dict `:` type($complex)"

    @classmethod
    def make(cls, real: Value, imaginary: Value) -> Self:
        return cls((real, imaginary), (with_element(real.type, ComplexType(element_of(real.type))),))

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["real"] = types["imaginary"] = [_part_type(types["complex"][0])]


class _Part(FoldableOp, traits=(PURE, ELEMENTWISE)):
    complex = operand(COMPLEX_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = "$complex (`fastmath` `` $fastmath^)? attr-dict `:` type($complex)"

    @classmethod
    def make(cls, complex: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((complex,), (_part_type(complex.type),), fastmath_attributes(fastmath))

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = [_part_type(types["complex"][0])]


class Re(_Part, name="complex.re"):
    """Real part."""


class Im(_Part, name="complex.im"):
    """Imaginary part."""


class Abs(_Part, name="complex.abs"):
    """Magnitude."""


class Angle(_Part, name="complex.angle"):
    """Argument, in [-pi, pi]."""


class _Binary(FoldableOp, traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    lhs = operand(COMPLEX_LIKE)
    rhs = operand(COMPLEX_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(COMPLEX_LIKE)
    assembly_format = "$lhs `,` $rhs (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((lhs, rhs), (lhs.type,), fastmath_attributes(fastmath))


class Add(_Binary, name="complex.add", traits=(COMMUTATIVE,)):
    """Sum."""


class Sub(_Binary, name="complex.sub"):
    """Difference."""


class Mul(_Binary, name="complex.mul", traits=(COMMUTATIVE,)):
    """Product."""


class Div(_Binary, name="complex.div"):
    """Quotient."""


class Pow(_Binary, name="complex.pow"):
    """Power."""


class Atan2(_Binary, name="complex.atan2"):
    """-i * log((rhs + i * lhs) / sqrt(lhs^2 + rhs^2))."""


class _Compare(Op, traits=(PURE, COMMUTATIVE, SAME_OPERAND_TYPES, ELEMENTWISE)):
    lhs = operand(COMPLEX_LIKE)
    rhs = operand(COMPLEX_LIKE)
    result = result(BOOL_LIKE)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (bool_like(lhs.type),))

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = [bool_like(types["lhs"][0])]


class Equal(_Compare, name="complex.eq"):
    """Both parts equal."""


class NotEqual(_Compare, name="complex.neq"):
    """Some part differs."""


class _Unary(FoldableOp, traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    complex = operand(COMPLEX_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(COMPLEX_LIKE)
    assembly_format = "$complex (`fastmath` `` $fastmath^)? attr-dict `:` type($complex)"

    @classmethod
    def make(cls, complex: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((complex,), (complex.type,), fastmath_attributes(fastmath))


class Neg(_Unary, name="complex.neg"):
    """Negation of both parts."""


class Conj(_Unary, name="complex.conj"):
    """Conjugate."""


class Exp(_Unary, name="complex.exp"):
    """Exponential."""


class ExpM1(_Unary, name="complex.expm1"):
    """exp(z) - 1, accurate near 0."""


class Log(_Unary, name="complex.log"):
    """Natural logarithm, principal branch."""


class Log1p(_Unary, name="complex.log1p"):
    """log(1 + z), accurate near 0."""


class Sqrt(_Unary, name="complex.sqrt"):
    """Square root, principal branch."""


class Rsqrt(_Unary, name="complex.rsqrt"):
    """1 / sqrt(z)."""


class Sign(_Unary, name="complex.sign"):
    """z / |z|; 0 for 0."""


class Sin(_Unary, name="complex.sin"):
    """Sine."""


class Cos(_Unary, name="complex.cos"):
    """Cosine."""


class Tan(_Unary, name="complex.tan"):
    """Tangent."""


class Tanh(_Unary, name="complex.tanh"):
    """Hyperbolic tangent."""


class Bitcast(FoldableOp, name="complex.bitcast", traits=(PURE,)):
    """The same bits between a complex number and an integer or float of its width."""

    operand = operand()
    result = result()
    assembly_format = "$operand attr-dict `:` type($operand) `to` type($result)"

    @classmethod
    def make(cls, operand: Value, type: Type) -> Self:
        return cls((operand,), (type,))


def materialize_constant(value: Attribute, type: Type) -> Op:
    """``complex.constant`` for a pair of parts, arith's constant for the rest."""
    from iree_core_ir.dialects import arith

    if isinstance(value, ArrayAttr):
        return Constant((), (type,), {"value": value})
    return arith.materialize_constant(value, type)


DIALECT = Dialect(
    "complex",
    ops=[
        Abs, Add, Angle, Atan2, Bitcast, Conj, Constant, Cos, Create, Div, Equal, Exp, ExpM1, Im, Log, Log1p,
        Mul, Neg, NotEqual, Pow, Re, Rsqrt, Sign, Sin, Sqrt, Sub, Tan, Tanh,
    ],
    materialize_constant=materialize_constant,
)  # fmt: skip
