"""Float arithmetic in numpy, for every float type, rounded once per op.

f16, bf16 and 8-bit floats compute in f32 and round back: for ``+ - * / sqrt`` 24 bits are enough that
rounding twice equals rounding once (Figueroa, "When is double rounding innocuous?", 1995). Functions
compute in f64. Where double rounding would show (fma, f64 or wide integers to bf16) the intermediate
value is rounded to odd (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.ir.attributes import Type

Array = Any
"""A numpy array or scalar."""

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


class FloatFormat:
    """How values of a float type are held (``dtype``) and computed with (``wide``: f32 or f64)."""

    def __init__(self, type: Type) -> None:
        self.name = str(type)
        self.dtype = element_type(self.name).dtype
        self.wide = F64 if self.dtype == F64 else F32

    @functools.cached_property
    def smallest_normal(self) -> float:
        """The smallest positive number that is not denormal."""
        if self.dtype.kind == "f":
            return float(np.finfo(self.dtype).smallest_normal)
        import ml_dtypes

        limits: Any = ml_dtypes.finfo
        return float(limits(self.dtype).smallest_normal)

    def widen(self, value: Array) -> Array:
        """Exactly, in ``wide``."""
        array = np.asarray(value)
        return array if array.dtype == self.wide else array.astype(self.wide)

    def widest(self, value: Array) -> Array:
        """Exactly, in f64."""
        array = np.asarray(value)
        return array if array.dtype == F64 else array.astype(F64)

    def narrow(self, value: Array) -> Array:
        """A result of ``wide`` or f64 arithmetic rounded to the type, to nearest even, once."""
        value = np.asarray(value)
        if value.dtype == self.dtype:
            return value
        if value.dtype == F64 and self.dtype not in (F32, np.dtype(np.float16)):
            value = to_f32_odd(value)
        return value.astype(self.dtype)


@functools.cache
def float_format(type: Type) -> FloatFormat:
    """The format of a float type. Raises PluginError 5 for one without a dtype."""
    return FloatFormat(type)


def to_f32_odd(value: Array) -> Array:
    """f64 to f32, rounded to odd: inexact results end in a 1 bit, so a later rounding sees them."""
    value = np.asarray(value)
    nearest = value.astype(F32)
    back = nearest.astype(F64)
    # Rounding to odd truncates: step back to zero where nearest went away from it, then set the last bit.
    away = (np.abs(back) > np.abs(value)).astype(np.uint32)
    inexact = (back != value) & ~np.isnan(value)
    bits = nearest.view(np.uint32) - away
    return np.where(inexact, bits | np.uint32(1), bits).astype(np.uint32).view(F32)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Sum and its exact rounding error."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def _odd(total: Array, error: Array) -> Array:
    """``total + error`` (a rounded sum and its error) rounded to odd instead of to nearest."""
    total = np.asarray(total)
    even = (total.view(np.uint64) & np.uint64(1)) == 0
    step = even & (error != 0) & np.isfinite(total)
    return np.where(step, np.nextafter(total, np.where(error > 0, np.inf, -np.inf)), total)


def fma_f64(a: Array, b: Array, c: Array) -> Array:
    """a * b + c in f64 with one rounding."""
    a, b, c = np.broadcast_arrays(a, b, c)
    split = 134217729.0  # 2^27 + 1
    product = a * b
    a_high = a * split - (a * split - a)
    b_high = b * split - (b * split - b)
    a_low, b_low = a - a_high, b - b_high
    low = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    t_high, t_low = _two_sum(c, low)
    v_high, v_low = _two_sum(product, t_high)
    z = _odd(*_two_sum(t_low, v_low))
    result = np.asarray(v_high + z)
    # The error terms are exact only away from the ends of the exponent range; there: exact rationals.
    # Infinities and NaN need no error terms.
    factors = np.isfinite(a) & np.isfinite(b)
    finite = factors & np.isfinite(c)
    # A product of finite numbers is finite however large: an infinite c decides alone.
    result = np.where(finite, result, np.where(factors, c, product + c))
    exponents = [np.frexp(x)[1] for x in (a, b, c)]
    product_exponent = exponents[0] + exponents[1]
    nonzero = (a != 0) & (b != 0)
    narrow_range = nonzero & (
        (product_exponent < -900)
        | (product_exponent > 1000)
        | (np.maximum(exponents[0], exponents[1]) > 990)
        | (exponents[2] > 1000)
    )
    edge = finite & narrow_range
    if edge.any():
        result = np.array(result)
        for where in np.argwhere(edge):
            i = tuple(where)
            result[i] = _fma_exact(float(a[i]), float(b[i]), float(c[i]))
    return np.where(finite & ~nonzero, product + c, result)


def _fma_exact(a: float, b: float, c: float) -> float:
    from fractions import Fraction

    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


HALFWAY, BELOW_F32 = np.uint64(1 << 28), np.uint64((1 << 29) - 1)
"""The bits of an f64 that an f32 has no room for, and what they are halfway between two f32."""
F32_NORMAL = np.finfo(F32).smallest_normal


def _fma_f32(a: Array, b: Array, c: Array) -> Array | None:
    """a * b + c in f32 where rounding the sum to f64 first cannot show; None where it might.

    It shows only when the f64 lies halfway between two f32, or between two denormal ones.
    """
    total = np.multiply(a, b, dtype=F64) + c
    nearest = total.astype(F32)
    doubtful = (total.view(np.uint64) & BELOW_F32) == HALFWAY
    doubtful |= (np.abs(nearest) <= F32_NORMAL) & (total != 0)
    return None if doubtful.any() else nearest


def fma(f: FloatFormat, a: Array, b: Array, c: Array) -> Array:
    """a * b + c rounded once to the type."""
    if f.dtype == F32:
        nearest = _fma_f32(a, b, c)
        if nearest is not None:
            return nearest
    a, b, c = f.widest(a), f.widest(b), f.widest(c)
    if f.dtype == F64:
        return fma_f64(a, b, c)
    # The product of two floats of at most 24 bits is exact in f64.
    return f.narrow(_odd(*_two_sum_finite(a * b, c)))


def _two_sum_finite(a: Array, b: Array) -> tuple[Array, Array]:
    total, error = _two_sum(a, b)
    return total, np.where(np.isfinite(total), error, 0.0)


def _zero_aware(choose: Callable[[Array, Array], Array], is_max: bool) -> Callable[[Array, Array], Array]:
    """``choose`` (a numpy minimum or maximum) with -0.0 below +0.0."""

    def kernel(a: Array, b: Array) -> Array:
        zeros = (a == 0) & (b == 0)
        zero = a + b if is_max else -((-a) + (-b))
        return np.where(zeros, zero, choose(a, b))

    return kernel


maximum = _zero_aware(np.maximum, True)
minimum = _zero_aware(np.minimum, False)

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "rem": np.fmod,
    "maximum": maximum,
    "minimum": minimum,
    "maxnum": _zero_aware(np.fmax, True),
    "minnum": _zero_aware(np.fmin, False),
    "copysign": np.copysign,
}
"""Name -> kernel in the wide type; the result is rounded to the type."""


def round_half_away(x: Array) -> Array:
    """Nearest integer, halves away from zero."""
    truncated = np.trunc(x)
    # x - trunc(x) is exact, so the comparison with 0.5 is too (x + 0.5 would round 0.49999999999999994 up).
    up = np.abs(x - truncated) >= 0.5
    return np.copysign(np.where(up, truncated + np.copysign(1.0, x), truncated), x)


_erf: Any = np.frompyfunc(math.erf, 1, 1)
_erfc: Any = np.frompyfunc(math.erfc, 1, 1)

UNARY: dict[str, Callable[[Array], Array]] = {
    "absf": np.abs,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "cbrt": np.cbrt,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": lambda x: np.asarray(_erf(x), F64),
    "erfc": lambda x: np.asarray(_erfc(x), F64),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": round_half_away,
    "roundeven": np.rint,
    "trunc": np.trunc,
}
"""Name -> kernel in f64; the result is rounded to the type."""


def power_integer(base: Array, exponent: Array) -> Array:
    """f64 to a 64-bit integer power; the sign is taken from the exponent's exact parity."""
    magnitude = np.power(np.abs(base), exponent.astype(F64))
    odd = (exponent & 1) != 0
    return np.where(odd, np.copysign(magnitude, base), magnitude)


