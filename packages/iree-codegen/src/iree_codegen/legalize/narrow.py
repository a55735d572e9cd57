"""Narrow floats in kernels: stored in 16 or 8 bits, computed in f32, rounded to nearest even after every op.

bf16 conversions are integer arithmetic. f16 ones are instructions where the target has them, else integer
arithmetic too, so that no runtime routine is called. From f64 the rounding goes through f32 rounded to
odd, which rounds once (Boldo and Melquiond 2008).
"""

from __future__ import annotations

from typing import Any

from iree_codegen.legalize import float8
from iree_codegen.legalize.emit import Emit
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, element_of, f16, f32, f64, i16, i32

NARROW = (f16, bf16, *float8.FORMATS)


def to_f32(e: Emit, x: Value) -> Value:
    """A narrow float -> f32."""
    eight = float8.FORMATS.get(element_of(x.type))
    if eight is not None:
        return float8.to_f32(e, x, eight)
    bits = e.cast("arith.extui", e.cast("arith.bitcast", x, i16), i32)
    if element_of(x.type) is bf16:
        return e.float(e.shl(bits, 16))
    sign = e.shl(e.iand(bits, 0x8000), 16)
    magnitude = e.shl(e.iand(bits, 0x7FFF), 13)
    # As a number 2^112 too small; infinities and NaN get the largest exponent.
    scaled = e.mul(e.float(magnitude), 5.192296858534828e33)
    special = e.icompare("sge", magnitude, 0x0F800000)
    value = e.select(special, e.ior(magnitude, 0x7F800000), e.bits(scaled))
    # Denormals are integers times 2^-24; the scaling above would see them as denormals of f32, flushed.
    tiny = e.icompare("slt", magnitude, 0x00800000)
    small = e.mul(e.to_float(e.shr(magnitude, 13), f32), 2.0**-24)
    value = e.select(tiny, e.bits(small), value)
    return e.float(e.ior(value, sign))


def from_f32(e: Emit, x: Value, element: Any) -> Value:
    """f32 -> a narrow float, to nearest even."""
    if element in float8.FORMATS:
        return float8.from_f32(e, x, element)
    bits = e.bits(x)
    if element is bf16:
        rounded = e.iadd(e.iadd(bits, 0x7FFF), e.iand(e.shr(bits, 16), 1))
        quiet = e.ior(bits, 0x00400000)
        chosen = e.select(e.is_nan(x), quiet, rounded)
        return e.cast("arith.bitcast", e.cast("arith.trunci", e.shr(chosen, 16), i16), bf16)
    sign = e.iand(e.shr(bits, 16), 0x8000)
    magnitude = e.iand(bits, 0x7FFFFFFF)
    # Normal results: rebias and round.
    rounded = e.iadd(e.iadd(magnitude, 0xFFF - 0x38000000), e.iand(e.shr(magnitude, 13), 1))
    normal = e.shr(rounded, 13)
    # Denormal results: the addition of 0.5 rounds at the right bit.
    small = e.isub(e.bits(e.add(e.float(magnitude), 0.5)), 0x3F000000)
    result = e.select(e.icompare("slt", magnitude, 0x38800000), small, normal)
    result = e.select(e.icompare("sge", magnitude, 0x477FF000), 0x7C00, result)
    nan = e.ior(e.iand(e.shr(magnitude, 13), 0x3FF), 0x7E00)
    result = e.select(e.icompare("sgt", magnitude, 0x7F800000), nan, result)
    return e.cast("arith.bitcast", e.cast("arith.trunci", e.ior(result, sign), i16), f16)


def odd_f32(e: Emit, x: Value) -> Value:
    """f64 -> f32 rounded to odd."""
    nearest = e.cast("arith.truncf", x, f32)
    back = e.cast("arith.extf", nearest, f64)
    bits = e.bits(nearest)
    away = e.compare("ogt", e.abs(back), e.abs(x))
    truncated = e.select(away, e.isub(bits, 1), bits)
    inexact = e.compare("one", back, x)
    return e.float(e.select(inexact, e.ior(truncated, 1), bits))


__all__ = ["NARROW", "from_f32", "odd_f32", "to_f32"]
