"""Functions of f32 in f32 alone, for devices without f64; where there is f64 they are computed in that.

Reductions by pi/2 are Cody and Waite's in three parts, beyond 2^13 Payne and Hanek's on 32-bit integers
(after N. Juffa); polynomials are those of Cephes (S. Moshier); powers take a logarithm of two f32. Errors
are a few units in the last place (tests measure them).
"""

from __future__ import annotations

import itertools

from iree_codegen.legalize import float32
from iree_codegen.legalize.emit import Emit
from iree_codegen.legalize.trigonometry import TWO_OVER_PI
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, i32

INFINITY, NAN = float("inf"), float("nan")
PI_HALF = 1.57079637050628662109
PI_HALF_LOW = -4.37113882867379e-8
PI_PARTS = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)
"""pi/2 in three parts; the first two have so few bits that their products with a count are exact."""
LN2 = 0.693147180559945309
SPLIT_MASK = -0x1000
"""Leaves the high 12 bits of a mantissa: products of such halves are exact."""


# -- trigonometric functions ----------------------------------------------------------------------------


def reduce(e: Emit, x: Value) -> tuple[Value, Value]:
    """x = n * pi/2 + r with |r| <= pi/4: (n as i32 modulo 2^31, r)."""
    large = e.compare("uge", e.abs(x), 8192.0)
    small = e.select(large, 0.0, x)
    shifted = e.add(e.mul(small, 0.636619772367581343), float32.MAGIC)
    count = e.sub(shifted, float32.MAGIC)
    n = e.isub(e.bits(shifted), float32.MAGIC_BITS)
    r = small
    for part in PI_PARTS:
        r = e.sub(r, e.mul(count, part))

    def beyond() -> list[Value]:
        own_n, own_r = _reduce_large(e, x)
        return [e.select(large, own_n, n), e.select(large, own_r, r)]

    n, r = e.if_any(large, beyond, [n, r])
    return n, r


