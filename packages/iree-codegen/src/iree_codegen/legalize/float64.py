"""Double-precision functions, and single-precision ones computed in double.

The algorithms and coefficients are those of fdlibm (Sun Microsystems, 1993; freely usable), written
without branches: every interval is computed and the right one selected. Errors are about 1 ulp; as f32
functions they are correctly rounded but for rare ties.
"""

from __future__ import annotations

from iree_codegen.legalize.emit import Emit
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f64

MAGIC = 6755399441055744.0
"""1.5 * 2^52."""
MAGIC_BITS = 0x4338000000000000
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
INFINITY = float("inf")
SMALLEST_NORMAL = 2.2250738585072014e-308


def power_of_two(e: Emit, n: Value) -> Value:
    return e.float(e.shl(e.iadd(n, 1023), 52))


def scale(e: Emit, p: Value, n: Value) -> Value:
    half = e.sar(n, 1)
    return e.mul(e.mul(p, power_of_two(e, half)), power_of_two(e, e.isub(n, half)))


def _reduce(e: Emit, x: Value) -> tuple[Value, Value, Value]:
    """x = n * ln2 + (high - low): (n as i64, high, low)."""
    shifted = e.add(e.mul(x, 1.44269504088896338700e00), MAGIC)
    n = e.sub(shifted, MAGIC)
    high = e.sub(x, e.mul(n, LN2_HIGH))
    return e.isub(e.bits(shifted), MAGIC_BITS), high, e.mul(n, LN2_LOW)


EXP = (4.13813679705723846039e-08, -1.65339022054652515390e-06, 6.61375632143793436117e-05,
       -2.77777777770155933842e-03, 1.66666666666666019037e-01)  # fmt: skip


def exp_reduced(e: Emit, high: Value, low: Value) -> Value:
    """exp(high - low) for small arguments."""
    r = e.sub(high, low)
    t = e.mul(r, r)
    c = e.sub(r, e.mul(t, e.poly(t, EXP)))
    return e.sub(1.0, e.sub(e.sub(low, e.div(e.mul(r, c), e.sub(2.0, c))), high))


def exp(e: Emit, x: Value) -> Value:
    n, high, low = _reduce(e, e.clamp(x, -800.0, 720.0))
    return scale(e, exp_reduced(e, high, low), n)


def exp2(e: Emit, x: Value) -> Value:
    c = e.clamp(x, -1200.0, 1100.0)
    shifted = e.add(c, MAGIC)
    r = e.sub(c, e.sub(shifted, MAGIC))
    high = e.mul(r, LN2_HIGH)
    low = e.neg(e.mul(r, LN2_LOW))
    # r * LN2_HIGH is inexact: its error goes to the low part.
    if e.fma_available:
        low = e.sub(low, e.fma(r, LN2_HIGH, e.neg(high)))
    return scale(e, exp_reduced(e, high, low), e.isub(e.bits(shifted), MAGIC_BITS))


EXPM1 = (-2.01099218183624371326e-07, 4.00821782732936239552e-06, -7.93650757867487942473e-05,
         1.58730158725481460165e-03, -3.33333333333331316428e-02, 1.0)  # fmt: skip


def expm1(e: Emit, x: Value) -> Value:
    c = e.clamp(x, -40.0, 710.5)
    n, high, low = _reduce(e, c)
    r = e.sub(high, low)
    error = e.sub(e.sub(high, r), low)
    half = e.mul(r, 0.5)
    square = e.mul(r, half)
    r1 = e.poly(square, EXPM1)
    t = e.sub(3.0, e.mul(r1, half))
    q = e.mul(square, e.div(e.sub(r1, t), e.sub(6.0, e.mul(r, t))))
    q = e.sub(e.sub(e.mul(r, e.sub(q, error)), error), square)
    p = e.sub(r, q)
    # 2^n * p + (2^n - 1), with halves against overflow.
    h = power_of_two(e, e.isub(n, 1))
    large = e.mul(e.add(e.mul(p, h), e.sub(h, 0.5)), 2.0)
    result = e.select(e.icompare("eq", n, 0), p, large)
    return e.select(e.compare("olt", e.abs(x), 1.0e-18), x, result)


LOG = (1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
       2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
       6.666666666666735130e-01)  # fmt: skip


def _split_log(e: Emit, x: Value) -> tuple[Value, Value]:
    """x = 2^k * (1 + f): (k, f)."""
    tiny = e.compare("olt", x, SMALLEST_NORMAL)
    scaled = e.select(tiny, e.mul(x, 18014398509481984.0), x)
    bits = e.isub(e.bits(scaled), 0x3FE6A09E667F3BCD)
    k = e.to_float(e.sar(bits, 52), f64)
    k = e.select(tiny, e.sub(k, 54.0), k)
    return k, e.sub(e.float(e.iadd(e.iand(bits, 0x000FFFFFFFFFFFFF), 0x3FE6A09E667F3BCD)), 1.0)


def _log_tail(e: Emit, f: Value) -> tuple[Value, Value]:
    """(f*f/2, s*(f*f/2 + R)): log(1 + f) = f - (first - second)."""
    s = e.div(f, e.add(f, 2.0))
    z = e.mul(s, s)
    r = e.mul(z, e.poly(z, LOG))
    half_square = e.mul(e.mul(f, f), 0.5)
    return half_square, e.mul(s, e.add(half_square, r))


