"""Fixed-width integer arithmetic in numpy, for every width, with nothing undefined.

Values are numpy scalars or arrays of the type's dtype (bool for i1, ml-dtypes' int4 for i4), or Python
ints for ``index``. A kernel reads them as signed or unsigned carriers (8 to 64 bits), computes modulo
2^n and returns carriers; ``IntegerFormat.wrap`` makes values of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.types import IndexType, IntegerType

Array = Any
"""A numpy array or scalar."""


class IntegerFormat:
    """How values of an integer type are held (``dtype``) and computed with (``unsigned``, ``signed``)."""

    def __init__(self, type: Type) -> None:
        row = element_type(str(type))
        self.width = row.bits
        if isinstance(type, IntegerType):
            self.width = type.width
        self.is_index = isinstance(type, IndexType)
        self.dtype = row.dtype
        carrier = max(8, row.bits)
        self.unsigned: np.dtype[Any] = np.dtype(f"u{carrier // 8}")
        self.signed: np.dtype[Any] = np.dtype(f"i{carrier // 8}")
        self.carried = self.width == carrier
        self.mask = self.unsigned.type((1 << self.width) - 1)
        self.sign = self.unsigned.type(1 << (self.width - 1))

    def as_unsigned(self, value: Array) -> Array:
        """The value's bits as an unsigned number."""
        if self.carried:
            return np.asarray(value, self.dtype).view(self.unsigned)
        return np.asarray(value, self.dtype).astype(self.signed).view(self.unsigned) & self.mask

    def as_signed(self, value: Array) -> Array:
        """The value as a signed number (i1: 0 or -1)."""
        if self.carried:
            return np.asarray(value, self.dtype)
        bits = self.as_unsigned(value)
        return ((bits ^ self.sign) - self.sign).view(self.signed)

    def wrap(self, carrier: Array) -> Array:
        """The value whose bits are the low ``width`` bits of a carrier of either signedness."""
        if self.carried:
            return carrier.view(self.dtype)
        bits = carrier.view(self.unsigned) & self.mask
        if self.width == 1:
            return bits.astype(np.bool_)
        return ((bits ^ self.sign) - self.sign).view(self.signed).astype(self.dtype)

    def cast(self, wide: Array) -> Array:
        """The value whose bits are the low ``width`` bits of a 64-bit number (array of i64 or u64)."""
        return self.wrap(np.asarray(wide).astype(self.unsigned))


@functools.cache
def integer_format(type: Type) -> IntegerFormat:
    """The format of an integer type or ``index``. Raises PluginError 5 for a width without a dtype."""
    return IntegerFormat(type)


Kernel = Callable[[IntegerFormat, Array, Array], Array]


def _divide(f: IntegerFormat, a: Array, b: Array, rounding: int) -> Array:
    """Signed quotient: rounding -1 down, 0 to zero, 1 up; by zero 0; MIN / -1 is MIN."""
    a, b = f.as_signed(a), f.as_signed(b)
    by_zero = b == 0
    # -1 apart: MIN // -1 raises a flag and, on some hosts, a trap.
    negate = b == -1
    divisor = np.where(by_zero | negate, f.signed.type(1), b)
    quotient = np.floor_divide(a, divisor)
    remainder = a - quotient * divisor
    if rounding == 0:
        quotient = quotient + ((remainder != 0) & ((a < 0) != (divisor < 0))).astype(f.signed)
    elif rounding == 1:
        quotient = quotient + (remainder != 0).astype(f.signed)
    zero = f.signed.type(0)
    return np.where(by_zero, zero, np.where(negate, (zero - a).astype(f.signed), quotient))


def _divide_unsigned(f: IntegerFormat, a: Array, b: Array, up: bool) -> Array:
    a, b = f.as_unsigned(a), f.as_unsigned(b)
    by_zero = b == 0
    divisor = np.where(by_zero, f.unsigned.type(1), b)
    quotient = a // divisor
    if up:
        quotient = quotient + (a % divisor != 0).astype(f.unsigned)
    return np.where(by_zero, f.unsigned.type(0), quotient)