def _words() -> list[int]:
    """2/pi in words of 32 bits, the first two bits (before the point) zero."""
    n_bits = 4 * ((TWO_OVER_PI.bit_length() + 3) // 4)
    return [(TWO_OVER_PI >> (n_bits + 2 - 32 * (k + 1))) & 0xFFFFFFFF for k in range(7)]


def _high(e: Emit, a: Value, b: Value) -> Value:
    """The high word of the product of two unsigned words."""
    from iree_codegen.kernel_builder import op_class

    op = op_class("arith.mului_extended")((a, b), (a.type, a.type), None, (), (), e.op.location)
    e.block.insert_before(op, e.op)
    return op.results[1]


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word


def _reduce_large(e: Emit, x: Value) -> tuple[Value, Value]:
    """The same from the bits of 2/pi that matter. Non-finite x gives NaN."""
    bits = e.bits(x)
    mantissa = e.ior(e.shl(e.iand(bits, 0x007FFFFF), 8), _signed(0x80000000))
    power = e.isub(e.iand(e.shr(bits, 23), 0xFF), 126)
    first, offset = e.shr(power, 5), e.iand(power, 31)
    words = [_signed(w) for w in _words()]

    def pick(shift: int) -> Value:
        """Word ``first + shift`` of 2/pi (0 before its start); ``first`` is at most 4."""
        found = e.const(words[4 + shift], i32) if 4 + shift < len(words) else e.const(0, i32)
        for k in range(3, -1, -1):
            word = words[k + shift] if k + shift >= 0 else 0
            found = e.select(e.icompare("eq", first, k), word, found)
        return found

    found = [pick(shift) for shift in (-1, 0, 1, 2)]
    # A shift by 32 gives zeros: nothing comes from the next word when the offset is 0.
    left = e.isub(32, offset)
    high, middle, low = (e.ior(e.shl(a, offset), e.shr(b, left)) for a, b in itertools.pairwise(found))
    # The product modulo 4 with 62 bits behind the point, in two words.
    total = _high(e, mantissa, low)
    bottom = e.iadd(total, e.imul(mantissa, middle))
    carry = e.icompare("ult", bottom, total)
    top = e.iadd(_high(e, mantissa, middle), e.select(carry, e.const(1, i32), 0))
    top = e.iadd(top, e.imul(mantissa, high))
    quadrant = e.shr(top, 30)
    top = e.iand(top, 0x3FFFFFFF)
    upper = e.icompare("ne", e.iand(top, 0x20000000), 0)
    top = e.select(upper, e.isub(top, 0x40000000), top)
    quadrant = e.select(upper, e.iadd(quadrant, 1), quadrant)
    # As a float of full precision, also when the high word is all zeros or all ones.
    negative = e.icompare("slt", top, 0)
    flipped_bottom = e.isub(0, bottom)
    borrow = e.select(e.icompare("eq", bottom, 0), e.const(1, i32), 0)
    top = e.select(negative, e.iadd(e.xor(top, -1), borrow), top)
    bottom = e.select(negative, flipped_bottom, bottom)
    # The lower word in halves: signed conversions see no sign there.
    lower = e.add(
        e.mul(e.to_float(e.shr(bottom, 16), f32), 2.0**-46),
        e.mul(e.to_float(e.iand(bottom, 0xFFFF), f32), 2.0**-62),
    )
    fraction = e.add(e.mul(e.to_float(top, f32), 2.0**-30), lower)
    r = e.mul(fraction, PI_HALF)
    r = e.select(negative, e.neg(r), r)
    backwards = e.icompare("slt", bits, 0)
    r = e.select(backwards, e.neg(r), r)
    n = e.select(backwards, e.isub(0, quadrant), quadrant)
    return n, e.select(e.compare("olt", e.abs(x), INFINITY), r, NAN)


def sin_cos(e: Emit, x: Value) -> tuple[Value, Value]:
    n, r = reduce(e, x)
    z = e.mul(r, r)
    s = e.poly(z, (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
    s = e.fma(e.mul(s, z), r, r)
    c = e.poly(z, (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2))
    c = e.add(e.sub(e.mul(e.mul(z, z), c), e.mul(z, 0.5)), 1.0)
    odd = e.icompare("ne", e.iand(n, 1), 0)
    sine, cosine = e.select(odd, c, s), e.select(odd, s, c)
    sine = e.float(e.xor(e.bits(sine), e.shl(e.iand(n, 2), 30)))
    cosine = e.float(e.xor(e.bits(cosine), e.shl(e.iand(e.iadd(n, 1), 2), 30)))
    return e.select(e.compare("olt", e.abs(x), 1.0e-4), x, sine), cosine


def sin(e: Emit, x: Value) -> Value:
    return sin_cos(e, x)[0]


def cos(e: Emit, x: Value) -> Value:
    return sin_cos(e, x)[1]


def tan(e: Emit, x: Value) -> Value:
    s, c = sin_cos(e, x)
    return e.select(e.compare("olt", e.abs(x), 1.0e-4), x, e.div(s, c))


def atan(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    steep, middle = e.compare("ogt", a, 2.414213562373095), e.compare("ogt", a, 0.4142135623730950)
    t = e.select(middle, e.div(e.sub(a, 1.0), e.add(a, 1.0)), a)
    t = e.select(steep, e.div(-1.0, a), t)
    base = e.select(steep, PI_HALF, e.select(middle, e.const(PI_HALF / 2, f32), 0.0))
    low = e.select(steep, PI_HALF_LOW, e.select(middle, e.const(PI_HALF_LOW / 2, f32), 0.0))
    z = e.mul(t, t)
    p = e.poly(z, (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1))
    result = e.add(base, e.add(low, e.fma(e.mul(p, z), t, t)))
    result = e.copysign(result, x)
    return e.select(e.is_nan(x), x, result)


def atan2(e: Emit, y: Value, x: Value) -> Value:
    a, b = e.abs(y), e.abs(x)
    infinite = e.binary("arith.andi", e.compare("oeq", a, INFINITY), e.compare("oeq", b, INFINITY))
    zero = e.binary("arith.andi", e.compare("oeq", a, 0.0), e.compare("oeq", b, 0.0))
    ratio = e.select(zero, 0.0, e.select(infinite, 1.0, e.div(a, b)))
    angle = atan(e, ratio)
    negative = e.icompare("slt", e.bits(x), 0)
    angle = e.select(negative, e.sub(2 * PI_HALF, e.sub(angle, 2 * PI_HALF_LOW)), angle)
    return e.select(e.compare("uno", y, x), NAN, e.copysign(angle, y))


def asin(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    result = atan2(e, x, e.sqrt(e.mul(e.sub(1.0, a), e.add(a, 1.0))))
    result = e.select(e.compare("olt", a, 1.0e-4), x, result)
    return e.select(e.compare("ogt", a, 1.0), NAN, result)


def acos(e: Emit, x: Value) -> Value:
    half = atan2(e, e.sqrt(e.sub(1.0, x)), e.sqrt(e.add(x, 1.0)))
    return e.mul(half, 2.0)


# -- logarithms and hyperbolic functions ----------------------------------------------------------------


def log1p(e: Emit, x: Value) -> Value:
    """log of the rounded sum, corrected by what rounding lost."""
    u = e.add(x, 1.0)
    lost = e.div(e.sub(x, e.sub(u, 1.0)), u)
    result = e.add(float32.log(e, u), lost)
    result = e.select(e.compare("olt", e.abs(x), 1.0e-7), x, result)
    result = e.select(e.compare("oeq", x, -1.0), -INFINITY, result)
    return e.select(e.compare("oeq", x, INFINITY), INFINITY, result)


def log2(e: Emit, x: Value) -> Value:
    k, f, y = float32._split_log(e, x)
    y = e.sub(y, e.mul(e.mul(f, f), 0.5))
    rest = 0.44269504088896340736
    total = e.add(e.add(e.add(e.mul(y, rest), e.mul(f, rest)), y), f)
    return float32.log_specials(e, x, e.add(total, k))


def log10(e: Emit, x: Value) -> Value:
    k, f, y = float32._split_log(e, x)
    y = e.sub(y, e.mul(e.mul(f, f), 0.5))
    total = e.mul(e.add(f, y), 7.00731903251827651129e-4)
    for value, factor in (
        (y, 4.3359375e-1),
        (f, 4.3359375e-1),
        (k, 2.48745663981195213739e-4),
        (k, 3.0078125e-1),
    ):
        total = e.add(total, e.mul(value, factor))
    return float32.log_specials(e, x, total)


def sinh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    half = float32.exp(e, e.mul(a, 0.5))
    q = e.mul(e.mul(half, 0.5), half)
    large = e.copysign(e.sub(q, e.div(0.25, q)), x)
    z = e.mul(x, x)
    p = e.poly(z, (2.03721912945e-4, 8.33028376239e-3, 1.66667160211e-1))
    small = e.fma(e.mul(p, z), x, x)
    return e.select(e.compare("ogt", a, 1.0), large, small)


def cosh(e: Emit, x: Value) -> Value:
    half = float32.exp(e, e.mul(e.abs(x), 0.5))
    q = e.mul(e.mul(half, 0.5), half)
    return e.add(q, e.div(0.25, q))


def asinh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    far = e.compare("ogt", a, 1.0e4)
    c = e.select(far, 1.0, a)
    z = e.mul(c, c)
    near = log1p(e, e.add(c, e.div(z, e.add(e.sqrt(e.add(z, 1.0)), 1.0))))
    beyond = e.add(float32.log(e, a), LN2)
    result = e.copysign(e.select(far, beyond, near), x)
    return e.select(e.is_nan(x), x, result)


def acosh(e: Emit, x: Value) -> Value:
    far = e.compare("ogt", x, 1.0e4)
    t = e.sub(e.select(far, 2.0, x), 1.0)
    near = log1p(e, e.add(t, e.sqrt(e.mul(t, e.add(t, 2.0)))))
    result = e.select(far, e.add(float32.log(e, x), LN2), near)
    result = e.select(e.compare("olt", x, 1.0), NAN, result)
    return e.select(e.is_nan(x), x, result)


def atanh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    t = e.add(a, a)
    rest = e.sub(1.0, a)
    argument = e.select(e.compare("olt", a, 0.5), e.add(t, e.div(e.mul(t, a), rest)), e.div(t, rest))
    result = e.copysign(e.mul(log1p(e, argument), 0.5), x)
    return e.select(e.compare("ogt", a, 1.0), NAN, result)


def cbrt(e: Emit, x: Value) -> Value:
    """A third of the exponent, then two steps of Halley."""
    a = e.abs(x)
    normal = e.binary("arith.andi", e.compare("olt", a, INFINITY), e.compare("ogt", a, 0.0))
    safe = e.select(normal, a, 1.0)
    y = e.float(e.iadd(e.binary("arith.divui", e.bits(safe), 3), 0x2A514067))
    for _ in range(2):
        cube = e.mul(e.mul(y, y), y)
        y = e.mul(y, e.div(e.add(cube, e.add(safe, safe)), e.add(e.add(cube, cube), safe)))
    return e.select(normal, e.copysign(y, x), x)


ERFC_MIDDLE = (2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1, -5.824733027278666e-1,
               6.210004621745983e-1, -4.944515323274145e-1, 3.404879937665872e-1, -2.741127028184656e-1,
               5.638259427386472e-1)  # fmt: skip
ERFC_FAR = (-1.047766399936249e1, 1.297719955372516e1, -7.495518717768503, 2.921019019210786, -1.0152652792,
            4.218463358204948e-1, -2.820767439740514e-1, 5.641895067754075e-1)  # fmt: skip


def erfc(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    c = e.select(e.compare("ogt", a, 12.0), 12.0, e.select(e.compare("olt", a, 1.0), 1.0, a))
    # exp(-c^2) from a square without rounding and a small rest.
    high = e.float(e.iand(e.bits(c), SPLIT_MASK))
    square = e.mul(high, high)
    rest = e.mul(e.sub(c, high), e.add(c, high))
    power = e.mul(float32.exp(e, e.neg(square)), float32.exp(e, e.neg(rest)))
    q = e.div(1.0, c)
    z = e.mul(q, q)
    p = e.select(e.compare("olt", c, 2.0), e.poly(z, ERFC_MIDDLE), e.poly(z, ERFC_FAR))
    tail = e.mul(e.mul(power, q), p)
    tail = e.select(e.compare("olt", x, 0.0), e.sub(2.0, tail), tail)
    near = e.sub(1.0, float32.erf(e, x))
    result = e.select(e.compare("ogt", a, 1.0), tail, near)
    return e.select(e.is_nan(x), x, result)


# -- powers -----------------------------------------------------------------------------------------------


def _two_product(e: Emit, a: Value, b: Value) -> tuple[Value, Value]:
    """Product and its exact error."""
    p = e.mul(a, b)
    if e.fma_available:
        return p, e.fma(a, b, e.neg(p))
    ah, bh = (e.float(e.iand(e.bits(x), SPLIT_MASK)) for x in (a, b))
    al, bl = e.sub(a, ah), e.sub(b, bh)
    error = e.sub(e.mul(ah, bh), p)
    return p, e.add(e.add(e.add(error, e.mul(ah, bl)), e.mul(al, bh)), e.mul(al, bl))


def _sum(e: Emit, a: Value, b: Value) -> tuple[Value, Value]:
    s = e.add(a, b)
    t = e.sub(s, a)
    return s, e.add(e.sub(a, e.sub(s, t)), e.sub(b, t))


def _log2_pair(e: Emit, x: Value) -> tuple[Value, Value]:
    """log2 x (x > 0, finite) as high + low, to about 2^-31 relative."""
    tiny = e.compare("olt", x, float32.SMALLEST_NORMAL)
    scaled = e.select(tiny, e.mul(x, 8388608.0), x)
    bits = e.isub(e.bits(scaled), 0x3F3504F3)
    k = e.to_float(e.sar(bits, 23), f32)
    k = e.select(tiny, e.sub(k, 23.0), k)
    m = e.float(e.iadd(e.iand(bits, 0x007FFFFF), 0x3F3504F3))
    # log m = 2 atanh(s), s = (m - 1) / (m + 1) in two parts.
    f = e.sub(m, 1.0)
    d = e.add(m, 1.0)
    d_low = e.sub(m, e.sub(d, 1.0))
    s = e.div(f, d)
    p, p_low = _two_product(e, s, d)
    s_low = e.div(e.sub(e.sub(e.sub(f, p), p_low), e.mul(s, d_low)), d)
    z = e.mul(s, s)
    tail = e.mul(e.mul(z, s), e.poly(z, (2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3)))
    high, low = _sum(e, e.mul(s, 2.0), e.add(tail, e.mul(s_low, 2.0)))
    t, t_low = _two_product(e, high, e.value(1.44269502162933349609, x))
    t_low = e.add(t_low, e.add(e.mul(high, 1.92596299112661746887e-8), e.mul(low, 1.44269502162933349609)))
    total, error = _sum(e, k, t)
    return _sum(e, total, e.add(error, t_low))


def power_of_finite(e: Emit, x: Value, y: Value) -> Value:
    """x^y for finite x > 0; y is clamped where the result is 0 or infinite long before."""
    high, low = _log2_pair(e, x)
    y = e.clamp(y, -8.0e9, 8.0e9)
    t, t_low = _two_product(e, y, high)
    t_low = e.add(t_low, e.mul(y, low))
    beyond = e.compare("ogt", e.abs(t), 200.0)
    t_low = e.select(beyond, 0.0, t_low)
    t = e.clamp(t, -160.0, 140.0)
    shifted = e.add(t, float32.MAGIC)
    r = e.mul(e.add(e.sub(t, e.sub(shifted, float32.MAGIC)), t_low), LN2)
    p = e.poly(r, float32.EXP)
    p = e.add(e.fma(p, e.mul(r, r), r), 1.0)
    return float32.scale(e, p, e.isub(e.bits(shifted), float32.MAGIC_BITS))


UNARY = {
    "math.acos": acos, "math.acosh": acosh, "math.asin": asin, "math.asinh": asinh, "math.atan": atan,
    "math.atanh": atanh, "math.cbrt": cbrt, "math.cos": cos, "math.cosh": cosh, "math.erfc": erfc,
    "math.log10": log10, "math.log1p": log1p, "math.log2": log2, "math.sin": sin, "math.sinh": sinh,
    "math.tan": tan,
}  # fmt: skip
"""Instead of those that ``legalize.kernel`` computes in double."""

__all__ = ["UNARY", "atan2", "power_of_finite"]
