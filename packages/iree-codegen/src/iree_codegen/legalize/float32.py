"""Single-precision functions that models use everywhere, in f32 arithmetic alone.

exp: range reduction by ln 2 in two parts (Cody and Waite), degree-6 polynomial. erf: two minimax forms
(after N. Juffa). log: Cephes ``logf``. tanh: Cephes for small arguments, else through exp. Errors are at
most about 1 ulp (tests measure them); special values and signs follow IEEE 754.
"""

from __future__ import annotations

from iree_codegen.legalize.emit import Emit
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, i32

MAGIC = 12582912.0
"""1.5 * 2^23: adding it rounds to an integer that then stands in the low bits."""
MAGIC_BITS = 0x4B400000
LOG2E = 1.44269504088896341
LN2_HIGH = 0.693145751953125
LN2_LOW = 1.42860682030941723212e-6
EXP = (0.000198527617612853646278381, 0.00139304355252534151077271, 0.00833336077630519866943359375,
       0.0416664853692054748535156, 0.16666667163372039794921875, 0.5)  # fmt: skip
LEAST_EXP, GREATEST_EXP = -87.33654022216797, 88.72283172607422
"""Arguments between which exp is normal."""
SMALLEST_NORMAL = 1.1754943508222875e-38


def reduce_exp(e: Emit, x: Value) -> tuple[Value, Value]:
    """x = n * ln2 + r with |r| <= ln2/2: (n as i32, r)."""
    shifted = e.fma(x, LOG2E, MAGIC)
    n_float = e.sub(shifted, MAGIC)
    r = e.fma(n_float, -LN2_HIGH, x)
    r = e.fma(n_float, -LN2_LOW, r)
    return e.isub(e.bits(shifted), MAGIC_BITS), r


def power_of_two(e: Emit, n: Value) -> Value:
    """2^n for -126 <= n <= 127."""
    return e.float(e.shl(e.iadd(n, 127), 23))


def scale(e: Emit, p: Value, n: Value) -> Value:
    """p * 2^n for |n| <= 252, in two steps so that the ends of the range round once."""
    half = e.sar(n, 1)
    return e.mul(e.mul(p, power_of_two(e, half)), power_of_two(e, e.isub(n, half)))


def _exp_of(e: Emit, r: Value) -> Value:
    """exp of |r| <= ln2/2."""
    return e.add(e.fma(e.poly(r, EXP), e.mul(r, r), r), 1.0)


def _exp_kernel(e: Emit, x: Value) -> Value:
    """exp of -87 <= x <= 88 (NaN stays)."""
    n, r = reduce_exp(e, x)
    return e.mul(_exp_of(e, r), power_of_two(e, n))


def exp(e: Emit, x: Value) -> Value:
    """Results that are denormal are 0, as denormals are everywhere."""
    n, r = reduce_exp(e, x)
    # From the least to the greatest result that is normal, n is added to an exponent that can take it.
    result = e.float(e.iadd(e.bits(_exp_of(e, r)), e.shl(n, 23)))
    result = e.select(e.compare("olt", x, LEAST_EXP), 0.0, result)
    return e.select(e.compare("ole", x, GREATEST_EXP), result, e.add(x, float("inf")))


def exp2(e: Emit, x: Value) -> Value:
    x = e.clamp(x, -160.0, 140.0)
    shifted = e.add(x, MAGIC)
    r = e.mul(e.sub(x, e.sub(shifted, MAGIC)), 0.69314718055994530942)
    p = e.poly(r, EXP)
    p = e.add(e.fma(p, e.mul(r, r), r), 1.0)
    return scale(e, p, e.isub(e.bits(shifted), MAGIC_BITS))


def expm1(e: Emit, x: Value) -> Value:
    """2^n * (e^r - 1) + (2^n - 1), with halves against overflow."""
    c = e.clamp(x, -20.0, 89.0)
    n, r = reduce_exp(e, c)
    p = e.fma(e.poly(r, EXP), e.mul(r, r), r)
    half = power_of_two(e, e.isub(n, 1))
    result = e.mul(e.fma(p, half, e.sub(half, 0.5)), 2.0)
    # Keeps -0 and tiny arguments as they are.
    return e.select(e.compare("olt", e.abs(x), 1.0e-10), x, result)


def _split_log(e: Emit, x: Value) -> tuple[Value, Value, Value]:
    """x = 2^k * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2): (k as float, f, polynomial part of log(1 + f))."""
    tiny = e.compare("olt", x, SMALLEST_NORMAL)
    scaled = e.select(tiny, e.mul(x, 8388608.0), x)
    bits = e.isub(e.bits(scaled), 0x3F3504F3)
    k = e.to_float(e.sar(bits, 23), f32)
    k = e.select(tiny, e.sub(k, 23.0), k)
    f = e.sub(e.float(e.iadd(e.iand(bits, 0x007FFFFF), 0x3F3504F3)), 1.0)
    p = e.poly(
        f,
        (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
         -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )  # fmt: skip
    z = e.mul(f, f)
    return k, f, e.mul(p, e.mul(f, z))


def log_specials(e: Emit, x: Value, result: Value) -> Value:
    """log of 0, negative, infinite and NaN arguments."""
    infinity = float("inf")
    result = e.select(e.compare("oeq", x, infinity), infinity, result)
    result = e.select(e.compare("oeq", x, 0.0), -infinity, result)
    result = e.select(e.compare("olt", x, 0.0), float("nan"), result)
    return e.select(e.is_nan(x), x, result)


def log(e: Emit, x: Value) -> Value:
    k, f, y = _split_log(e, x)
    z = e.mul(f, f)
    y = e.fma(k, -2.12194440e-4, y)
    y = e.fma(z, -0.5, y)
    return log_specials(e, x, e.fma(k, 0.693359375, e.add(f, y)))


def erf(e: Emit, a: Value) -> Value:
    t = e.abs(a)
    q = e.mul(a, a)
    t = e.select(e.compare("ogt", t, 4.0), 4.0, t)
    tt = e.mul(t, t)
    r = e.fma(t, -1.72853470e-5, 3.83197126e-4)
    u = e.fma(t, -3.88396438e-3, 2.42546219e-2)
    r = e.fma(r, tt, u)
    for c in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        r = e.fma(r, t, c)
    r = e.fma(r, t, e.neg(t))
    big = e.copysign(e.sub(1.0, _exp_kernel(e, r)), a)
    p = e.poly(
        q, (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
    )
    small = e.fma(p, a, a)
    return e.select(e.compare("ogt", t, 0.921875), big, small)


def tanh(e: Emit, x: Value) -> Value:
    a = e.abs(x)
    c = e.select(e.compare("ogt", a, 10.0), 10.0, a)
    d = e.add(_exp_kernel(e, e.add(c, c)), 1.0)
    big = e.copysign(e.sub(1.0, e.div(2.0, d)), x)
    z = e.mul(x, x)
    p = e.poly(
        z, (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
    )
    small = e.fma(p, e.mul(z, x), x)
    return e.select(e.compare("ogt", a, 0.625), big, small)


def rsqrt(e: Emit, x: Value) -> Value:
    return e.div(1.0, e.sqrt(x))


__all__ = ["erf", "exp", "exp2", "expm1", "i32", "log", "rsqrt", "tanh"]
