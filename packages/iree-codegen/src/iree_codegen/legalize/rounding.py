"""Rounding to integers for targets without the instructions, round half away, and fmod."""

from __future__ import annotations

from typing import Any

from iree_codegen.legalize.emit import Emit
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IntegerType, element_of


def _limit(x: Value) -> float:
    """From here on every float is an integer."""
    element: Any = element_of(x.type)
    return 8388608.0 if element.width == 32 else 4503599627370496.0


def _trunc(e: Emit, x: Value) -> Value:
    """Through an integer of the same width; large values (and NaN) are themselves."""
    element: Any = element_of(x.type)
    large = e.compare("uge", e.abs(x), _limit(x))
    small = e.select(large, 0.0, x)
    whole = e.to_float(e.to_int(small, IntegerType(element.width)), element)
    return e.select(large, x, e.copysign(whole, x))


def trunc(e: Emit, x: Value) -> Value:
    return _trunc(e, x)


def floor(e: Emit, x: Value) -> Value:
    t = _trunc(e, x)
    return e.copysign(e.select(e.compare("ogt", t, x), e.sub(t, 1.0), t), x)


def ceil(e: Emit, x: Value) -> Value:
    t = _trunc(e, x)
    return e.copysign(e.select(e.compare("olt", t, x), e.add(t, 1.0), t), x)


def roundeven(e: Emit, x: Value) -> Value:
    """Adding and subtracting 2^23 (2^52) rounds in the current mode, to nearest even."""
    limit = _limit(x)
    a = e.abs(x)
    rounded = e.sub(e.add(a, limit), limit)
    return e.select(e.compare("uge", a, limit), x, e.copysign(rounded, x))


def round_away(e: Emit, x: Value) -> Value:
    """Halves away from zero."""
    t = e.unary("math.trunc", x)
    up = e.compare("oge", e.abs(e.sub(x, t)), 0.5)
    one = e.copysign(1.0, x)
    return e.copysign(e.select(up, e.add(t, one), t), x)
