"""The integer operations of parameter programs: one table for builder, validator, native code and oracle.

All values are 64-bit two's complement and wrap. Division never traps: by zero it gives 0, and the most
negative value divided by -1 gives itself. ``floordiv`` and ``mod`` round towards minus infinity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

INT64_MIN = -(1 << 63)
_MASK = (1 << 64) - 1


def wrap(value: int) -> int:
    """``value`` modulo 2**64 as a signed number."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


class ParamOp(NamedTuple):
    """``code`` is its number in recordings; ``meaning`` maps two int64 to an unbounded int."""

    code: int
    name: str
    meaning: Callable[[int, int], int]


CONST = 0
"""The code of a definition that is a constant: operands are its low and high 32 bits."""

PARAM_OPS: dict[str, ParamOp] = {
    name: ParamOp(code, name, meaning)
    for code, name, meaning in (
        (1, "add", lambda a, b: a + b),
        (2, "sub", lambda a, b: a - b),
        (3, "mul", lambda a, b: a * b),
        (4, "floordiv", lambda a, b: a // b if b else 0),
        (5, "ceildiv", lambda a, b: -(-a // b) if b else 0),
        (6, "mod", lambda a, b: a % b if b else 0),
        (7, "min", min),
        (8, "max", max),
        (9, "eq", lambda a, b: int(a == b)),
        (10, "lt", lambda a, b: int(a < b)),
    )
}
BY_CODE: dict[int, ParamOp] = {op.code: op for op in PARAM_OPS.values()}


def evaluate(name: str, a: int, b: int) -> int:
    """The value of ``name(a, b)`` for int64 operands."""
    return wrap(PARAM_OPS[name].meaning(a, b))
