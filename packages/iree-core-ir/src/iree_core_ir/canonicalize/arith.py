"""Canonical forms of ``arith``: constants on the right and together, comparisons direct, casts single."""

from __future__ import annotations

import math
from typing import Any

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.arith_attributes import CMPI_PREDICATES, constant_attribute
from iree_core_ir.dialects.folds import is_all_ones, is_float, is_one, is_zero, number
from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.known_values import known_attribute as known
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import COMMUTATIVE
from iree_core_ir.ir.types import FloatType, IndexType, ShapedType, element_of, i1
from iree_core_ir.rewriter import Rewriter, pattern

SWAPPED = {
    "eq": "eq", "ne": "ne", "slt": "sgt", "sle": "sge", "sgt": "slt", "sge": "sle",
    "ult": "ugt", "ule": "uge", "ugt": "ult", "uge": "ule",
}  # fmt: skip
"""Predicate p' with ``a p b`` = ``b p' a``."""
INVERTED = {
    "eq": "ne", "ne": "eq", "slt": "sge", "sle": "sgt", "sgt": "sle", "sge": "slt",
    "ult": "uge", "ule": "ugt", "ugt": "ule", "uge": "ult",
}  # fmt: skip
"""Predicate p' with ``a p b`` = not ``a p' b``."""

assert set(SWAPPED) == set(INVERTED) == set(CMPI_PREDICATES)


def _defining(value: Value, *classes: type[Op]) -> Any:
    op = value.defining_op
    return op if isinstance(op, classes) else None


def _static(type: Any) -> bool:
    return not isinstance(type, ShapedType) or type.is_static


_COMMUTATIVE = tuple(cls for cls in arith.DIALECT.ops.values() if COMMUTATIVE in cls.traits)


@pattern(*_COMMUTATIVE, benefit=2)
def constant_to_the_right(op: Op, rewriter: Rewriter) -> bool:
    """``c op x`` becomes ``x op c``."""
    lhs, rhs = op.operands
    if known(lhs) is None or known(rhs) is not None:
        return False
    rewriter.set_operands(op, (rhs, lhs))
    return True


@pattern(arith.CmpI, benefit=2)
def comparison_constant_to_the_right(op: arith.CmpI, rewriter: Rewriter) -> bool:
    if known(op.lhs) is None or known(op.rhs) is not None:
        return False
    rewriter.replace_with(op, arith.CmpI, SWAPPED[op.predicate_name], op.rhs, op.lhs)
    return True


# -- integer constants together ------------------------------------------------------------------


def _linear(op: Any) -> tuple[Value, int, int] | None:
    """``op`` as sign * value + constant, for a sum or difference with one constant operand."""
    if not isinstance(op, (arith.AddI, arith.SubI)):
        return None
    right = number(known(op.rhs))
    sign = 1 if isinstance(op, arith.AddI) else -1
    if isinstance(right, int):
        return op.lhs, 1, sign * right
    left = number(known(op.lhs))
    return (op.rhs, sign, left) if isinstance(left, int) else None


@pattern(arith.AddI, arith.SubI)
def sums_of_constants(op: Any, rewriter: Rewriter) -> bool:
    """``(x + a) + b`` becomes ``x + (a + b)``, with either sign; overflow flags do not survive it."""
    outer = _linear(op)
    inner = _linear(outer[0].defining_op) if outer is not None else None
    type = op.result.type
    if outer is None or inner is None or not _static(type):
        return False
    value, sign = inner[0], outer[1] * inner[1]
    offset = rewriter.create(arith.Constant, constant_attribute(outer[1] * inner[2] + outer[2], type)).result
    if sign == 1:
        rewriter.replace_with(op, arith.AddI, value, offset)
    else:
        rewriter.replace_with(op, arith.SubI, offset, value)
    return True


