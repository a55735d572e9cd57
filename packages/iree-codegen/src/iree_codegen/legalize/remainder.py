"""``arith.remf`` (C ``fmod``), exact: the dividend is reduced by shifts of the divisor, on integers.

The loop runs once per bit of the exponents' difference, in all lanes until the last one is done.
"""

from __future__ import annotations

from typing import Any

from iree_codegen.kernel_builder import op_class
from iree_codegen.legalize.emit import Emit
from iree_core_ir.dialects.vector_attributes import CombiningKindAttr
from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.operation import Block, Region, Value
from iree_core_ir.ir.types import element_of, i1


def remf(e: Emit, x: Value, y: Value) -> Value:
    element: Any = element_of(x.type)
    double = element.width == 64
    fraction_bits = 52 if double else 23
    top = 1 << fraction_bits
    sign_mask = -(1 << (element.width - 1))
    a, b = e.iand(e.bits(x), ~sign_mask), e.iand(e.bits(y), ~sign_mask)

    def unpack(bits: Value) -> tuple[Value, Value]:
        """(exponent, mantissa with its leading bit); denormals get exponents below 1."""
        exponent = e.shr(bits, fraction_bits)
        mantissa = e.iand(bits, top - 1)
        zeros = e.isub(e.unary("math.ctlz", mantissa), element.width - 1 - fraction_bits)
        zeros = e.select(e.icompare("eq", mantissa, 0), 0, zeros)
        normal = e.icompare("ne", exponent, 0)
        return (
            e.select(normal, exponent, e.isub(1, zeros)),
            e.select(normal, e.ior(mantissa, top), e.shl(mantissa, zeros)),
        )

    ea, ma = unpack(a)
    eb, mb = unpack(b)
    count = e.isub(ea, eb)
    smaller = e.icompare("ult", a, b)
    count = e.select(smaller, 0, count)
    divisor = e.select(e.icompare("eq", mb, 0), 1, mb)
    remainder = _reduce(e, ma, divisor, count)
    # Normalize the mantissa to the exponent of y.
    zeros = e.isub(e.unary("math.ctlz", remainder), element.width - 1 - fraction_bits)
    room = e.isub(eb, 1)
    shift = e.binary("arith.minsi", zeros, room)
    shifted = e.shl(remainder, e.binary("arith.maxsi", shift, 0))
    # Below the smallest exponent the remainder moves down; the bits that leave are zero.
    shifted = e.shr(shifted, e.binary("arith.maxsi", e.isub(0, shift), 0))
    exponent = e.isub(eb, shift)
    normal = e.icompare("sge", shifted, top)
    packed = e.select(normal, e.ior(e.shl(exponent, fraction_bits), e.iand(shifted, top - 1)), shifted)
    packed = e.select(e.icompare("eq", remainder, 0), 0, packed)
    packed = e.select(smaller, a, packed)
    result = e.float(e.ior(packed, e.iand(e.bits(x), sign_mask)))
    infinity = float("inf")
    bad = e.binary("arith.ori", e.compare("ueq", e.abs(x), infinity), e.compare("ueq", y, 0.0))
    result = e.select(bad, float("nan"), result)
    result = e.select(e.compare("oeq", e.abs(y), infinity), e.select(bad, float("nan"), x), result)
    return e.select(e.compare("uno", x, y), float("nan"), result)


def _reduce(e: Emit, mantissa: Value, divisor: Value, count: Value) -> Value:
    """(mantissa * 2^count) mod divisor, one bit at a time."""
    carried = (mantissa, count)
    types = [v.type for v in carried]
    before, after = Block(types), Block(types)
    saved = e.op, e.block
    end = op_class("scf.condition")((), (), None, (), (), saved[0].location)
    before.append(end)
    e.op, e.block = end, before
    remaining = before.args[1]
    more = e.icompare("sgt", remaining, 0)
    condition = more
    if e.shape is not None:
        kind: dict[str, Attribute] = {"kind": CombiningKindAttr("or")}
        condition = e.make("vector.reduction", (more,), i1, kind)
    end.set_operands((condition, *before.args))
    last = op_class("scf.yield")((), (), None, (), (), saved[0].location)
    after.append(last)
    e.op, e.block = last, after
    m, n = after.args
    active = e.icompare("sgt", n, 0)
    reduced = e.select(e.icompare("uge", m, divisor), e.isub(m, divisor), m)
    next_m = e.select(active, e.shl(reduced, 1), m)
    last.set_operands((next_m, e.isub(n, 1)))
    e.op, e.block = saved
    regions = [Region([before]), Region([after])]
    loop = op_class("scf.while")(carried, types, None, regions, (), saved[0].location)
    e.block.insert_before(loop, e.op)
    final = loop.results[0]
    return e.select(e.icompare("uge", final, divisor), e.isub(final, divisor), final)


__all__ = ["remf"]
