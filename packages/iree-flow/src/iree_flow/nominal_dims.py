"""Numbers that stand for dims only known at run time, where a plan has to compare sizes.

A plan is right whatever the dims are; that it is tight rests on proportions, such as an image's halves and
quarters. So arithmetic is followed to the function's arguments, whose dims get usual values.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.dialects import tensor
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Value

BATCH = 1
"""What the first dim of an argument counts as."""
LENGTH = 256
"""What any other does: an image's side, a text's length."""
UNKNOWN = 64
"""What a size counts as that the host reads or computes some other way."""
MAX_DEPTH = 64

_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.divui": lambda a, b: a // b,
    "arith.divsi": lambda a, b: a // b,
    "arith.floordivsi": lambda a, b: a // b,
    "arith.ceildivsi": lambda a, b: -(-a // b),
    "arith.ceildivui": lambda a, b: -(-a // b),
    "arith.remui": lambda a, b: a % b,
    "arith.remsi": lambda a, b: a % b,
    "arith.minsi": min,
    "arith.minui": min,
    "arith.maxsi": max,
    "arith.maxui": max,
}


def nominal(value: Value) -> int:
    """A number of at least 1 that stands for the dim ``value``."""
    return max(1, _number(value, MAX_DEPTH))


def _number(value: Value, depth: int) -> int:
    constant = known_integer(value)
    if constant is not None:
        return constant
    op = value.defining_op
    if op is None or not depth:
        return UNKNOWN
    if isinstance(op, tensor.Dim):
        axis = known_integer(op.operands[1])
        return BATCH if axis == 0 else LENGTH
    operation = _OPERATIONS.get(op.name)
    if operation is None or len(op.operands) != 2:
        return UNKNOWN
    a, b = (_number(operand, depth - 1) for operand in op.operands)
    try:
        return operation(a, b)
    except ZeroDivisionError:
        return UNKNOWN


__all__ = ["nominal"]