@pattern(arith.SubI)
def difference_to_sum(op: arith.SubI, rewriter: Rewriter) -> bool:
    """``x - c`` becomes ``x + -c``: sums have one form."""
    value = number(known(op.rhs))
    type = op.result.type
    if not isinstance(value, int) or not _static(type):
        return False
    offset = rewriter.create(arith.Constant, constant_attribute(-value, type)).result
    rewriter.replace_with(op, arith.AddI, op.lhs, offset)
    return True


@pattern(arith.MulI, arith.AndI, arith.OrI, arith.XOrI, arith.MaxSI, arith.MaxUI, arith.MinSI, arith.MinUI)
def associative_constants(op: Any, rewriter: Rewriter) -> bool:
    """``(x op a) op b`` becomes ``x op (a op b)``."""
    inner = op.lhs.defining_op
    if inner is None or inner.__class__ is not op.__class__:
        return False
    if number(known(op.rhs)) is None or number(known(inner.rhs)) is None:
        return False
    cls: Any = op.__class__
    both = rewriter.create(cls, inner.rhs, op.rhs).result
    rewriter.replace_with(op, cls, inner.lhs, both)
    return True


# -- comparisons and conditions ----------------------------------------------------------------------


@pattern(arith.XOrI)
def inverted_comparison(op: arith.XOrI, rewriter: Rewriter) -> bool:
    """not (a < b) becomes a >= b."""
    compare = _defining(op.lhs, arith.CmpI)
    if compare is None or not is_all_ones(known(op.rhs), op.result.type):
        return False
    rewriter.replace_with(op, arith.CmpI, INVERTED[compare.predicate_name], compare.lhs, compare.rhs)
    return True


@pattern(arith.CmpI)
def comparison_of_condition(op: arith.CmpI, rewriter: Rewriter) -> bool:
    """``c == true`` and ``c != false`` are ``c``; the opposites are its complement."""
    if element_of(op.lhs.type) is not i1 or op.predicate_name not in ("eq", "ne"):
        return False
    value = number(known(op.rhs))
    if not isinstance(value, int):
        return False
    if bool(value & 1) == (op.predicate_name == "eq"):
        rewriter.replace(op, op.lhs)
    elif _static(op.lhs.type):
        ones = rewriter.create(arith.Constant, constant_attribute(1, op.lhs.type)).result
        rewriter.replace_with(op, arith.XOrI, op.lhs, ones)
    else:
        return False
    return True


@pattern(arith.CmpI)
def comparison_of_extension(op: arith.CmpI, rewriter: Rewriter) -> bool:
    """Compare before widening: both sides extended alike from one type."""
    signed = op.predicate_name[0] == "s"
    classes: tuple[type[Op], ...] = (arith.ExtUI,) if not signed else (arith.ExtSI,)
    if op.predicate_name in ("eq", "ne"):
        classes = (arith.ExtSI, arith.ExtUI)
    a, b = _defining(op.lhs, *classes), _defining(op.rhs, *classes)
    if a is None or b is None or a.__class__ is not b.__class__ or a.input.type is not b.input.type:
        return False
    rewriter.replace_with(op, arith.CmpI, op.predicate_name, a.input, b.input)
    return True


@pattern(arith.CmpI)
def comparison_of_extended_condition(op: arith.CmpI, rewriter: Rewriter) -> bool:
    """``ext(c) != 0`` is ``c``; ``ext(c) == 0`` its complement."""
    cast = _defining(op.lhs, arith.ExtSI, arith.ExtUI)
    if cast is None or element_of(cast.input.type) is not i1 or not is_zero(known(op.rhs)):
        return False
    if op.predicate_name == "ne":
        rewriter.replace(op, cast.input)
        return True
    if op.predicate_name != "eq" or not _static(cast.input.type):
        return False
    ones = rewriter.create(arith.Constant, constant_attribute(1, cast.input.type)).result
    rewriter.replace_with(op, arith.XOrI, cast.input, ones)
    return True


