"""Trigonometric functions and their inverses in double precision (fdlibm's kernels), for f64 and f32.

Arguments are reduced by multiples of pi/2: in three parts (Cody and Waite) up to 2^20, beyond by
multiplying with 2/pi to as many bits as the exponent asks for (Payne and Hanek), on integers.
"""

from __future__ import annotations

from iree_codegen.legalize.emit import Emit
from iree_codegen.legalize.float64 import MAGIC, MAGIC_BITS
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f64, i64

PIO2_1 = 1.57079632673412561417e00
PIO2_2 = 6.07710050630396597660e-11
PIO2_3 = 2.02226624871116645580e-21
PIO2_3T = 8.47842766036889956997e-32
PI_HALF = 1.57079632679489655800e00
PI_HALF_LOW = 6.12323399573676603587e-17

SIN = (1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
       -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01)  # fmt: skip
COS = (-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
       2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02)  # fmt: skip


def reduce(e: Emit, x: Value) -> tuple[Value, Value, Value]:
    """x = n * pi/2 + r + low with |r| <= pi/4: (n as i64, r, low); n counts modulo 2^63."""
    small = e.select(e.compare("olt", e.abs(x), 1048576.0), x, 0.0)
    shifted = e.add(e.mul(small, 6.36619772367581382433e-01), MAGIC)
    n_float = e.sub(shifted, MAGIC)
    n = e.isub(e.bits(shifted), MAGIC_BITS)
    # Each product is exact: the parts have 33 bits, n at most 20.
    r = e.sub(small, e.mul(n_float, PIO2_1))
    w = e.mul(n_float, PIO2_2)
    t = e.sub(r, w)
    error = e.sub(e.sub(r, t), w)
    w2 = e.mul(n_float, PIO2_3)
    y = e.sub(t, e.sub(w2, error))
    low = e.sub(e.sub(e.sub(t, y), e.sub(w2, error)), e.mul(n_float, PIO2_3T))
    large = e.compare("uge", e.abs(x), 1048576.0)

    def beyond() -> list[Value]:
        big_n, big_r = _reduce_large(e, x)
        return [e.select(large, big_n, n), e.select(large, big_r, y), e.select(large, 0.0, low)]

    n, y, low = e.if_any(large, beyond, [n, y, low])
    return n, y, low


TWO_OVER_PI = int(
    "A2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561B7246E3A424DD2E006492EEA09D1921CFE1DEB1C"
    "B129A73EE88235F52EBB4484E99C7026B45F7E413991D639835339F49C845F8BBDF9283B1FF897FFDE05980FEF2F118B5A0A6D1F"
    "6D367ECF27CB09B74F463F669E5FEA2D7527BAC7EBE5F17B3D0739F78A5292EA6BFB5F8D5D085603",
    16,
)
"""The binary fraction of 2/pi, 1,152 bits."""
N_WORDS = 7
"""Words of 32 bits that decide a reduction: 53 of the mantissa, 61 that may cancel, 53 of the result."""


