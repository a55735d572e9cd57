"""Scalar arithmetic the op templates call when one Python expression does not say it.

Integers are Python ints in two's-complement range; f32 values are Python floats that are exactly
representable in f32. Nothing here raises for any operand: division by zero gives 0 (remainder 0),
MIN / -1 wraps to MIN, shifts by the width or more give 0 (or the sign), float to integer saturates
with NaN becoming 0. These agree with numpy where numpy defines them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from ctypes import c_float
from typing import Any

import numpy as np

_PAIRS = {
    "i32": (struct.Struct("<i"), struct.Struct("<f")),
    "i64": (struct.Struct("<q"), struct.Struct("<d")),
}
_ERF = math.erf


def f32(value: float) -> float:
    """Round to f32. f64 add, sub, mul, div and sqrt rounded once more are correctly rounded f32."""
    return c_float(value).value


def wrap32(value: int) -> int:
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def wrap64(value: int) -> int:
    return (value + 0x8000000000000000 & 0xFFFFFFFFFFFFFFFF) - 0x8000000000000000


def div_s(a: int, b: int) -> int:
    """Quotient rounded toward zero (not yet wrapped: MIN / -1 leaves the range)."""
    if b == 0:
        return 0
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def rem_s(a: int, b: int) -> int:
    """Remainder with the dividend's sign."""
    if b == 0:
        return 0
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


def div_u(a: int, b: int) -> int:
    return a // b if b else 0


def rem_u(a: int, b: int) -> int:
    return a % b if b else 0


def fdiv(a: float, b: float) -> float:
    try:
        return a / b
    except ZeroDivisionError:
        if a == 0 or a != a:
            return math.nan
        return math.copysign(math.inf, a) * math.copysign(1.0, b)


def frem(a: float, b: float) -> float:
    try:
        return math.fmod(a, b)
    except ValueError:  # infinite dividend or zero divisor
        return math.nan


def fma64(a: float, b: float, c: float) -> float:
    """a * b + c rounded once; exact rationals, since Python 3.11 has no math.fma."""
    product = a * b
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return product + c
    an, ad = a.as_integer_ratio()
    bn, bd = b.as_integer_ratio()
    cn, cd = c.as_integer_ratio()
    numerator = an * bn * cd + cn * ad * bd
    if numerator == 0:
        return product + c  # the signed-zero rules of one addition
    try:
        return numerator / (ad * bd * cd)  # int / int is correctly rounded
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def fma32(a: float, b: float, c: float) -> float:
    """f32 fma: the product is exact in f64; round-to-odd on the sum avoids double rounding."""
    product = a * b
    total = product + c
    if not math.isfinite(total):
        return f32(total)
    bb = total - product
    error = (product - (total - bb)) + (c - bb)  # exact: two-sum
    if error:
        bits = struct.unpack("<q", struct.pack("<d", total))[0]
        if not bits & 1:
            away = (error > 0) == (total > 0)
            bits = bits | 1 if away else bits - 1
            total = struct.unpack("<d", struct.pack("<q", bits))[0]
    return f32(total)


def fmin(a: float, b: float) -> float:
    """The smaller; NaN if either is NaN."""
    if a != a or b != b:
        return math.nan
    return a if a < b or (a == b and math.copysign(1.0, a) < 0) else b


def fmax(a: float, b: float) -> float:
    """The larger; NaN if either is NaN."""
    if a != a or b != b:
        return math.nan
    return a if a > b or (a == b and math.copysign(1.0, a) > 0) else b


def _numpy(function: Any) -> Callable[..., float]:
    def call(*values: float) -> float:
        with np.errstate(all="ignore"):
            return float(function(*map(np.float64, values)))

    return call


def round_half_away(value: float) -> float:
    if not math.isfinite(value) or abs(value) >= 4503599627370496.0:
        return value
    whole = math.floor(abs(value))
    return math.copysign(whole + 1.0 if abs(value) - whole >= 0.5 else float(whole), value)


def rsqrt(value: float) -> float:
    if value == 0:
        return math.copysign(math.inf, value)
    return 1.0 / math.sqrt(value) if value > 0 else math.nan


UNARY: dict[str, Callable[..., float]] = {
    "ceil": _numpy(np.ceil),
    "floor": _numpy(np.floor),
    "trunc": _numpy(np.trunc),
    "round": round_half_away,
    "roundeven": _numpy(np.rint),
    "sqrt": _numpy(np.sqrt),
    "rsqrt": rsqrt,
    "exp": _numpy(np.exp),
    "exp2": _numpy(np.exp2),
    "expm1": _numpy(np.expm1),
    "log": _numpy(np.log),
    "log10": _numpy(np.log10),
    "log1p": _numpy(np.log1p),
    "log2": _numpy(np.log2),
    "sin": _numpy(np.sin),
    "cos": _numpy(np.cos),
    "atan": _numpy(np.arctan),
    "tanh": _numpy(np.tanh),
    "erf": _ERF,
}
"""One-argument float functions in f64; the f32 ops round their result."""

atan2 = _numpy(np.arctan2)
power = _numpy(np.power)


def saturate(value: float, low: int, high: int) -> int:
    """Float to integer: toward zero, clamped to [low, high], NaN to 0."""
    if value != value:
        return 0
    if value <= low:
        return low
    return high if value >= high else int(value)


def int_to_f32(value: int) -> float:
    """Correctly rounded to f32 in one step (through f64 an i64 would be rounded twice)."""
    return float(np.float32(np.int64(value)) if value < 1 << 63 else np.float32(np.uint64(value)))


def float_bits(type_name: str, value: float) -> int:
    """The bit pattern of a float as the signed integer ``type_name`` (i32 or i64)."""
    integer, real = _PAIRS[type_name]
    result: int = integer.unpack(real.pack(value))[0]
    return result


def bits_float(type_name: str, value: int) -> float:
    """The float whose bit pattern is the signed integer ``value`` of ``type_name``."""
    integer, real = _PAIRS[type_name]
    result: float = real.unpack(integer.pack(value))[0]
    return result


NAMESPACE: dict[str, Any] = {
    "_f32": f32,
    "_wrap32": wrap32,
    "_wrap64": wrap64,
    "_div_s": div_s,
    "_rem_s": rem_s,
    "_div_u": div_u,
    "_rem_u": rem_u,
    "_fdiv": fdiv,
    "_frem": frem,
    "_fma32": fma32,
    "_fma64": fma64,
    "_fmin": fmin,
    "_fmax": fmax,
    "_atan2": atan2,
    "_power": power,
    "_copysign": math.copysign,
    "_saturate": saturate,
    "_int_to_f32": int_to_f32,
    "_float_bits": float_bits,
    "_bits_float": bits_float,
    "_inf": math.inf,
    "_nan": math.nan,
    **{f"_{name}": function for name, function in UNARY.items()},
}
"""Names the templates of ``ops.py`` may use."""
