"""Powers: x^y for floats through a double-length logarithm, integer powers by squaring, fmod.

x^y = exp(y * log x) needs log x to about 10 bits more than the result has: f32 takes it in double, f64 as
a sum of two doubles.
"""

from __future__ import annotations

from typing import Any

from iree_codegen.legalize import float64
from iree_codegen.legalize.emit import Emit
from iree_codegen.legalize.single import power_of_finite
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import element_of, f32, i32, i64

INFINITY = float("inf")


def _two_product(e: Emit, a: Value, b: Value) -> tuple[Value, Value]:
    """Product and its exact error."""
    p = e.mul(a, b)
    if e.fma_available:
        return p, e.fma(a, b, e.neg(p))

    def split(x: Value) -> tuple[Value, Value]:
        high = e.float(e.iand(e.bits(x), -0x8000000))
        return high, e.sub(x, high)

    ah, al = split(a)
    bh, bl = split(b)
    error = e.sub(e.mul(ah, bh), p)
    return p, e.add(e.add(e.add(error, e.mul(ah, bl)), e.mul(al, bh)), e.mul(al, bl))


def _two_sum(e: Emit, a: Value, b: Value) -> tuple[Value, Value]:
    s = e.add(a, b)
    t = e.sub(s, a)
    return s, e.add(e.sub(a, e.sub(s, t)), e.sub(b, t))


def _double_log(e: Emit, x: Value) -> tuple[Value, Value]:
    """log x (x > 0, finite) as high + low, about 2^-65 relative."""
    k, f = float64._split_log(e, x)
    # log(1 + f) = 2 atanh(s), s = f / (2 + f), s and the leading terms in double length.
    d = e.add(f, 2.0)
    d_low = e.sub(f, e.sub(d, 2.0))
    s = e.div(f, d)
    p, p_low = _two_product(e, s, d)
    s_low = e.div(e.sub(e.sub(e.sub(f, p), p_low), e.mul(s, d_low)), d)
    z, z_low = _two_product(e, s, s)
    z_low = e.add(z_low, e.mul(e.mul(s, s_low), 2.0))
    # 2 s (1 + z/3 + z^2/5 + ...): z/3 in double length, the rest in double.
    tail = e.poly(z, (2 / 23, 2 / 21, 2 / 19, 2 / 17, 2 / 15, 2 / 13, 2 / 11, 2 / 9, 2 / 7, 2 / 5))
    cube, cube_low = _two_product(e, z, s)
    cube_low = e.add(cube_low, e.add(e.mul(z, s_low), e.mul(z_low, s)))
    third = e.value(2 / 3, x)
    t, t_low = _two_product(e, cube, third)
    t_low = e.add(t_low, e.add(e.mul(cube_low, 2 / 3), e.mul(cube, 3.700743415417188e-17)))
    t_low = e.add(t_low, e.mul(e.mul(cube, z), tail))
    high, low = _two_sum(e, e.mul(s, 2.0), t)
    low = e.add(low, e.add(t_low, e.mul(s_low, 2.0)))
    # k * ln2: the high part has 32 bits, so the product is exact.
    k_high = e.mul(k, 6.93147180369123816490e-01)
    k_low, k_rest = _two_product(e, k, e.value(1.90821492927058770002e-10, x))
    total, error = _two_sum(e, k_high, high)
    second, error2 = _two_sum(e, k_low, low)
    error = e.add(error, second)
    error = e.add(error, e.add(error2, k_rest))
    result = e.add(total, error)
    return result, e.add(e.sub(total, result), error)