@pattern(arith.Select)
def select_of_complement(op: arith.Select, rewriter: Rewriter) -> bool:
    """``select(not c, a, b)`` becomes ``select(c, b, a)``."""
    flip = _defining(op.condition, arith.XOrI)
    if flip is None or not is_all_ones(known(flip.rhs), flip.result.type):
        return False
    rewriter.replace_with(op, arith.Select, flip.lhs, op.false_value, op.true_value)
    return True


@pattern(arith.Select)
def select_of_conditions(op: arith.Select, rewriter: Rewriter) -> bool:
    """``select(c, false, true)`` is not c."""
    condition = op.condition
    if condition.type is not op.result.type or not _static(condition.type):
        return False
    if not (is_zero(known(op.true_value)) and is_one(known(op.false_value), i1)):
        return False
    rewriter.replace_with(op, arith.XOrI, condition, op.false_value)
    return True


@pattern(arith.Select)
def select_of_select(op: arith.Select, rewriter: Rewriter) -> bool:
    """A select on the same condition inside a branch is decided already."""
    inner = _defining(op.true_value, arith.Select)
    if inner is not None and inner.condition is op.condition:
        rewriter.replace_with(op, arith.Select, op.condition, inner.true_value, op.false_value)
        return True
    inner = _defining(op.false_value, arith.Select)
    if inner is not None and inner.condition is op.condition:
        rewriter.replace_with(op, arith.Select, op.condition, op.true_value, inner.false_value)
        return True
    return False


# -- casts ---------------------------------------------------------------------------------------------


def _width(value: Value) -> int:
    element: Any = element_of(value.type)
    return 64 if isinstance(element, IndexType) else int(element.width)


@pattern(arith.ExtSI, arith.ExtUI)
def extension_of_extension(op: Any, rewriter: Rewriter) -> bool:
    """One extension; zero extension makes the value non-negative, so that of it is a zero extension too."""
    inner = _defining(op.input, arith.ExtSI, arith.ExtUI)
    if inner is None or (isinstance(op, arith.ExtUI) and isinstance(inner, arith.ExtSI)):
        return False
    rewriter.replace_with(op, inner.__class__, inner.input, op.out.type)
    return True


@pattern(arith.TruncI)
def truncation_of_cast(op: arith.TruncI, rewriter: Rewriter) -> bool:
    """Of a truncation: one truncation. Of an extension: a smaller extension or a truncation."""
    inner = _defining(op.input, arith.TruncI, arith.ExtSI, arith.ExtUI)
    if inner is None:
        return False
    source, target = _width(inner.input), _width(op.out)
    if source == target:
        return False  # folds
    shorter = isinstance(inner, arith.TruncI) or source > target
    rewriter.replace_with(op, arith.TruncI if shorter else inner.__class__, inner.input, op.out.type)
    return True


@pattern(arith.IndexCast, arith.IndexCastUI)
def index_cast_of_extension(op: Any, rewriter: Rewriter) -> bool:
    """To index: extend at once."""
    same = arith.ExtSI if isinstance(op, arith.IndexCast) else arith.ExtUI
    inner = _defining(op.input, same)
    if inner is None or not isinstance(element_of(op.out.type), IndexType):
        return False
    rewriter.replace_with(op, op.__class__, inner.input, op.out.type)
    return True


@pattern(arith.SIToFP, arith.UIToFP)
def conversion_of_extension(op: Any, rewriter: Rewriter) -> bool:
    """The extended integer has the same value: convert the narrow one."""
    inner = _defining(op.input, arith.ExtSI, arith.ExtUI)
    if inner is None or (isinstance(op, arith.UIToFP) and isinstance(inner, arith.ExtSI)):
        return False
    if _width(inner.input) == _width(op.input):
        return False
    cls = arith.SIToFP if isinstance(inner, arith.ExtSI) else arith.UIToFP
    rewriter.replace_with(op, cls, inner.input, op.out.type)
    return True


