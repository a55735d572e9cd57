"""Canonical forms of ``index``: constants on the right and together."""

from __future__ import annotations

from typing import Any

from iree_core_ir.canonicalize.arith import SWAPPED
from iree_core_ir.dialects import index
from iree_core_ir.dialects.folds import number
from iree_core_ir.ir.known_values import known_attribute as known
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.traits import COMMUTATIVE
from iree_core_ir.rewriter import Rewriter, pattern

_COMMUTATIVE = tuple(cls for cls in index.DIALECT.ops.values() if COMMUTATIVE in cls.traits)


@pattern(*_COMMUTATIVE, benefit=2)
def constant_to_the_right(op: Op, rewriter: Rewriter) -> bool:
    """``c op x`` becomes ``x op c``."""
    lhs, rhs = op.operands
    if known(lhs) is None or known(rhs) is not None:
        return False
    rewriter.set_operands(op, (rhs, lhs))
    return True


@pattern(index.Cmp, benefit=2)
def comparison_constant_to_the_right(op: index.Cmp, rewriter: Rewriter) -> bool:
    if known(op.lhs) is None or known(op.rhs) is not None:
        return False
    rewriter.replace_with(op, index.Cmp, SWAPPED[op.predicate_name], op.rhs, op.lhs)
    return True


@pattern(index.Sub)
def difference_to_sum(op: index.Sub, rewriter: Rewriter) -> bool:
    """``x - c`` becomes ``x + -c``."""
    value = number(known(op.rhs))
    if not isinstance(value, int) or value == -(1 << 63):
        return False
    rewriter.replace_with(op, index.Add, op.lhs, rewriter.create(index.Constant, -value).result)
    return True


@pattern(index.Add, index.Mul, index.And, index.Or, index.XOr, index.MaxS, index.MaxU, index.MinS, index.MinU)
def associative_constants(op: Any, rewriter: Rewriter) -> bool:
    """``(x op a) op b`` becomes ``x op (a op b)``."""
    inner = op.lhs.defining_op
    if inner is None or inner.__class__ is not op.__class__:
        return False
    if number(known(op.rhs)) is None or number(known(inner.rhs)) is None:
        return False
    both = rewriter.create(op.__class__, inner.rhs, op.rhs).result
    rewriter.replace_with(op, op.__class__, inner.lhs, both)
    return True


PATTERNS = [
    constant_to_the_right,
    comparison_constant_to_the_right,
    difference_to_sum,
    associative_constants,
]
