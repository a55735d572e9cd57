"""8-bit floats in kernels: stored in a byte, computed in f32, rounded to nearest even after every op.

A number too large becomes infinity where the format has one, else NaN; saturation is a clamp before the
conversion. Formats without infinities (``FN``) have NaN at the top of both signs; those without a
negative zero (``FNUZ``) have it in place of that zero.
"""

from __future__ import annotations

from iree_base.records import record
from iree_codegen.legalize.emit import Emit
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, f32, i8, i32

MANTISSA = 23
"""Mantissa bits of f32."""
BIAS = 127


@record(frozen=True)
class Float8:
    """``top`` is the code of the largest number, ``beyond`` that of what is larger."""

    mantissa: int
    bias: int
    top: int
    beyond: int
    nan: int
    unsigned_zero: bool = False


FORMATS: dict[Type, Float8] = {
    FloatType("f8E4M3FN"): Float8(3, 7, 0x7E, 0x7F, 0x7F),
    FloatType("f8E5M2"): Float8(2, 15, 0x7B, 0x7C, 0x7E),
    FloatType("f8E4M3FNUZ"): Float8(3, 8, 0x7F, 0x80, 0x80, unsigned_zero=True),
    FloatType("f8E5M2FNUZ"): Float8(2, 16, 0x7F, 0x80, 0x80, unsigned_zero=True),
}


def to_f32(e: Emit, x: Value, format: Float8) -> Value:
    """Exactly."""
    bits = e.cast("arith.extui", e.cast("arith.bitcast", x, i8), i32)
    code = e.iand(bits, 0x7F)
    sign = e.shl(e.iand(bits, 0x80), 24)
    # As a number too small by the difference of the biases.
    scaled = e.mul(e.float(e.shl(code, MANTISSA - format.mantissa)), 2.0 ** (BIAS - format.bias))
    # Denormals are integers times the smallest one; the scaling above would see denormals of f32, flushed.
    small = e.mul(e.to_float(code, f32), 2.0 ** (1 - format.bias - format.mantissa))
    tiny = e.icompare("slt", code, 1 << format.mantissa)
    value = e.ior(e.bits(e.select(tiny, small, scaled)), sign)
    if format.unsigned_zero:
        return e.float(e.select(e.icompare("eq", bits, format.nan), 0x7FC00000, value))
    if format.beyond != format.nan:
        value = e.select(e.icompare("eq", code, format.beyond), e.ior(sign, 0x7F800000), value)
        return e.float(e.select(e.icompare("sgt", code, format.beyond), e.ior(sign, 0x7FC00000), value))
    return e.float(e.select(e.icompare("eq", code, format.nan), e.ior(sign, 0x7FC00000), value))


def from_f32(e: Emit, x: Value, element: Type) -> Value:
    """f32 -> ``element``, to nearest even."""
    format = FORMATS[element]
    shift = MANTISSA - format.mantissa
    bits = e.bits(x)
    magnitude = e.iand(bits, 0x7FFFFFFF)
    # Normal results: rebias and round.
    half = (1 << (shift - 1)) - 1
    rebias = half - ((BIAS - format.bias) << MANTISSA)
    normal = e.shr(e.iadd(e.iadd(magnitude, rebias), e.iand(e.shr(magnitude, shift), 1)), shift)
    # Denormal results: adding the power of two whose last bit is theirs rounds at the right bit.
    anchor = 1 - format.bias - format.mantissa + MANTISSA
    sum = e.add(e.float(magnitude), 2.0**anchor)
    small = e.isub(e.bits(sum), (anchor + BIAS) << MANTISSA)
    smallest_normal = (1 - format.bias + BIAS) << MANTISSA
    code = e.select(e.icompare("slt", magnitude, smallest_normal), small, normal)
    code = e.select(e.icompare("sgt", code, format.top), format.beyond, code)
    code = e.select(e.icompare("sgt", magnitude, 0x7F800000), format.nan, code)
    sign = e.iand(e.shr(bits, 24), 0x80)
    if format.unsigned_zero:
        sign = e.select(e.icompare("eq", code, 0), 0, sign)
    return e.cast("arith.bitcast", e.cast("arith.trunci", e.ior(code, sign), i8), element)


__all__ = ["FORMATS", "Float8", "from_f32", "to_f32"]
