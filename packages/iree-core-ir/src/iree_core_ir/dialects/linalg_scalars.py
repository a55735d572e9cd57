"""Scalar arithmetic chosen by type: what the bodies of named ``linalg`` ops are built from.

Follows MLIR's region builders: on i1 a sum is ``or`` and a product ``and``; casts promote or truncate to the
accumulator's type, from signed integers unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.dialects import arith, math
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, f32, i64

Scalar = Callable[..., Value]
"""``(builder, *values) -> value``."""


def constant(builder: Builder, value: Any, type: Type) -> Value:
    return builder.insert(arith.Constant.of(value, type)).result


def cast(builder: Builder, value: Value, type: Any, unsigned: bool = False) -> Value:
    """``value`` converted to the number type ``type``; itself when it has it."""
    source = value.type
    if source is type:
        return value
    op: Any
    if isinstance(source, IndexType) or isinstance(type, IndexType):
        if isinstance(source, FloatType) or isinstance(type, FloatType):
            return cast(builder, cast(builder, value, i64, unsigned), type, unsigned)
        op = arith.IndexCastUI if unsigned else arith.IndexCast
    elif isinstance(source, FloatType) and isinstance(type, FloatType):
        if source.width == type.width:
            return cast(builder, cast(builder, value, f32), type)
        op = arith.ExtF if source.width < type.width else arith.TruncF
    elif isinstance(source, FloatType):
        op = arith.FPToUI if unsigned else arith.FPToSI
    elif isinstance(type, FloatType):
        # i1 is unsigned, as in MLIR: true is 1.
        op = arith.UIToFP if unsigned or source.width == 1 else arith.SIToFP
    elif source.width < type.width:
        op = arith.ExtUI if unsigned or source.width == 1 else arith.ExtSI
    elif source.width > type.width:
        op = arith.TruncI
    else:
        return value
    made: Op = builder.insert(op((value,), (type,)))
    return made.results[0]


def _binary(on_float: type[Op] | None, on_int: type[Op] | None, on_bool: type[Op] | None = None) -> Scalar:
    """A function of two values of one type."""

    def build(builder: Builder, a: Value, b: Value) -> Value:
        type = a.type
        if isinstance(type, FloatType):
            op = on_float
        elif on_bool is not None and isinstance(type, IntegerType) and type.width == 1:
            op = on_bool
        else:
            op = on_int
        if op is None:
            raise ValueError(f"the operation is not defined on {type}")
        return builder.insert(op((a, b), (type,))).results[0]

    return build


add = _binary(arith.AddF, arith.AddI, arith.OrI)
sub = _binary(arith.SubF, arith.SubI)
mul = _binary(arith.MulF, arith.MulI, arith.AndI)
div = _binary(arith.DivF, arith.DivSI)
div_unsigned = _binary(None, arith.DivUI)
max_signed = _binary(arith.MaximumF, arith.MaxSI)
max_unsigned = _binary(arith.MaximumF, arith.MaxUI)
min_signed = _binary(arith.MinimumF, arith.MinSI)
min_unsigned = _binary(arith.MinimumF, arith.MinUI)
powf = _binary(math.PowF, None)


def _unary(on_float: type[Op]) -> Scalar:
    def build(builder: Builder, a: Value) -> Value:
        if not isinstance(a.type, FloatType):
            raise ValueError(f"the operation is not defined on {a.type}")
        return builder.insert(on_float((a,), (a.type,))).results[0]

    return build


exp = _unary(math.Exp)
log = _unary(math.Log)
absf = _unary(math.AbsF)
ceil = _unary(math.Ceil)
floor = _unary(math.Floor)
negf = _unary(arith.NegF)
round = _unary(math.Round)
sqrt = _unary(math.Sqrt)
rsqrt = _unary(math.Rsqrt)
tanh = _unary(math.Tanh)
erf = _unary(math.Erf)


def square(builder: Builder, a: Value) -> Value:
    return mul(builder, a, a)


def reciprocal(builder: Builder, a: Value) -> Value:
    return div(builder, constant(builder, 1.0, a.type), a)


def select(builder: Builder, condition: Value, a: Value, b: Value) -> Value:
    return builder.create(arith.Select, condition, a, b).result
