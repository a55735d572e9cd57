"""Identities of ``arith`` ops, and of the ``index`` ops that mean the same.

Float rules hold for every IEEE value: -0.0, infinities and NaN included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from iree_core_ir.dialects.folds import (
    Constants,
    Folded,
    constant,
    is_all_ones,
    is_float,
    is_one,
    is_zero,
    number,
    rule,
)
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.known_values import known_attribute
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IndexType, element_of, i1


def _defined_by(value: Value, name: str) -> Any:
    """The op called ``name`` that defines ``value``, or None."""
    op = value.defining_op
    return op if op is not None and op.name == name else None


def _width(type: Type) -> int:
    element: Any = element_of(type)
    return 64 if isinstance(element, IndexType) else int(element.width)


# -- integers ------------------------------------------------------------------------------------


_INVERSE = {
    "arith.addi": "arith.subi",
    "arith.subi": "arith.addi",
    "index.add": "index.sub",
    "index.sub": "index.add",
}


@rule("arith.addi", "index.add")
def _addi(op: Any, constants: Constants) -> Folded:
    a, b = op.lhs, op.rhs
    if is_zero(constants[1]):
        return [a]
    if is_zero(constants[0]):
        return [b]
    for left, right in ((a, b), (b, a)):  # (x - right) + right
        sub = _defined_by(left, _INVERSE[op.name])
        if sub is not None and sub.rhs is right:
            return [sub.lhs]
    return None


@rule("arith.subi", "index.sub")
def _subi(op: Any, constants: Constants) -> Folded:
    a, b = op.lhs, op.rhs
    if a is b:
        return constant(0, op.result.type)
    if is_zero(constants[1]):
        return [a]
    add = _defined_by(a, _INVERSE[op.name])
    if add is not None:  # (x + b) - b, (b + x) - b
        if add.rhs is b:
            return [add.lhs]
        if add.lhs is b:
            return [add.rhs]
    return None


@rule("arith.muli", "index.mul")
def _muli(op: Any, constants: Constants) -> Folded:
    type = op.result.type
    for value, known in ((op.rhs, constants[0]), (op.lhs, constants[1])):
        if is_zero(known):
            return constant(0, type)
        if is_one(known, type):
            return [value]
    return None


@rule("arith.divsi", "arith.divui", "arith.ceildivsi", "arith.ceildivui", "arith.floordivsi")
@rule("index.divs", "index.divu", "index.ceildivs", "index.ceildivu", "index.floordivs")
def _division(op: Any, constants: Constants) -> Folded:
    """x / 1 and 0 / x; x / 0 is defined as 0. (x / x is not 1 for x = 0.)"""
    type = op.result.type
    if is_zero(constants[0]) or is_zero(constants[1]):
        return constant(0, type)
    # In i1 the bit pattern 1 reads as -1 when signed: x / -1 is -x, which is x again.
    return [op.lhs] if is_one(constants[1], type) else None


@rule("arith.remsi", "arith.remui", "index.rems", "index.remu")
def _remainder(op: Any, constants: Constants) -> Folded:
    """By 1, of 0, by itself, and by 0 as defined here: always 0."""
    type = op.result.type
    if op.lhs is op.rhs or is_zero(constants[0]) or is_zero(constants[1]) or is_one(constants[1], type):
        return constant(0, type)
    if op.name in ("arith.remsi", "index.rems") and is_all_ones(constants[1], type):
        return constant(0, type)
    return None


@rule("arith.andi", "index.and")
def _andi(op: Any, constants: Constants) -> Folded:
    a, b, type = op.lhs, op.rhs, op.result.type
    if a is b:
        return [a]
    for value, known in ((b, constants[0]), (a, constants[1])):
        if is_zero(known):
            return constant(0, type)
        if is_all_ones(known, type):
            return [value]
    return constant(0, type) if _complements(a, b) else None


@rule("arith.ori", "index.or")
def _ori(op: Any, constants: Constants) -> Folded:
    a, b, type = op.lhs, op.rhs, op.result.type
    if a is b:
        return [a]
    for value, known in ((b, constants[0]), (a, constants[1])):
        if is_zero(known):
            return [value]
        if is_all_ones(known, type):
            return constant(-1, type)
    return constant(-1, type) if _complements(a, b) else None


def _complements(a: Value, b: Value) -> bool:
    """One is the other with all bits flipped."""
    for left, right in ((a, b), (b, a)):
        flip = left.defining_op
        if flip is None or flip.name not in ("arith.xori", "index.xor"):
            continue
        for inner, mask in (flip.operands, flip.operands[::-1]):
            if inner is right and is_all_ones(known_attribute(mask), inner.type):
                return True
    return False


@rule("arith.xori", "index.xor")
def _xori(op: Any, constants: Constants) -> Folded:
    a, b = op.lhs, op.rhs
    if a is b:
        return constant(0, op.result.type)
    if is_zero(constants[1]):
        return [a]
    if is_zero(constants[0]):
        return [b]
    for left, right in ((a, b), (b, a)):  # (x ^ right) ^ right
        inner = _defined_by(left, op.name)
        if inner is not None:
            if inner.rhs is right:
                return [inner.lhs]
            if inner.lhs is right:
                return [inner.rhs]
    return None


@rule("arith.shli", "arith.shrui", "arith.shrsi", "index.shl", "index.shru", "index.shrs")
def _shift(op: Any, constants: Constants) -> Folded:
    """By 0, of 0; by the width or more gives 0 for the logical shifts."""
    type = op.result.type
    if is_zero(constants[1]):
        return [op.lhs]
    if is_zero(constants[0]):
        return constant(0, type)
    amount, width = number(constants[1]), _width(type)
    if (
        isinstance(amount, int)
        and amount % (1 << width) >= width
        and op.name not in ("arith.shrsi", "index.shrs")
    ):
        return constant(0, type)
    return None


def _extremes(name: str, type: Type) -> tuple[int, int]:
    """(identity, absorbing) element of an integer minimum or maximum, as bit patterns."""
    width = _width(type)
    if name.endswith(("ui", "u")):
        low, high = 0, (1 << width) - 1
    else:
        low, high = 1 << (width - 1), (1 << (width - 1)) - 1
    return (low, high) if "max" in name else (high, low)


@rule("arith.maxsi", "arith.maxui", "arith.minsi", "arith.minui")
@rule("index.maxs", "index.maxu", "index.mins", "index.minu")
def _integer_extremum(op: Any, constants: Constants) -> Folded:
    a, b, type = op.lhs, op.rhs, op.result.type
    if a is b:
        return [a]
    identity, absorbing = _extremes(op.name, type)
    mask = (1 << _width(type)) - 1
    for value, known in ((b, number(constants[0])), (a, number(constants[1]))):
        if isinstance(known, int):
            if known & mask == identity:
                return [value]
            if known & mask == absorbing:
                return constant(absorbing, type)
    return None


@rule("arith.addui_extended")
def _addui_extended(op: Any, constants: Constants) -> Folded:
    for value, known in ((op.rhs, constants[0]), (op.lhs, constants[1])):
        if is_zero(known):
            no_carry = constant(0, op.overflow.type)
            return None if no_carry is None else [value, *no_carry]
    return None


@rule("arith.mulsi_extended", "arith.mului_extended")
def _mul_extended(op: Any, constants: Constants) -> Folded:
    type = op.low.type
    zero = constant(0, type)
    if zero is None:
        return None
    for value, known in ((op.rhs, constants[0]), (op.lhs, constants[1])):
        if is_zero(known):
            return [*zero, *zero]
        if op.name == "arith.mului_extended" and is_one(known, type):
            return [value, *zero]
    return None


_WHEN_EQUAL = {"eq", "sle", "sge", "ule", "uge"}


@rule("arith.cmpi", "index.cmp")
def _cmpi(op: Any, constants: Constants) -> Folded:
    """Of a value with itself, and with the ends of its range."""
    predicate, type = op.predicate_name, op.result.type
    if op.lhs is op.rhs:
        return constant(int(predicate in _WHEN_EQUAL), type)
    known = number(constants[1])
    if not isinstance(known, int) or predicate in ("eq", "ne"):
        return None
    width = _width(op.lhs.type)
    bits = known % (1 << width)
    if predicate[0] == "u":
        low, high = 0, (1 << width) - 1
    else:
        low, high = 1 << (width - 1), (1 << (width - 1)) - 1
    always = {"ge": bits == low, "le": bits == high}
    never = {"lt": bits == low, "gt": bits == high}
    if always.get(predicate[1:]):
        return constant(1, type)
    return constant(0, type) if never.get(predicate[1:]) else None


# -- floats --------------------------------------------------------------------------------------


@rule("arith.addf")
def _addf(op: Any, constants: Constants) -> Folded:
    """x + -0.0. (x + 0.0 turns -0.0 into 0.0.)"""
    if is_float(constants[1], -0.0):
        return [op.lhs]
    return [op.rhs] if is_float(constants[0], -0.0) else None


@rule("arith.subf")
def _subf(op: Any, constants: Constants) -> Folded:
    """x - 0.0. (x - x is NaN for NaN and infinities.)"""
    return [op.lhs] if is_float(constants[1], 0.0) else None


@rule("arith.mulf")
def _mulf(op: Any, constants: Constants) -> Folded:
    if is_float(constants[1], 1.0):
        return [op.lhs]
    return [op.rhs] if is_float(constants[0], 1.0) else None


@rule("arith.divf")
def _divf(op: Any, constants: Constants) -> Folded:
    return [op.lhs] if is_float(constants[1], 1.0) else None


@rule("arith.negf")
def _negf(op: Any, constants: Constants) -> Folded:
    inner = _defined_by(op.operand, "arith.negf")
    return None if inner is None else [inner.operand]


def _float_extremum(identity: float) -> Callable[[Any, Constants], Folded]:
    def fold(op: Any, constants: Constants) -> Folded:
        a, b = op.lhs, op.rhs
        if a is b:
            return [a]
        for value, known in ((b, constants[0]), (a, constants[1])):
            seen = number(known)
            if isinstance(seen, float) and (math.isnan(seen) if math.isnan(identity) else seen == identity):
                return [value]
        return None

    return fold


rule("arith.maximumf")(_float_extremum(-math.inf))
rule("arith.minimumf")(_float_extremum(math.inf))
# Of a NaN and x these give x; of x = NaN and an infinity they give the infinity, so it is no identity.
rule("arith.maxnumf", "arith.minnumf")(_float_extremum(math.nan))


@rule("arith.cmpf")
def _cmpf(op: Any, constants: Constants) -> Folded:
    predicate, type = op.predicate_name, op.result.type
    if predicate in ("true", "false"):
        return constant(int(predicate == "true"), type)
    for known in constants:
        value = number(known)
        if isinstance(value, float) and math.isnan(value):
            return constant(int(predicate[0] == "u"), type)
    if op.lhs is op.rhs:  # equal unless NaN
        if predicate in ("one", "ogt", "olt"):
            return constant(0, type)
        if predicate in ("ueq", "uge", "ule"):
            return constant(1, type)
    return None


# -- select and casts --------------------------------------------------------------------------------


@rule("arith.select")
def _select(op: Any, constants: Constants) -> Folded:
    condition, a, b = op.condition, op.true_value, op.false_value
    if a is b:
        return [a]
    known = number(constants[0])
    if known is not None:
        return [a if known else b]
    if constants[1] is not None and constants[1] is constants[2]:
        return [a]
    # select c, true, false : the condition itself (of the same shape)
    if condition.type is op.result.type and is_one(constants[1], i1) and is_zero(constants[2]):
        return [condition]
    compare = _defined_by(condition, "arith.cmpi")
    if compare is not None and compare.predicate_name in ("eq", "ne"):
        # a == b ? a : b is b either way
        if {id(compare.lhs), id(compare.rhs)} == {id(a), id(b)}:
            return [b if compare.predicate_name == "eq" else a]
    return None


def _narrows(op: Any) -> Folded:
    """A cast whose input was widened from the result type before: the value before widening."""
    inner = op.input.defining_op
    if inner is None or not inner.operands or inner.operands[0].type is not op.out.type:
        return None
    return [inner.operands[0]]


@rule("arith.trunci")
def _trunci(op: Any, constants: Constants) -> Folded:
    inner = op.input.defining_op
    return _narrows(op) if inner is not None and inner.name in ("arith.extsi", "arith.extui") else None


@rule("arith.truncf")
def _truncf(op: Any, constants: Constants) -> Folded:
    inner = op.input.defining_op
    return _narrows(op) if inner is not None and inner.name == "arith.extf" else None


@rule("arith.index_cast", "arith.index_castui", "index.casts", "index.castu")
def _index_cast(op: Any, constants: Constants) -> Folded:
    """There and back: the identity when the type in between is at least as wide."""
    result = op.results[0].type
    source = op.input
    if source.type is result:
        return [source]
    inner = source.defining_op
    casts = ("arith.index_cast", "arith.index_castui", "index.casts", "index.castu")
    if inner is None or inner.name not in casts or inner.operands[0].type is not result:
        return None
    return [inner.operands[0]] if _width(source.type) >= _width(result) else None


@rule("arith.bitcast")
def _bitcast(op: Any, constants: Constants) -> Folded:
    if op.input.type is op.out.type:
        return [op.input]
    inner = _defined_by(op.input, "arith.bitcast")
    return [inner.input] if inner is not None and inner.input.type is op.out.type else None


@rule("arith.extsi", "arith.extui", "arith.extf")
def _same_type_cast(op: Any, constants: Constants) -> Folded:
    return [op.input] if op.input.type is op.out.type else None