def _words() -> list[int]:
    """Two zero words, then 2/pi in words of 32 bits."""
    n_bits = 4 * ((TWO_OVER_PI.bit_length() + 3) // 4)
    shifts = range(n_bits - 32, -1, -32)
    return [0, 0, *((TWO_OVER_PI >> shift) & 0xFFFFFFFF for shift in shifts)]


def _window(e: Emit, word: Value, number: int) -> Value:
    """Word ``word + number`` of 2/pi as i64 (``word`` may be -2)."""
    words = _words()
    index = e.iadd(word, number + 2)

    def pick(base: int, level: int) -> Value | int:
        if level == 0:
            return words[base] if base < len(words) else 0
        half = 1 << (level - 1)
        a, b = pick(base, level - 1), pick(base + half, level - 1)
        if isinstance(a, int) and isinstance(b, int) and a == b:
            return a
        bit = e.icompare("ne", e.iand(index, half), 0)
        left = a if isinstance(a, Value) else e.const(a, i64)
        right = b if isinstance(b, Value) else e.const(b, i64)
        return e.select(bit, right, left)

    found = pick(0, 6)
    return found if isinstance(found, Value) else e.const(found, i64)


def _reduce_large(e: Emit, x: Value) -> tuple[Value, Value]:
    """The same for |x| >= 2^20: x * 2/pi modulo 4 from the bits that matter. Non-finite x gives NaN."""
    bits = e.bits(x)
    power = e.isub(e.iand(e.shr(bits, 52), 0x7FF), 1075)
    mantissa = e.ior(e.iand(bits, 0xFFFFFFFFFFFFF), 1 << 52)
    # x = mantissa * 2^power. What words before `word` add is a multiple of 2^10, so of 4.
    word = e.sar(e.isub(power, 10), 5)
    offset = e.isub(power, e.shl(word, 5))
    w = [_window(e, word, i) for i in range(N_WORDS)]
    low, high = e.iand(mantissa, 0xFFFFFFFF), e.shr(mantissa, 32)
    # digits[k]: 32 bits of weight 2^(32 * (k - N_WORDS) + offset) of the product.
    digits: list[Value] = []
    carry = previous = e.const(0, i64)
    for own in reversed(w):
        a = e.binary("arith.muli", own, low)
        b = e.binary("arith.muli", previous, high)
        total = e.iadd(e.iadd(e.iand(a, 0xFFFFFFFF), e.iand(b, 0xFFFFFFFF)), carry)
        digits.append(e.iand(total, 0xFFFFFFFF))
        carry = e.iadd(e.iadd(e.shr(a, 32), e.shr(b, 32)), e.shr(total, 32))
        previous = own
    digits.append(e.iand(e.iadd(carry, e.binary("arith.muli", previous, high)), 0xFFFFFFFF))
    parts = [e.ior(e.shl(digits[k], 32), digits[k - 1]) for k in (N_WORDS, N_WORDS - 2, N_WORDS - 4)]
    # The point is 32 bits below the top; moved up so that the top two bits are the quadrant (40..71 bits).
    left = e.iadd(offset, 30)
    far = e.icompare("sge", left, 64)
    source = [e.select(far, b, a) for a, b in zip(parts, [*parts[1:], e.const(0, i64)], strict=True)]
    left = e.select(far, e.isub(left, 64), left)
    right = e.isub(64, left)
    moved = [
        e.ior(e.shl(a, left), e.shr(b, right))
        for a, b in zip(source, [*source[1:], e.const(0, i64)], strict=True)
    ]
    quadrant = e.shr(moved[0], 62)
    fraction = [
        e.ior(e.shl(a, 2), e.shr(b, 62)) for a, b in zip(moved, [*moved[1:], e.const(0, i64)], strict=True)
    ]
    # A fraction of a half or more counts from the next quadrant: as a signed number it is 1 less.
    quadrant = e.iadd(quadrant, e.shr(fraction[0], 63))
    top = e.iand(fraction[0], -0x100000000)
    rest = e.iand(fraction[0], 0xFFFFFFFF)
    second = e.add(
        e.mul(e.to_float(rest, f64), 1.0),
        e.add(
            e.mul(e.to_float(e.shr(fraction[1], 11), f64), 2.0**-53),
            e.mul(e.to_float(e.shr(fraction[2], 11), f64), 2.0**-117),
        ),
    )
    first = e.to_float(top, f64)
    total_high = e.add(first, second)
    total_low = e.add(e.sub(first, total_high), second)
    unit = 2.0**-64
    r, r_low = e.mul(total_high, unit), e.mul(total_low, unit)
    # r * pi/2 with the product's error.
    product = e.mul(r, PI_HALF)
    correction = e.add(e.mul(r_low, PI_HALF), e.mul(r, PI_HALF_LOW))
    if e.fma_available:
        correction = e.add(correction, e.fma(r, PI_HALF, e.neg(product)))
    value = e.add(product, correction)
    negative = e.icompare("slt", bits, 0)
    n = e.select(negative, e.isub(0, quadrant), quadrant)
    value = e.select(negative, e.neg(value), value)
    return n, e.select(e.compare("olt", e.abs(x), float("inf")), value, float("nan"))


def _kernel_sin(e: Emit, r: Value, low: Value) -> Value:
    z = e.mul(r, r)
    v = e.mul(z, r)
    p = e.poly(z, SIN[:-1])
    return e.sub(r, e.sub(e.sub(e.mul(z, e.sub(e.mul(low, 0.5), e.mul(v, p))), low), e.mul(v, SIN[-1])))


def _kernel_cos(e: Emit, r: Value, low: Value) -> Value:
    z = e.mul(r, r)
    p = e.mul(z, e.poly(z, COS))
    half = e.mul(z, 0.5)
    w = e.sub(1.0, half)
    return e.add(w, e.add(e.sub(e.sub(1.0, w), half), e.sub(e.mul(z, p), e.mul(r, low))))


def sin_cos(e: Emit, x: Value) -> tuple[Value, Value]:
    n, r, low = reduce(e, x)
    s, c = _kernel_sin(e, r, low), _kernel_cos(e, r, low)
    odd = e.icompare("ne", e.iand(n, 1), 0)
    sine = e.select(odd, c, s)
    cosine = e.select(odd, s, c)
    sine_sign = e.shl(e.iand(n, 2), 62)
    cosine_sign = e.shl(e.iand(e.iadd(n, 1), 2), 62)
    sine = e.float(e.xor(e.bits(sine), sine_sign))
    cosine = e.float(e.xor(e.bits(cosine), cosine_sign))
    tiny = e.compare("olt", e.abs(x), 1.0e-9)
    return e.select(tiny, x, sine), cosine


def sin(e: Emit, x: Value) -> Value:
    return sin_cos(e, x)[0]


def cos(e: Emit, x: Value) -> Value:
    return sin_cos(e, x)[1]


def tan(e: Emit, x: Value) -> Value:
    s, c = sin_cos(e, x)
    return e.select(e.compare("olt", e.abs(x), 1.0e-9), x, e.div(s, c))


ATAN = (1.62858201153657823623e-02, -3.65315727442169155270e-02, 4.97687799461593236017e-02,
        -5.83357013379057348645e-02, 6.66107313738753120669e-02, -7.69187620504482999495e-02,
        9.09088713343650656196e-02, -1.11111104054623557880e-01, 1.42857142725034663711e-01,
        -1.99999999998764832476e-01, 3.33333333333329318027e-01)  # fmt: skip
ATAN_STEPS = (
    (0.4375, 4.63647609000806093515e-01, 2.26987774529616870924e-17),
    (0.6875, 7.85398163397448278999e-01, 3.06161699786838301793e-17),
    (1.1875, 9.82793723247329054082e-01, 1.39033110312309984516e-17),
    (2.4375, 1.57079632679489655800e00, 6.12323399573676603587e-17),
)
"""(from |x|, atan of the centre: high, low)."""


def atan(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    numerators = (
        e.sub(e.add(a, a), 1.0),
        e.sub(a, 1.0),
        e.sub(a, 1.5),
        e.value(-1.0, a),
    )
    denominators = (e.add(a, 2.0), e.add(a, 1.0), e.add(e.mul(a, 1.5), 1.0), a)
    numerator, denominator = a, e.value(1.0, a)
    high, low = e.value(0.0, a), e.value(0.0, a)
    for (start, own_high, own_low), own_n, own_d in zip(ATAN_STEPS, numerators, denominators, strict=True):
        beyond = e.compare("oge", a, start)
        numerator, denominator = e.select(beyond, own_n, numerator), e.select(beyond, own_d, denominator)
        high, low = e.select(beyond, own_high, high), e.select(beyond, own_low, low)
    t = e.div(numerator, denominator)
    z = e.mul(t, t)
    s = e.mul(z, e.poly(z, ATAN))
    result = e.sub(high, e.sub(e.sub(e.mul(t, s), low), t))
    result = e.copysign(result, x)
    result = e.select(e.compare("olt", a, 1.0e-9), x, result)
    return e.select(e.is_nan(x), x, result)


def atan2(e: Emit, y: Value, x: Value) -> Value:
    a, b = e.abs(y), e.abs(x)
    both_infinite = e.binary(
        "arith.andi", e.compare("oeq", a, float("inf")), e.compare("oeq", b, float("inf"))
    )
    both_zero = e.binary("arith.andi", e.compare("oeq", a, 0.0), e.compare("oeq", b, 0.0))
    ratio = e.div(a, b)
    ratio = e.select(both_infinite, 1.0, ratio)
    ratio = e.select(both_zero, 0.0, ratio)
    angle = atan(e, ratio)
    negative = e.icompare("slt", e.bits(x), 0)
    angle = e.select(
        negative, e.sub(3.1415926535897931160e00, e.sub(angle, 1.2246467991473531772e-16)), angle
    )
    result = e.copysign(angle, y)
    return e.select(e.compare("uno", y, x), float("nan"), result)


def asin(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    root = e.sqrt(e.mul(e.sub(1.0, a), e.add(a, 1.0)))
    result = atan2(e, x, root)
    result = e.select(e.compare("olt", a, 1.0e-9), x, result)
    return e.select(e.compare("ogt", a, 1.0), float("nan"), result)


def acos(e: Emit, x: Value) -> Value:
    half = atan2(e, e.sqrt(e.sub(1.0, x)), e.sqrt(e.add(x, 1.0)))
    return e.mul(half, 2.0)
