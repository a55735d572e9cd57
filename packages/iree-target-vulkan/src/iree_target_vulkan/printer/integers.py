"""Integer ``arith`` and ``math`` ops. Division and shifts are total, as ``arith`` defines them: by zero gives
0, ``MIN / -1`` wraps, a shift by the width or more gives zeros or signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_codegen.errors import UNSUPPORTED_TYPE, CodegenError
from iree_core_ir.dialects.arith_attributes import CMPI_PREDICATES
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Value
from iree_target_vulkan.printer.values import Values

Handler = Callable[[Values, Any], Any]

COMPARISONS = {
    "eq": "IEqual", "ne": "INotEqual",
    "slt": "SLessThan", "sle": "SLessThanEqual", "sgt": "SGreaterThan", "sge": "SGreaterThanEqual",
    "ult": "ULessThan", "ule": "ULessThanEqual", "ugt": "UGreaterThan", "uge": "UGreaterThanEqual",
}  # fmt: skip


def binary(instruction: str, boolean: str) -> Handler:
    """``boolean`` does the same on i1."""

    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        if p.width(a.type) == 1:
            return p.emit(boolean, p.bool_type(a.type), p.operand(a), p.operand(b))
        word = p.emit(instruction, p.word_type(a.type), p.operand(a), p.operand(b))
        return word if instruction.startswith("Bitwise") else p.wrapped(word, a.type)

    return handler


def compare(p: Values, op: Any) -> int:
    predicate = CMPI_PREDICATES[op.attributes["predicate"].value]
    a, b = op.operands
    type = p.bool_type(a.type)
    if p.width(a.type) == 1 and predicate in ("eq", "ne"):
        name = "LogicalEqual" if predicate == "eq" else "LogicalNotEqual"
        return p.emit(name, type, p.operand(a), p.operand(b))
    view = p.signed if predicate[0] == "s" else p.unsigned
    return p.emit(COMPARISONS[predicate], type, view(a), view(b))


def extremum(predicate: str) -> Handler:
    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        view = p.signed if predicate[0] == "s" else p.unsigned
        better = p.emit(COMPARISONS[predicate], p.bool_type(a.type), view(a), view(b))
        if p.width(a.type) == 1:
            both = "LogicalAnd" if predicate in ("sgt", "ult") else "LogicalOr"
            return p.emit(both, p.bool_type(a.type), p.operand(a), p.operand(b))
        return p.select(better, p.type(a.type), p.operand(a), p.operand(b))

    return handler


def divide(signed: bool, remainder: bool) -> Handler:
    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        return p.wrapped(total_division(p, a, b, signed, remainder), op.results[0].type)

    return handler


def total_division(p: Values, a: Value, divisor: Value, signed: bool, remainder: bool) -> int:
    """A word: the quotient or remainder, defined for every divisor; constant divisors need no care.

    Remainders of signed numbers come from quotients: SPIR-V leaves its own undefined below zero.
    """
    type: Any = divisor.type
    word, condition = p.word_type(type), p.bool_type(type)
    left = p.signed(a) if signed else p.unsigned(a)
    right = p.signed(divisor) if signed else p.unsigned(divisor)
    name = "SDiv" if signed else "UMod" if remainder else "UDiv"

    def quotient(by: int) -> int:
        result = p.emit(name, word, left, by)
        if not (signed and remainder):
            return result
        return p.emit("ISub", word, left, p.emit("IMul", word, result, by))

    known = known_integer(divisor)
    if known is not None and known not in (0, -1):
        return quotient(right)
    zero = p.word(0, type)
    unsafe = by_zero = p.emit("IEqual", condition, right, zero)
    if signed:
        minus = p.emit("IEqual", condition, right, p.word(-1, type))
        unsafe = p.emit("LogicalOr", condition, by_zero, minus)
    result = quotient(p.select(unsafe, word, p.word(1, type), right))
    if signed and not remainder:
        result = p.select(minus, word, p.emit("SNegate", word, left), result)
    return p.select(by_zero, word, zero, result)


def rounded_division(signed: bool, up: bool) -> Handler:
    """Division rounded up or down from the truncated quotient."""

    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        type = op.results[0].type
        word, condition, zero = p.word_type(type), p.bool_type(type), p.word(0, type)
        left, right = (p.signed(a), p.signed(b)) if signed else (p.unsigned(a), p.unsigned(b))
        quotient = total_division(p, a, b, signed, False)
        back = p.emit("IMul", word, quotient, right)
        inexact = p.emit("INotEqual", condition, back, left)
        adjust = p.emit("LogicalAnd", condition, inexact, p.emit("INotEqual", condition, right, zero))
        if signed:
            signs = p.emit("BitwiseXor", word, left, right)
            opposite = p.emit("SGreaterThanEqual" if up else "SLessThan", condition, signs, zero)
            adjust = p.emit("LogicalAnd", condition, adjust, opposite)
        step = p.select(adjust, word, p.word(1, type), zero)
        return p.wrapped(p.emit("IAdd" if up else "ISub", word, quotient, step), type)

    return handler


def shift(instruction: str) -> Handler:
    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        type = op.results[0].type
        word, n = p.word_type(type), p.width(type)
        arithmetic = instruction == "ShiftRightArithmetic"
        left = p.signed(a) if arithmetic else p.unsigned(a)
        known = known_integer(b)
        amount = p.unsigned(b)
        if known is not None and 0 <= known < n:
            return p.wrapped(p.emit(instruction, word, left, amount), type)
        far = p.emit("UGreaterThanEqual", p.bool_type(type), amount, p.word(n, type))
        inside = p.select(far, word, p.word(n - 1 if arithmetic else 0, type), amount)
        result = p.emit(instruction, word, left, inside)
        if not arithmetic:
            result = p.select(far, word, p.word(0, type), result)
        return p.wrapped(result, type)

    return handler


def multiply_extended(signed: bool) -> Handler:
    """Low and high half of a product."""

    def handler(p: Values, op: Any) -> tuple[int, int]:
        a, b = op.operands
        type = a.type
        word, width = p.word_type(type), p.width(type)
        left, right = (p.signed(a), p.signed(b)) if signed else (p.unsigned(a), p.unsigned(b))
        if p.is_narrow(type):
            if width > 16:
                raise CodegenError(UNSUPPORTED_TYPE, f"{op.name} of {type}", source=op.location.user_text())
            product = p.emit("IMul", word, left, right)
            high = p.emit("ShiftRightLogical", word, product, p.word(width, type))
            return p.wrapped(product, type), p.wrapped(high, type)
        pair = p.module.type("TypeStruct", word, word)
        product = p.emit("SMulExtended" if signed else "UMulExtended", pair, left, right)
        return p.emit("CompositeExtract", word, product, 0), p.emit("CompositeExtract", word, product, 1)

    return handler


def add_extended(p: Values, op: Any) -> tuple[int, int]:
    """Sum and carry."""
    a, b = op.operands
    type = a.type
    word = p.emit("IAdd", p.word_type(type), p.unsigned(a), p.unsigned(b))
    if p.is_narrow(type):
        carry = p.emit("UGreaterThan", p.bool_type(type), word, p.word((1 << p.width(type)) - 1, type))
        return p.wrapped(word, type), carry
    return word, p.emit("ULessThan", p.bool_type(type), word, p.operand(a))


def absolute(p: Values, op: Any) -> int:
    value = op.operands[0]
    type = value.type
    word = p.signed(value)
    below = p.emit("SLessThan", p.bool_type(type), word, p.word(0, type))
    negated = p.emit("SNegate", p.word_type(type), word)
    return p.wrapped(p.select(below, p.word_type(type), negated, word), type)


def _halves(p: Values, word: int, type: Any) -> tuple[int, int, int]:
    """Low and high 32 bits of 64-bit words, and the type of each."""
    half = p.module.vector(p.u32, p.lanes(type))
    far = p.emit("ShiftRightLogical", p.word_type(type), word, p.word(32, type))
    return p.emit("UConvert", half, word), p.emit("UConvert", half, far), half


def _in_halves(p: Values, number: int, type: Any) -> int:
    scalar = p.u32_constant(number)
    lanes = p.lanes(type)
    return scalar if lanes == 1 else p.module.composite(p.module.vector(p.u32, lanes), *[scalar] * lanes)


def leading_zeros(p: Values, op: Any) -> int:
    value = op.operands[0]
    type = value.type
    width = p.width(type)
    if p.word_bits(type) == 32:
        word = p.word_type(type)
        # FindUMsb gives -1 for 0, so that 0 has ``width`` leading zeros.
        highest = p.glsl("FindUMsb", word, p.unsigned(value))
        return p.wrapped(p.emit("ISub", word, p.word(width - 1, type), highest), type)
    low, high, half = _halves(p, p.operand(value), type)
    empty = p.emit("IEqual", p.bool_type(type), high, _in_halves(p, 0, type))
    highest = p.glsl("FindUMsb", half, p.select(empty, half, low, high))
    top = p.select(empty, half, _in_halves(p, 63, type), _in_halves(p, 31, type))
    return p.emit("UConvert", p.word_type(type), p.emit("ISub", half, top, highest))


def trailing_zeros(p: Values, op: Any) -> int:
    value = op.operands[0]
    type = value.type
    width = p.width(type)
    if p.word_bits(type) == 32:
        word = p.word_type(type)
        bits = p.unsigned(value)
        lowest = p.glsl("FindILsb", word, bits)
        empty = p.emit("IEqual", p.bool_type(type), bits, p.word(0, type))
        return p.wrapped(p.select(empty, word, p.word(width, type), lowest), type)
    low, high, half = _halves(p, p.operand(value), type)
    zero = _in_halves(p, 0, type)
    condition = p.bool_type(type)
    low_empty, high_empty = p.emit("IEqual", condition, low, zero), p.emit("IEqual", condition, high, zero)
    far = p.emit("IAdd", half, p.glsl("FindILsb", half, high), _in_halves(p, 32, type))
    far = p.select(high_empty, half, _in_halves(p, 64, type), far)
    return p.emit(
        "UConvert", p.word_type(type), p.select(low_empty, half, far, p.glsl("FindILsb", half, low))
    )


def population(p: Values, op: Any) -> int:
    value = op.operands[0]
    type = value.type
    if p.word_bits(type) == 32:
        return p.wrapped(p.emit("BitCount", p.word_type(type), p.unsigned(value)), type)
    low, high, half = _halves(p, p.operand(value), type)
    total = p.emit("IAdd", half, p.emit("BitCount", half, low), p.emit("BitCount", half, high))
    return p.emit("UConvert", p.word_type(type), total)


HANDLERS: dict[str, Handler] = {
    "arith.addi": binary("IAdd", "LogicalNotEqual"),
    "arith.addui_extended": add_extended,
    "arith.andi": binary("BitwiseAnd", "LogicalAnd"),
    "arith.ceildivsi": rounded_division(True, True),
    "arith.ceildivui": rounded_division(False, True),
    "arith.cmpi": compare,
    "arith.divsi": divide(True, False),
    "arith.divui": divide(False, False),
    "arith.floordivsi": rounded_division(True, False),
    "arith.maxsi": extremum("sgt"),
    "arith.maxui": extremum("ugt"),
    "arith.minsi": extremum("slt"),
    "arith.minui": extremum("ult"),
    "arith.muli": binary("IMul", "LogicalAnd"),
    "arith.mulsi_extended": multiply_extended(True),
    "arith.mului_extended": multiply_extended(False),
    "arith.ori": binary("BitwiseOr", "LogicalOr"),
    "arith.remsi": divide(True, True),
    "arith.remui": divide(False, True),
    "arith.shli": shift("ShiftLeftLogical"),
    "arith.shrsi": shift("ShiftRightArithmetic"),
    "arith.shrui": shift("ShiftRightLogical"),
    "arith.subi": binary("ISub", "LogicalNotEqual"),
    "arith.xori": binary("BitwiseXor", "LogicalNotEqual"),
    "math.absi": absolute,
    "math.ctlz": leading_zeros,
    "math.ctpop": population,
    "math.cttz": trailing_zeros,
}