def _remainder(f: IntegerFormat, a: Array, b: Array) -> Array:
    quotient = _divide(f, a, b, 0)
    a, b = f.as_signed(a), f.as_signed(b)
    return np.where(b == 0, f.signed.type(0), (a - quotient * b).astype(f.signed))


def _remainder_unsigned(f: IntegerFormat, a: Array, b: Array) -> Array:
    a, b = f.as_unsigned(a), f.as_unsigned(b)
    by_zero = b == 0
    return np.where(by_zero, f.unsigned.type(0), a % np.where(by_zero, f.unsigned.type(1), b))


def _shift(
    f: IntegerFormat, a: Array, b: Array, shift: Callable[[Array, Array], Array], wide: Array
) -> Array:
    """``shift(a, b)`` with ``wide`` where the amount reaches the width."""
    amount = f.as_unsigned(b)
    too_far = amount >= f.width
    inside = np.where(too_far, f.unsigned.type(0), amount).astype(a.dtype)
    return np.where(too_far, wide, shift(a, inside))


def _shift_right_signed(f: IntegerFormat, a: Array, b: Array) -> Array:
    a = f.as_signed(a)
    return _shift(f, a, b, np.right_shift, np.where(a < 0, f.signed.type(-1), f.signed.type(0)))


BINARY: dict[str, Kernel] = {
    "add": lambda f, a, b: f.as_unsigned(a) + f.as_unsigned(b),
    "sub": lambda f, a, b: f.as_unsigned(a) - f.as_unsigned(b),
    "mul": lambda f, a, b: f.as_unsigned(a) * f.as_unsigned(b),
    "divs": lambda f, a, b: _divide(f, a, b, 0),
    "floordivs": lambda f, a, b: _divide(f, a, b, -1),
    "ceildivs": lambda f, a, b: _divide(f, a, b, 1),
    "divu": lambda f, a, b: _divide_unsigned(f, a, b, False),
    "ceildivu": lambda f, a, b: _divide_unsigned(f, a, b, True),
    "rems": _remainder,
    "remu": _remainder_unsigned,
    "and": lambda f, a, b: f.as_unsigned(a) & f.as_unsigned(b),
    "or": lambda f, a, b: f.as_unsigned(a) | f.as_unsigned(b),
    "xor": lambda f, a, b: f.as_unsigned(a) ^ f.as_unsigned(b),
    "shl": lambda f, a, b: _shift(f, f.as_unsigned(a), b, np.left_shift, f.unsigned.type(0)),
    "shrs": _shift_right_signed,
    "shru": lambda f, a, b: _shift(f, f.as_unsigned(a), b, np.right_shift, f.unsigned.type(0)),
    "maxs": lambda f, a, b: np.maximum(f.as_signed(a), f.as_signed(b)),
    "maxu": lambda f, a, b: np.maximum(f.as_unsigned(a), f.as_unsigned(b)),
    "mins": lambda f, a, b: np.minimum(f.as_signed(a), f.as_signed(b)),
    "minu": lambda f, a, b: np.minimum(f.as_unsigned(a), f.as_unsigned(b)),
}
"""Name -> kernel on two values, giving carriers."""

COMPARE: dict[str, Kernel] = {
    "eq": lambda f, a, b: np.equal(f.as_unsigned(a), f.as_unsigned(b)),
    "ne": lambda f, a, b: np.not_equal(f.as_unsigned(a), f.as_unsigned(b)),
    "slt": lambda f, a, b: np.less(f.as_signed(a), f.as_signed(b)),
    "sle": lambda f, a, b: np.less_equal(f.as_signed(a), f.as_signed(b)),
    "sgt": lambda f, a, b: np.greater(f.as_signed(a), f.as_signed(b)),
    "sge": lambda f, a, b: np.greater_equal(f.as_signed(a), f.as_signed(b)),
    "ult": lambda f, a, b: np.less(f.as_unsigned(a), f.as_unsigned(b)),
    "ule": lambda f, a, b: np.less_equal(f.as_unsigned(a), f.as_unsigned(b)),
    "ugt": lambda f, a, b: np.greater(f.as_unsigned(a), f.as_unsigned(b)),
    "uge": lambda f, a, b: np.greater_equal(f.as_unsigned(a), f.as_unsigned(b)),
}
"""Predicate of ``arith.cmpi`` -> kernel giving booleans."""


