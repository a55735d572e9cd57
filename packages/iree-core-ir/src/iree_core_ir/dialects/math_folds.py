"""Identities of ``math`` ops, true for every IEEE value."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects.folds import Constants, Folded, constant, is_float, is_one, is_zero, rule

_INTEGRAL = ("math.floor", "math.ceil", "math.round", "math.roundeven", "math.trunc")


@rule(*_INTEGRAL)
def _rounding(op: Any, constants: Constants) -> Folded:
    """Of what is integral already."""
    inner = op.operand.defining_op
    if inner is None:
        return None
    if inner.name in _INTEGRAL:
        return [op.operand]
    # sitofp of a wide integer may round, but to an integral value.
    return [op.operand] if inner.name in ("arith.sitofp", "arith.uitofp") else None


@rule("math.absf", "math.absi")
def _absolute(op: Any, constants: Constants) -> Folded:
    inner = op.operand.defining_op
    return [op.operand] if inner is not None and inner.name == op.name else None


@rule("math.copysign")
def _copysign(op: Any, constants: Constants) -> Folded:
    return [op.lhs] if op.lhs is op.rhs else None


@rule("math.powf")
def _powf(op: Any, constants: Constants) -> Folded:
    """x^1 = x; x^0 = 1 and 1^x = 1, also for NaN (IEEE 754 pow)."""
    if is_float(constants[1], 1.0):
        return [op.lhs]
    if is_float(constants[1], 0.0) or is_float(constants[1], -0.0) or is_float(constants[0], 1.0):
        return constant(1.0, op.result.type)
    return None


@rule("math.fpowi")
def _fpowi(op: Any, constants: Constants) -> Folded:
    type = op.rhs.type
    if is_zero(constants[1]):
        return constant(1.0, op.result.type)
    # In i1 the bit pattern 1 is the exponent -1.
    return [op.lhs] if is_one(constants[1], type) and str(type) != "i1" else None


@rule("math.ipowi")
def _ipowi(op: Any, constants: Constants) -> Folded:
    type = op.result.type
    return constant(1, type) if is_zero(constants[1]) else None


__all__: list[str] = []