def powf(e: Emit, x: Value, y: Value, *, single: bool = False) -> Value:
    """x^y with the special cases of C99, in f64 (``single``: f32 accuracy is enough) or, on f32, in f32."""
    a = e.abs(x)
    infinite = e.compare("oeq", a, INFINITY)
    zero = e.compare("oeq", a, 0.0)
    safe = e.select(e.binary("arith.ori", infinite, zero), 1.0, a)
    yc = e.clamp(y, -1.0e20, 1.0e20)
    if element_of(x.type) is f32:
        result = power_of_finite(e, safe, y)
    elif single:
        product = e.mul(yc, float64._log_finite(e, safe))
        result = float64.exp(e, product)
    else:
        high, low = _double_log(e, safe)
        p, p_low = _two_product(e, yc, high)
        p_low = e.add(p_low, e.mul(yc, low))
        out_of_range = e.compare("ogt", e.abs(p), 800.0)
        p_low = e.select(out_of_range, 0.0, p_low)
        result = float64.exp(e, p)
        correction = e.select(e.compare("olt", e.abs(result), INFINITY), e.mul(result, p_low), 0.0)
        result = e.add(result, correction)
    # Parity of an integral y: every number from 2^53 (f32: 2^24) on is even.
    integer, even_from = (i32, 2.0**24) if element_of(x.type) is f32 else (i64, 2.0**53)
    whole = e.compare("oeq", _truncated(e, y), y)
    odd_bits = e.iand(e.to_int(e.clamp(y, -even_from, even_from), integer), 1)
    odd = e.binary("arith.andi", whole, e.icompare("ne", odd_bits, 0))
    odd = e.binary("arith.andi", odd, e.compare("olt", e.abs(y), even_from))
    negative = e.compare("olt", x, 0.0)
    growing = e.compare("ogt", y, 0.0)
    shrinking = e.compare("olt", y, 0.0)
    zero_result = e.select(growing, e.value(0.0, x), e.value(INFINITY, x))
    infinite_result = e.select(growing, e.value(INFINITY, x), e.value(0.0, x))
    result = e.select(zero, zero_result, result)
    result = e.select(infinite, infinite_result, result)
    sign = e.icompare("slt", e.bits(x), 0)
    flipped = e.binary("arith.andi", sign, odd)
    result = e.select(flipped, e.neg(result), result)
    not_real = e.binary("arith.andi", negative, e.binary("arith.xori", whole, e.value(1, whole)))
    not_real = e.binary("arith.andi", not_real, e.compare("olt", a, INFINITY))
    y_finite = e.compare("olt", e.abs(y), INFINITY)
    result = e.select(e.binary("arith.andi", not_real, y_finite), float("nan"), result)
    # Infinite exponents.
    one = e.compare("oeq", a, 1.0)
    below = e.compare("olt", a, 1.0)
    up = e.select(below, e.value(0.0, x), e.value(INFINITY, x))
    down = e.select(below, e.value(INFINITY, x), e.value(0.0, x))
    limit = e.select(one, 1.0, e.select(shrinking, down, up))
    result = e.select(y_finite, result, limit)
    result = e.select(e.compare("uno", x, y), float("nan"), result)
    # 1^y and x^0 are 1 even for NaN.
    result = e.select(e.compare("oeq", x, 1.0), 1.0, result)
    return e.select(e.compare("oeq", y, 0.0), 1.0, result)


def _truncated(e: Emit, y: Value) -> Value:
    integer, whole_from = (i32, 2.0**23) if element_of(y.type) is f32 else (i64, 2.0**52)
    large = e.compare("uge", e.abs(y), whole_from)
    small = e.select(large, 0.0, y)
    return e.select(large, y, e.to_float(e.to_int(small, integer), element_of(y.type)))


def ipowi(e: Emit, a: Value, b: Value) -> Value:
    """Integer power by squaring; a negative exponent leaves 0 except for bases 1 and -1."""
    element: Any = element_of(a.type)
    result = e.value(1, a)
    square = a
    rest = b
    for bit in range(element.width):
        use = e.icompare("ne", e.iand(rest, 1), 0) if element.width > 1 else rest
        result = e.select(use, e.binary("arith.muli", result, square), result)
        if bit < element.width - 1:
            square = e.binary("arith.muli", square, square)
            rest = e.shr(rest, 1)
    unit = e.binary("arith.ori", e.icompare("eq", a, 1), e.icompare("eq", a, -1))
    negative = e.icompare("slt", b, 0)
    gone = e.binary("arith.andi", negative, e.binary("arith.xori", unit, e.value(1, unit)))
    return e.select(gone, 0, result)
