"""Conversions between element types, and ``arith.select``. Floats become integers with saturation, NaN 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.ir.types import FloatType, element_of, f16
from iree_target_vulkan.printer.floats import comparison
from iree_target_vulkan.printer.values import Values

Handler = Callable[[Values, Any], Any]


def select(p: Values, op: Any) -> int:
    condition, a, b = op.operands
    chosen = p.operand(condition)
    if p.lanes(condition.type) != p.lanes(a.type):
        chosen = p.as_bool(chosen, a.type)
    return p.select(chosen, p.type(a.type), p.operand(a), p.operand(b))


def extend(signed: bool) -> Handler:
    """To an integer as wide or wider; index casts also to narrower ones."""

    def handler(p: Values, op: Any) -> int | None:
        source, target = op.operands[0], op.results[0].type
        if p.width(source.type) == p.width(target):
            return p.operand(source)
        if p.width(source.type) > p.width(target):
            return truncated(p, source, target)
        if p.word_bits(source.type) != p.word_bits(target):
            p.widened_from[op.results[0]] = source, signed
            return None
        return p.wrapped(p.signed(source), target) if signed else p.unsigned(source)

    return handler


def truncated(p: Values, value: Any, target: Any) -> int:
    source = value.type
    if p.word_bits(source) == p.word_bits(target):
        return p.wrapped(p.operand(value), target)
    if value in p.widened_from:
        word, signed = p.widened_from[value]
        return p.wrapped(p.signed(word) if signed else p.unsigned(word), target)
    return p.wrapped(p.emit("UConvert", p.word_type(target), p.operand(value)), target)


def truncate(p: Values, op: Any) -> int:
    return truncated(p, op.operands[0], op.results[0].type)


def to_float(signed: bool) -> Handler:
    def handler(p: Values, op: Any) -> int:
        source, as_signed = op.operands[0], signed
        word, extended = p.widened_from.get(source, (None, False))
        if word is not None and (signed or not extended):
            # As a number it is the word: with its sign, or not negative.
            source, as_signed = word, extended
        number = p.signed(source) if as_signed else p.unsigned(source)
        return p.emit("ConvertSToF" if as_signed else "ConvertUToF", p.type(op.results[0].type), number)

    return handler


def to_integer(signed: bool) -> Handler:
    def handler(p: Values, op: Any) -> int:
        source, target = op.operands[0].type, op.results[0].type
        value = p.operand(op.operands[0])
        width = p.width(target)
        low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
        word = p.word_type(target)
        # From here on up the highest integer is the answer; exact as a float or the power of two above.
        above = float(high) if high < 1 << 24 else float(high + 1)
        too_large = comparison(p, "oge", value, p.number(above, source), source)
        too_small = comparison(p, "ole", value, p.number(float(low), source), source)
        fits = p.emit(
            "LogicalNot", p.bool_type(source), p.emit("LogicalOr", p.bool_type(source), too_large, too_small)
        )
        number = p.emit("LogicalNot", p.bool_type(source), p.emit("IsNan", p.bool_type(source), value))
        fits = p.emit("LogicalAnd", p.bool_type(source), fits, number)
        safe = p.select(fits, p.type(source), value, p.number(0.0, source))
        result = p.emit("ConvertFToS" if signed else "ConvertFToU", word, safe)
        result = p.select(too_large, word, p.word(high, target), result)
        result = p.select(too_small, word, p.word(low, target), result)
        return p.wrapped(result, target)

    return handler


def convert_float(p: Values, op: Any) -> int:
    """Between f16, f32 and f64."""
    source, target = op.operands[0], op.results[0]
    if source.type is target.type:
        return p.operand(source)
    return p.emit("FConvert", p.type(target.type), p.operand(source))


def bitcast(p: Values, op: Any) -> int:
    source, target = op.operands[0], op.results[0]
    return reinterpret(p, p.operand(source), source.type, target.type)


def reinterpret(p: Values, value: int, source: Any, target: Any) -> int:
    """The same bits as another type of equal width."""
    a, b = p.type(source), p.type(target)
    if a == b:
        return value
    if not (is_native_half(p, source) or is_native_half(p, target)):
        return p.emit("Bitcast", b, value)
    p.require("shaderInt16")
    half = p.module.vector(p.module.int_type(16), p.lanes(source))
    if is_native_half(p, source):
        return p.emit("UConvert", b, p.emit("Bitcast", half, value))
    return p.emit("Bitcast", b, p.emit("UConvert", half, value))


def is_native_half(p: Values, type: Any) -> bool:
    return p.native_half and element_of(type) is f16


def is_float(type: Any) -> bool:
    return isinstance(element_of(type), FloatType)


HANDLERS: dict[str, Handler] = {
    "arith.bitcast": bitcast,
    "arith.extf": convert_float,
    "arith.extsi": extend(True),
    "arith.extui": extend(False),
    "arith.fptosi": to_integer(True),
    "arith.fptoui": to_integer(False),
    "arith.index_cast": extend(True),
    "arith.index_castui": extend(False),
    "arith.select": select,
    "arith.sitofp": to_float(True),
    "arith.truncf": convert_float,
    "arith.trunci": truncate,
    "arith.uitofp": to_float(False),
}
