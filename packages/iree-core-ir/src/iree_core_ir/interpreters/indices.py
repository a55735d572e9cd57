"""``index`` arithmetic on Python ints: the 64-bit meanings that loops of scalar code run on.

The same results as ``integers`` gives for 64 bits; ints where numpy scalars would be ten times slower.
"""

from __future__ import annotations

from collections.abc import Callable

_MASK = (1 << 64) - 1
_SIGN = 1 << 63


def wrap(value: int) -> int:
    """``value`` modulo 2^64, signed."""
    return value if -_SIGN <= value < _SIGN else ((value + _SIGN) & _MASK) - _SIGN


def divs(a: int, b: int) -> int:
    if b == 0:
        return 0
    quotient = abs(a) // abs(b)
    return wrap(quotient if (a < 0) == (b < 0) else -quotient)


def divu(a: int, b: int) -> int:
    return wrap((a & _MASK) // (b & _MASK)) if b else 0


def rems(a: int, b: int) -> int:
    if b == 0:
        return 0
    remainder = abs(a) % abs(b)
    return -remainder if a < 0 else remainder


def shift_amount(b: int) -> int:
    """The unsigned shift amount, limited to 64."""
    return min(b & _MASK, 64)


BINARY: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: wrap(a + b),
    "sub": lambda a, b: wrap(a - b),
    "mul": lambda a, b: wrap(a * b),
    "divs": divs,
    "divu": divu,
    "floordivs": lambda a, b: wrap(a // b) if b else 0,
    "ceildivs": lambda a, b: wrap(-(-a // b)) if b else 0,
    "ceildivu": lambda a, b: wrap(-(-(a & _MASK) // (b & _MASK))) if b else 0,
    "rems": rems,
    "remu": lambda a, b: wrap((a & _MASK) % (b & _MASK)) if b else 0,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: wrap(a << shift_amount(b)),
    "shrs": lambda a, b: a >> shift_amount(b),
    "shru": lambda a, b: wrap((a & _MASK) >> shift_amount(b)),
    "maxs": max,
    "mins": min,
    "maxu": lambda a, b: a if a & _MASK >= b & _MASK else b,
    "minu": lambda a, b: a if a & _MASK <= b & _MASK else b,
}

COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "slt": lambda a, b: a < b,
    "sle": lambda a, b: a <= b,
    "sgt": lambda a, b: a > b,
    "sge": lambda a, b: a >= b,
    "ult": lambda a, b: a & _MASK < b & _MASK,
    "ule": lambda a, b: a & _MASK <= b & _MASK,
    "ugt": lambda a, b: a & _MASK > b & _MASK,
    "uge": lambda a, b: a & _MASK >= b & _MASK,
}
