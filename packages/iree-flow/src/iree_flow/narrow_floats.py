"""f16 and bf16 on the host: an f32 register that holds the number exactly, and its 16 bits in memory.

Arithmetic on them is that of f32, rounded afterwards: f32 has more than twice the digits, so sums, products,
quotients and roots come out as if rounded once. The virtual machine has no ops of that width; these are made
of those it has.
"""

from __future__ import annotations

from typing import Any

SMALLEST = 2.0**-14
"""The smallest f16 with all its digits."""
OVERFLOW = 65520.0
"""From here on an f16 is infinite."""


def rounded(b: Any, value: Any, name: str) -> Any:
    """An f32 register rounded to the nearest ``f16`` or ``bf16``, ties to even."""
    if name == "bf16":
        bits = b.op("bitcast.f32.i32", value)
        lowest = b.op("and.i32", _right(b, bits, 16), b.const_i32(1))
        up = b.op("add.i32", b.op("add.i32", bits, b.const_i32(0x7FFF)), lowest)
        near = b.op("bitcast.i32.f32", b.op("and.i32", up, b.const_i32(-0x10000)))
        return b.op("select.f32", b.op("cmp.nan.f32", value), value, near)
    size = b.op("abs.f32", value)
    half = b.const_f32(0.5)  # its last digit is the only one that a smaller f16 has
    few = b.op("sub.f32", b.op("add.f32", size, half), half)
    bits = b.op("bitcast.f32.i32", size)
    lowest = b.op("and.i32", _right(b, bits, 13), b.const_i32(1))
    up = b.op("add.i32", b.op("add.i32", bits, b.const_i32(0xFFF)), lowest)
    all_digits = b.op("bitcast.i32.f32", b.op("and.i32", up, b.const_i32(-0x2000)))
    near = b.op("select.f32", b.op("cmp.lt.f32.o", size, b.const_f32(SMALLEST)), few, all_digits)
    beyond = b.op("cmp.gte.f32.o", size, b.const_f32(OVERFLOW))
    near = b.op("select.f32", beyond, b.const_f32(float("inf")), near)
    near = b.op("copysign.f32", near, value)
    return b.op("select.f32", b.op("cmp.nan.f32", value), value, near)


def to_bits(b: Any, value: Any, name: str) -> Any:
    """The 16 bits of a number that is one already, as an i32."""
    bits = b.op("bitcast.f32.i32", value)
    if name == "bf16":
        return _right(b, bits, 16)
    sign = b.op("shl.i32", _right(b, bits, 31), b.const_i32(15))
    size = b.op("abs.f32", value)
    normal = b.op("sub.i32", _right(b, b.op("bitcast.f32.i32", size), 13), b.const_i32(112 << 10))
    few = b.op("cast.f32.si32", b.op("mul.f32", size, b.const_f32(2.0**24)))
    made = b.op("select.i32", b.op("cmp.lt.f32.o", size, b.const_f32(SMALLEST)), few, normal)
    beyond = b.op("cmp.gte.f32.o", size, b.const_f32(OVERFLOW))
    made = b.op("select.i32", beyond, b.const_i32(0x7C00), made)
    made = b.op("select.i32", b.op("cmp.nan.f32", value), b.const_i32(0x7E00), made)
    return b.op("or.i32", made, sign)


def from_bits(b: Any, bits: Any, name: str) -> Any:
    """The number of 16 bits (in an i32), as an f32 register."""
    if name == "bf16":
        return b.op("bitcast.i32.f32", b.op("shl.i32", bits, b.const_i32(16)))
    digits = b.op("shl.i32", b.op("and.i32", bits, b.const_i32(0x7FFF)), b.const_i32(13))
    exponent = b.op("and.i32", bits, b.const_i32(0x7C00))
    normal = b.op("bitcast.i32.f32", b.op("add.i32", digits, b.const_i32(112 << 23)))
    few = b.op("cast.si32.f32", b.op("and.i32", bits, b.const_i32(0x3FF)))
    few = b.op("mul.f32", few, b.const_f32(2.0**-24))
    special = b.op("bitcast.i32.f32", b.op("or.i32", digits, b.const_i32(0x7F800000)))
    made = b.op("select.f32", b.op("cmp.eq.i32", exponent, b.const_i32(0)), few, normal)
    made = b.op("select.f32", b.op("cmp.eq.i32", exponent, b.const_i32(0x7C00)), special, made)
    sign = b.op("bitcast.i32.f32", b.op("shl.i32", _right(b, bits, 15), b.const_i32(31)))
    return b.op("copysign.f32", made, sign)


def _right(b: Any, value: Any, amount: int) -> Any:
    return b.op("shr.i32.u", value, b.const_i32(amount))


__all__ = ["from_bits", "rounded", "to_bits"]
