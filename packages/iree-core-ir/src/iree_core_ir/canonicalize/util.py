"""Canonical forms of ``util``: checks and hints that are known to hold go."""

from __future__ import annotations

from iree_core_ir.dialects import util
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.rewriter import Rewriter, pattern


def is_multiple(value: Value, divisor: int) -> bool:
    """Whether ``value`` is known to be a multiple of ``divisor`` (a power of two)."""
    if divisor == 1:
        return True
    known = known_integer(value)
    if known is not None:
        return known % divisor == 0
    op = value.defining_op
    if isinstance(op, util.Align):
        alignment = known_integer(op.alignment)
        return (alignment is not None and alignment % divisor == 0) or is_multiple(op.value, divisor)
    if op is None:
        return False
    if op.name in ("arith.addi", "arith.subi", "index.add", "index.sub"):
        return all(is_multiple(v, divisor) for v in op.operands)
    if op.name in ("arith.muli", "index.mul"):
        return any(is_multiple(v, divisor) for v in op.operands)
    if isinstance(op, util.AssumeInt):
        row = list(op.assumptions[value.index])  # type: ignore[call-overload]
        return bool(row) and all(a.udiv is not None and a.udiv % divisor == 0 for a in row)
    return False


@pattern(util.Align)
def align_of_multiple(op: util.Align, rewriter: Rewriter) -> bool:
    """A multiple of the alignment is aligned; to 1 everything is."""
    alignment = known_integer(op.alignment)
    if op.value is op.alignment:
        rewriter.replace(op, op.value)
        return True
    if alignment is None:
        inner = op.value.defining_op
        if not isinstance(inner, util.Align) or inner.alignment is not op.alignment:
            return False
    elif alignment <= 0 or alignment & (alignment - 1) or not is_multiple(op.value, alignment):
        return False
    rewriter.replace(op, op.value)
    return True


@pattern(util.BroadcastDim)
def broadcast_dim_proven(op: util.BroadcastDim, rewriter: Rewriter) -> bool:
    """Equal dims, or one that is known to be 1; constants that disagree stay an error at run time."""
    a, b = known_integer(op.lhs), known_integer(op.rhs)
    if op.lhs is op.rhs or b == 1 or (a is not None and a == b):
        rewriter.replace(op, op.lhs)
        return True
    if a == 1:
        rewriter.replace(op, op.rhs)
        return True
    return False


@pattern(util.BroadcastDim)
def broadcast_dim_again(op: util.BroadcastDim, rewriter: Rewriter) -> bool:
    """The result broadcast once more with one of its dims is itself."""
    for outer, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        inner = outer.defining_op
        if isinstance(inner, util.BroadcastDim) and (inner.lhs is other or inner.rhs is other):
            rewriter.replace(op, outer)
            return True
    return False


@pattern(util.BroadcastDim)
def broadcast_dim_twice(op: util.BroadcastDim, rewriter: Rewriter) -> bool:
    """The same check earlier in the block gives the same value."""
    same: set[Op] = {
        user
        for user in op.lhs.uses
        if user is not op
        and user.parent is op.parent
        and isinstance(user, util.BroadcastDim)
        and set(user.operands) == set(op.operands)
    }
    before = op.prev if same else None
    while before is not None and before not in same:
        before = before.prev
    if before is None:
        return False
    rewriter.replace(op, before)
    return True


@pattern(util.AssumeInt)
def assume_of_constants(op: util.AssumeInt, rewriter: Rewriter) -> bool:
    """Of a constant nothing needs assuming."""
    if not all(known_integer(value) is not None for value in op.values):
        return False
    rewriter.replace(op, list(op.values))
    return True


PATTERNS = [
    align_of_multiple,
    broadcast_dim_proven,
    broadcast_dim_again,
    broadcast_dim_twice,
    assume_of_constants,
]