def log_specials(e: Emit, x: Value, result: Value) -> Value:
    result = e.select(e.compare("oeq", x, INFINITY), INFINITY, result)
    result = e.select(e.compare("oeq", x, 0.0), -INFINITY, result)
    result = e.select(e.compare("olt", x, 0.0), float("nan"), result)
    return e.select(e.is_nan(x), x, result)


def _log_finite(e: Emit, x: Value, correction: Value | None = None) -> Value:
    k, f = _split_log(e, x)
    half_square, tail = _log_tail(e, f)
    low = e.add(tail, e.mul(k, LN2_LOW))
    if correction is not None:
        low = e.add(low, correction)
    return e.sub(e.mul(k, LN2_HIGH), e.sub(e.sub(half_square, low), f))


def log(e: Emit, x: Value) -> Value:
    return log_specials(e, x, _log_finite(e, x))


def log1p(e: Emit, x: Value) -> Value:
    u = e.add(x, 1.0)
    # What the sum lost, relative to u; nothing for large x.
    c = e.select(e.compare("oge", x, 1.0), e.sub(1.0, e.sub(u, x)), e.sub(x, e.sub(u, 1.0)))
    correction = e.select(e.compare("olt", u, 1.0e300), e.div(c, u), 0.0)
    result = log_specials(e, u, _log_finite(e, u, correction))
    return e.select(e.compare("olt", e.abs(x), 1.0e-17), x, result)


def _log_base(e: Emit, x: Value, high: float, low: float, k_high: float, k_low: float) -> Value:
    """log(x) / log(base): the high part of log(1 + f) is cut to 32 bits so that products are exact."""
    k, f = _split_log(e, x)
    half_square, tail = _log_tail(e, f)
    h = e.sub(f, half_square)
    h = e.float(e.iand(e.bits(h), -0x100000000))
    rest = e.add(e.sub(e.sub(f, h), half_square), tail)
    value = e.mul(h, high)
    y = e.mul(k, k_high)
    small = e.add(e.mul(k, k_low), e.add(e.mul(e.add(rest, h), low), e.mul(rest, high)))
    total = e.add(y, value)
    small = e.add(small, e.add(e.sub(y, total), value))
    return log_specials(e, x, e.add(small, total))


def log2(e: Emit, x: Value) -> Value:
    return _log_base(e, x, 1.44269504072144627571e00, 1.67517131648865118353e-10, 1.0, 0.0)


def log10(e: Emit, x: Value) -> Value:
    return _log_base(
        e,
        x,
        4.34294481878168880939e-01,
        2.50829467116452752298e-11,
        3.01029995663611771306e-01,
        3.69423907715893078616e-13,
    )


def sinh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    t = expm1(e, e.select(e.compare("ogt", a, 22.0), 22.0, a))
    small = e.mul(e.add(t, e.div(t, e.add(t, 1.0))), 0.5)
    w = exp(e, e.mul(a, 0.5))
    large = e.mul(e.mul(w, 0.5), w)
    result = e.copysign(e.select(e.compare("ogt", a, 22.0), large, small), x)
    return e.select(e.compare("olt", a, 1.0e-9), x, result)


def cosh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    w = exp(e, e.mul(a, 0.5))
    large = e.mul(e.mul(w, 0.5), w)
    t = exp(e, e.select(e.compare("ogt", a, 22.0), 22.0, a))
    small = e.add(e.mul(t, 0.5), e.div(0.5, t))
    return e.select(e.compare("ogt", a, 22.0), large, small)


def tanh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    c = e.select(e.compare("ogt", a, 22.0), 22.0, a)
    t = expm1(e, e.add(c, c))
    result = e.copysign(e.div(t, e.add(t, 2.0)), x)
    return e.select(e.compare("olt", a, 1.0e-9), x, result)


def asinh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    square = e.mul(a, a)
    small = log1p(e, e.add(a, e.div(square, e.add(e.sqrt(e.add(square, 1.0)), 1.0))))
    large = e.add(log(e, a), 6.93147180559945286227e-01)
    result = e.copysign(e.select(e.compare("ogt", a, 268435456.0), large, small), x)
    return e.select(e.compare("olt", a, 1.0e-9), x, result)


def acosh(e: Emit, x: Value) -> Value:
    t = e.sub(x, 1.0)
    small = log1p(e, e.add(t, e.sqrt(e.fma(t, t, e.add(t, t)))))
    large = e.add(log(e, x), 6.93147180559945286227e-01)
    result = e.select(e.compare("ogt", x, 268435456.0), large, small)
    return e.select(e.compare("olt", x, 1.0), float("nan"), result)


def atanh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    t = e.mul(log1p(e, e.div(e.add(a, a), e.sub(1.0, a))), 0.5)
    result = e.copysign(t, x)
    result = e.select(e.compare("ogt", a, 1.0), float("nan"), result)
    return e.select(e.compare("olt", a, 1.0e-9), x, result)


def cbrt(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    t = exp(e, e.div(log(e, a), 3.0))
    t = e.sub(t, e.div(e.sub(t, e.div(a, e.mul(t, t))), 3.0))
    special = e.compare("oeq", e.sub(x, x), 0.0)  # finite
    zero = e.compare("oeq", x, 0.0)
    result = e.select(special, e.copysign(t, x), x)
    return e.select(zero, x, result)


def rsqrt(e: Emit, x: Value) -> Value:
    return e.div(1.0, e.sqrt(x))