def power(f: IntegerFormat, a: Array, b: Array) -> Array:
    """Signed power; a negative exponent leaves 0 except for the bases 1 and -1."""
    base, exponent = f.as_unsigned(a), f.as_signed(b)
    bits = f.as_unsigned(b)
    result = np.full(np.broadcast_shapes(base.shape, bits.shape), f.unsigned.type(1))
    square = base
    for i in range(f.width):
        result = np.where((bits >> f.unsigned.type(i)) & f.unsigned.type(1) != 0, result * square, result)
        square = square * square
    signed = f.as_signed(a)
    unit = (signed == 1) | (signed == -1)
    return np.where((exponent < 0) & ~unit, f.unsigned.type(0), result)


def multiply_high_unsigned(f: IntegerFormat, a: Array, b: Array) -> Array:
    """High half of the unsigned 2n-bit product."""
    a, b = f.as_unsigned(a), f.as_unsigned(b)
    if f.width <= 32:
        return ((a.astype(np.uint64) * b.astype(np.uint64)) >> np.uint64(f.width)).astype(f.unsigned)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    ah, al, bh, bl = a >> half, a & low, b >> half, b & low
    cross_1, cross_2 = al * bh, ah * bl
    middle = ((al * bl) >> half) + (cross_1 & low) + (cross_2 & low)
    return ah * bh + (cross_1 >> half) + (cross_2 >> half) + (middle >> half)


def multiply_high_signed(f: IntegerFormat, a: Array, b: Array) -> Array:
    """High half of the signed 2n-bit product."""
    high = multiply_high_unsigned(f, a, b)
    zero = f.unsigned.type(0)
    high = high - np.where(f.as_signed(a) < 0, f.as_unsigned(b), zero)
    return high - np.where(f.as_signed(b) < 0, f.as_unsigned(a), zero)


def carry(f: IntegerFormat, a: Array, b: Array) -> Array:
    """Whether the unsigned sum leaves the width."""
    a, b = f.as_unsigned(a), f.as_unsigned(b)
    return ((a + b) & f.mask) < a


def absolute(f: IntegerFormat, a: Array) -> Array:
    signed = f.as_signed(a)
    return np.where(signed < 0, (f.signed.type(0) - signed).astype(f.signed), signed)


def count_ones(f: IntegerFormat, a: Array) -> Array:
    bits = f.as_unsigned(a)
    count = np.zeros(bits.shape, f.unsigned)
    for i in range(f.width):
        count = count + ((bits >> f.unsigned.type(i)) & f.unsigned.type(1))
    return count


def count_leading_zeros(f: IntegerFormat, a: Array) -> Array:
    """The width for 0."""
    bits = f.as_unsigned(a)
    for i in range(6):  # copy the highest set bit into all lower ones
        if 1 << i < f.width:
            bits = bits | (bits >> f.unsigned.type(1 << i))
    return f.unsigned.type(f.width) - count_ones(f, f.wrap(bits))


def count_trailing_zeros(f: IntegerFormat, a: Array) -> Array:
    """The width for 0."""
    bits = f.as_unsigned(a)
    below_lowest = (bits - f.unsigned.type(1)) & ~bits
    return count_ones(f, f.wrap(below_lowest))


UNARY: dict[str, Callable[[IntegerFormat, Array], Array]] = {
    "abs": absolute,
    "ctpop": count_ones,
    "ctlz": count_leading_zeros,
    "cttz": count_trailing_zeros,
}
