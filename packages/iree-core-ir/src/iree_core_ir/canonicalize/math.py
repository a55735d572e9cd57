"""Canonical forms of ``math``: cheaper ops where they give the same bits."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import arith, math
from iree_core_ir.dialects.arith_attributes import constant_attribute
from iree_core_ir.dialects.folds import is_float
from iree_core_ir.ir.known_values import known_attribute as known
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import ShapedType
from iree_core_ir.rewriter import Rewriter, pattern


@pattern(math.PowF)
def power_with_small_exponent(op: math.PowF, rewriter: Rewriter) -> bool:
    """``x^2`` is ``x * x`` and ``x^-1`` is ``1 / x``, each rounded once as pow is."""
    exponent = known(op.rhs)
    if is_float(exponent, 2.0):
        rewriter.replace_with(op, arith.MulF, op.lhs, op.lhs, op.fastmath)
        return True
    type = op.result.type
    if is_float(exponent, -1.0) and (not isinstance(type, ShapedType) or type.is_static):
        one = rewriter.create(arith.Constant, constant_attribute(1.0, type)).result
        rewriter.replace_with(op, arith.DivF, one, op.lhs, op.fastmath)
        return True
    return False


@pattern(math.Fma)
def fma_with_constant(op: math.Fma, rewriter: Rewriter) -> bool:
    """``1 * b + c`` is a sum, ``a * b + -0.0`` a product."""
    if is_float(known(op.c), -0.0):
        rewriter.replace_with(op, arith.MulF, op.a, op.b, op.fastmath)
        return True
    for factor, other in ((op.a, op.b), (op.b, op.a)):
        if is_float(known(factor), 1.0):
            rewriter.replace_with(op, arith.AddF, other, op.c, op.fastmath)
            return True
    return False


def _negated(value: Value) -> Any:
    op = value.defining_op
    return op if isinstance(op, arith.NegF) else None


@pattern(math.Fma)
def fma_of_negations(op: math.Fma, rewriter: Rewriter) -> bool:
    """``-a * -b + c`` is ``a * b + c``."""
    a, b = _negated(op.a), _negated(op.b)
    if a is None or b is None:
        return False
    rewriter.replace_with(op, math.Fma, a.operand, b.operand, op.c, op.fastmath)
    return True


@pattern(math.AbsF, math.Cos, math.Cosh)
def even_function_of_negation(op: Any, rewriter: Rewriter) -> bool:
    """f(-x) = f(x)."""
    inner = op.operand.defining_op
    if not isinstance(inner, (arith.NegF, math.AbsF)):
        return False
    rewriter.replace_with(op, op.__class__, inner.operands[0], op.fastmath)
    return True


PATTERNS = [power_with_small_exponent, fma_with_constant, fma_of_negations, even_function_of_negation]
