"""Numpy meanings of ``arith``."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import arith
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters import floats, indices, integers
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.interpreters.values import finish, finish_integer
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import IndexType, IntegerType, element_of


@implements(arith.Constant)
def constant(frame: Frame, op: arith.Constant) -> Any:
    return frame.constant(op.value)


def integer_binary(cls: type[Op], name: str) -> None:
    """Register the kernel ``name`` of ``integers`` (and ``indices``, for scalars of type index)."""
    kernel = integers.BINARY[name]
    on_ints = indices.BINARY[name]

    def meaning(frame: Frame, op: Op, a: Any, b: Any) -> Any:
        if a.__class__ is int and b.__class__ is int:
            return on_ints(a, b)
        f = integer_format(element_of(op.results[0].type))
        return finish_integer(f, kernel(f, a, b), a, b)

    implements(cls)(meaning)


for _cls, _name in (
    (arith.AddI, "add"),
    (arith.SubI, "sub"),
    (arith.MulI, "mul"),
    (arith.DivSI, "divs"),
    (arith.DivUI, "divu"),
    (arith.CeilDivSI, "ceildivs"),
    (arith.CeilDivUI, "ceildivu"),
    (arith.FloorDivSI, "floordivs"),
    (arith.RemSI, "rems"),
    (arith.RemUI, "remu"),
    (arith.AndI, "and"),
    (arith.OrI, "or"),
    (arith.XOrI, "xor"),
    (arith.ShLI, "shl"),
    (arith.ShRSI, "shrs"),
    (arith.ShRUI, "shru"),
    (arith.MaxSI, "maxs"),
    (arith.MaxUI, "maxu"),
    (arith.MinSI, "mins"),
    (arith.MinUI, "minu"),
):
    integer_binary(_cls, _name)


@implements(arith.AddUIExtended)
def addui_extended(frame: Frame, op: Op, a: Any, b: Any) -> Any:
    f = integer_format(element_of(op.operands[0].type))
    total = finish_integer(f, integers.BINARY["add"](f, a, b), a, b)
    return total, finish(integers.carry(f, a, b), a, b)


@implements(arith.MulSIExtended, arith.MulUIExtended)
def mul_extended(frame: Frame, op: Op, a: Any, b: Any) -> Any:
    f = integer_format(element_of(op.operands[0].type))
    signed = isinstance(op, arith.MulSIExtended)
    high = integers.multiply_high_signed if signed else integers.multiply_high_unsigned
    low = finish_integer(f, integers.BINARY["mul"](f, a, b), a, b)
    return low, finish_integer(f, high(f, a, b), a, b)


def _float_binary(cls: type[Op], name: str) -> None:
    kernel = floats.BINARY[name]

    def meaning(frame: Frame, op: Op, a: Any, b: Any) -> Any:
        f = float_format(element_of(op.results[0].type))
        return finish(f.narrow(kernel(f.widen(a), f.widen(b))), a, b)

    implements(cls)(meaning)


for _float_class, _name in (
    (arith.AddF, "add"),
    (arith.SubF, "sub"),
    (arith.MulF, "mul"),
    (arith.DivF, "div"),
    (arith.RemF, "rem"),
    (arith.MaximumF, "maximum"),
    (arith.MinimumF, "minimum"),
    (arith.MaxNumF, "maxnum"),
    (arith.MinNumF, "minnum"),
):
    _float_binary(_float_class, _name)


@implements(arith.NegF)
def negf(frame: Frame, op: Op, a: Any) -> Any:
    f = float_format(element_of(op.results[0].type))
    return finish(f.narrow(np.negative(f.widen(a))), a)


@implements(arith.CmpI)
def cmpi(frame: Frame, op: arith.CmpI, a: Any, b: Any) -> Any:
    predicate = op.predicate_name
    if a.__class__ is int and b.__class__ is int:
        return np.bool_(indices.COMPARE[predicate](a, b))
    f = integer_format(element_of(op.operands[0].type))
    return finish(integers.COMPARE[predicate](f, a, b), a, b)


@implements(arith.CmpF)
def cmpf(frame: Frame, op: arith.CmpF, a: Any, b: Any) -> Any:
    f = float_format(element_of(op.operands[0].type))
    return finish(floats.compare(op.predicate_name, f.widen(a), f.widen(b)), a, b)


@implements(arith.Select)
def select(frame: Frame, op: Op, condition: Any, a: Any, b: Any) -> Any:
    if isinstance(condition, np.ndarray):
        return np.where(condition, a, b)
    return a if condition else b


@implements(arith.ExtF, arith.TruncF)
def float_cast(frame: Frame, op: Op, a: Any) -> Any:
    source = float_format(element_of(op.operands[0].type))
    f = float_format(element_of(op.results[0].type))
    return finish(f.narrow(source.widen(a)), a)


@implements(arith.ExtSI, arith.IndexCast)
def signed_cast(frame: Frame, op: Op, a: Any) -> Any:
    source = integer_format(element_of(op.operands[0].type))
    f = integer_format(element_of(op.results[0].type))
    return finish_integer(f, source.as_signed(a).astype(np.int64).astype(f.unsigned), a)


@implements(arith.ExtUI, arith.IndexCastUI, arith.TruncI)
def unsigned_cast(frame: Frame, op: Op, a: Any) -> Any:
    source = integer_format(element_of(op.operands[0].type))
    f = integer_format(element_of(op.results[0].type))
    return finish_integer(f, source.as_unsigned(a).astype(f.unsigned), a)


@implements(arith.SIToFP, arith.UIToFP)
def integer_to_float(frame: Frame, op: Op, a: Any) -> Any:
    source = integer_format(element_of(op.operands[0].type))
    f = float_format(element_of(op.results[0].type))
    if isinstance(op, arith.SIToFP):
        wide = source.as_signed(a).astype(np.int64)
    else:
        wide = source.as_unsigned(a).astype(np.uint64)
    return finish(floats.from_integer(f, wide), a)


@implements(arith.FPToSI, arith.FPToUI)
def float_to_integer(frame: Frame, op: Op, a: Any) -> Any:
    source = float_format(element_of(op.operands[0].type))
    f = integer_format(element_of(op.results[0].type))
    wide = floats.to_integer(source.widest(a), f.width, isinstance(op, arith.FPToSI))
    return finish_integer(f, wide.astype(f.unsigned), a)


@implements(arith.Bitcast)
def bitcast(frame: Frame, op: Op, a: Any) -> Any:
    source, target = (
        integer_format(t).dtype if isinstance(t, (IntegerType, IndexType)) else float_format(t).dtype
        for t in (element_of(op.operands[0].type), element_of(op.results[0].type))
    )
    return finish(np.asarray(a, source).view(target), a)