@pattern(arith.ExtF)
def float_extension_of_extension(op: arith.ExtF, rewriter: Rewriter) -> bool:
    inner = _defining(op.input, arith.ExtF)
    if inner is None:
        return False
    rewriter.replace_with(op, arith.ExtF, inner.input, op.out.type)
    return True


# -- floats: exact for every IEEE value -------------------------------------------------------------------


@pattern(arith.AddF, arith.SubF)
def sum_of_negation(op: Any, rewriter: Rewriter) -> bool:
    """``x + -y`` becomes ``x - y``, ``x - -y`` becomes ``x + y``."""
    other: Any = arith.SubF if isinstance(op, arith.AddF) else arith.AddF
    inner = _defining(op.rhs, arith.NegF)
    if inner is not None:
        rewriter.replace_with(op, other, op.lhs, inner.operand, op.fastmath)
        return True
    inner = _defining(op.lhs, arith.NegF)
    if inner is not None and isinstance(op, arith.AddF):
        rewriter.replace_with(op, arith.SubF, op.rhs, inner.operand, op.fastmath)
        return True
    return False


@pattern(arith.SubF)
def negative_zero_minus(op: arith.SubF, rewriter: Rewriter) -> bool:
    """``-0.0 - x`` is ``-x``."""
    if not is_float(known(op.lhs), -0.0):
        return False
    rewriter.replace_with(op, arith.NegF, op.rhs, op.fastmath)
    return True


@pattern(arith.MulF, arith.DivF)
def product_of_negations(op: Any, rewriter: Rewriter) -> bool:
    """``-x * -y`` is ``x * y``."""
    a, b = _defining(op.lhs, arith.NegF), _defining(op.rhs, arith.NegF)
    if a is None or b is None:
        return False
    rewriter.replace_with(op, op.__class__, a.operand, b.operand, op.fastmath)
    return True


@pattern(arith.MulF, arith.DivF)
def times_minus_one(op: Any, rewriter: Rewriter) -> bool:
    """``x * -1`` and ``x / -1`` are ``-x``."""
    if not is_float(known(op.rhs), -1.0):
        return False
    rewriter.replace_with(op, arith.NegF, op.lhs, op.fastmath)
    return True


_SMALLEST_EXPONENT = {"f16": -14, "bf16": -126, "f32": -126, "f64": -1022}


@pattern(arith.DivF)
def division_by_power_of_two(op: arith.DivF, rewriter: Rewriter) -> bool:
    """``x / 2^k`` becomes ``x * 2^-k``, which rounds alike while 2^-k is a normal number."""
    value = number(known(op.rhs))
    element = element_of(op.result.type)
    if not isinstance(value, float) or not isinstance(element, FloatType) or not _static(op.result.type):
        return False
    lowest = _SMALLEST_EXPONENT.get(element.name)
    if lowest is None or not math.isfinite(value) or value == 0.0:
        return False
    mantissa, exponent = math.frexp(value)  # value = mantissa * 2^exponent, |mantissa| in [0.5, 1)
    if abs(mantissa) != 0.5 or not lowest <= 1 - exponent <= -lowest:
        return False
    inverse: Attribute = constant_attribute(1.0 / value, op.result.type)
    factor = rewriter.create(arith.Constant, inverse).result
    rewriter.replace_with(op, arith.MulF, op.lhs, factor, op.fastmath)
    return True


PATTERNS = [
    constant_to_the_right,
    comparison_constant_to_the_right,
    sums_of_constants,
    difference_to_sum,
    associative_constants,
    inverted_comparison,
    comparison_of_condition,
    comparison_of_extension,
    comparison_of_extended_condition,
    select_of_complement,
    select_of_conditions,
    select_of_select,
    extension_of_extension,
    truncation_of_cast,
    index_cast_of_extension,
    conversion_of_extension,
    float_extension_of_extension,
    sum_of_negation,
    negative_zero_minus,
    product_of_negations,
    times_minus_one,
    division_by_power_of_two,
]