_ORDERED: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "ne": lambda a, b: (a < b) | (a > b),
}


def compare(predicate: str, a: Array, b: Array) -> Array:
    """``arith.cmpf`` on arrays of f32 or f64."""
    if predicate in ("false", "true"):
        return np.full(np.broadcast_shapes(a.shape, b.shape), predicate == "true")
    unordered = np.isnan(a) | np.isnan(b)
    if predicate == "ord":
        return ~unordered
    if predicate == "uno":
        return unordered
    ordered = _ORDERED[predicate[1:]](a, b)
    return ordered if predicate[0] == "o" else ordered | unordered


def to_integer(value: Array, width: int, signed: bool) -> Array:
    """f64 to a 64-bit integer array: rounded to zero, saturating at ``width`` bits, NaN to 0."""
    low = -(1 << (width - 1)) if signed else 0
    high = (1 << (width - 1)) - 1 if signed else (1 << width) - 1
    dtype = np.dtype(np.int64 if signed else np.uint64)
    truncated = np.trunc(np.where(np.isnan(value), 0.0, value))
    # float(high) may round up to high + 1, which is the first value too large.
    over, under = truncated >= float(high), truncated <= float(low)
    inside = np.where(over | under, 0.0, truncated).astype(dtype)
    return np.where(over, dtype.type(high), np.where(under, dtype.type(low), inside))


def from_integer(f: FloatFormat, value: Array) -> Array:
    """A 64-bit signed or unsigned integer array to the float type, rounded once."""
    if f.dtype in (F32, F64):
        return value.astype(f.dtype)
    negative = value < 0
    magnitude = np.where(negative, np.uint64(0) - value.view(np.uint64), value.view(np.uint64))
    # To 53 bits, rounded to odd: the 11 bits an f64 cannot hold collapse into the last one kept.
    lost = (magnitude & np.uint64(0x7FF)) != 0
    kept = (magnitude & ~np.uint64(0x7FF)) | np.where(lost, np.uint64(0x800), np.uint64(0))
    exact = np.where(magnitude >> np.uint64(53) != 0, kept, magnitude).astype(F64)
    return f.narrow(np.where(negative, -exact, exact))
