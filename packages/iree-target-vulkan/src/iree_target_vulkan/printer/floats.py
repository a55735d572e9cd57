"""Float ``arith`` ops and the few ``math`` ops that are instructions; all others are gone after legalization.

Additions and multiplications are marked so that no compiler joins them: a kernel that wants a fused
multiply-add says so. NaN is told apart by comparisons that are defined for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from iree_core_ir.dialects.arith_attributes import CMPF_PREDICATES, is_number_constant
from iree_core_ir.ir.types import FloatType, element_of
from iree_target_vulkan.printer.values import Values

Handler = Callable[[Values, Any], Any]

COMPARISONS = {
    "oeq": "FOrdEqual", "ogt": "FOrdGreaterThan", "oge": "FOrdGreaterThanEqual", "olt": "FOrdLessThan",
    "ole": "FOrdLessThanEqual", "one": "FOrdNotEqual", "ueq": "FUnordEqual", "ugt": "FUnordGreaterThan",
    "uge": "FUnordGreaterThanEqual", "ult": "FUnordLessThan", "ule": "FUnordLessThanEqual",
    "une": "FUnordNotEqual",
}  # fmt: skip


def binary(instruction: str) -> Handler:
    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        return p.arithmetic(instruction, p.type(a.type), p.operand(a), p.operand(b))

    return handler


def unary(instruction: str) -> Handler:
    def handler(p: Values, op: Any) -> int:
        value = op.operands[0]
        return p.glsl(instruction, p.type(value.type), p.operand(value))

    return handler


def negate(p: Values, op: Any) -> int:
    return p.emit("FNegate", p.type(op.operands[0].type), p.operand(op.operands[0]))


def compare(p: Values, op: Any) -> int:
    predicate = CMPF_PREDICATES[op.attributes["predicate"].value]
    a, b = op.operands
    return comparison(p, predicate, p.operand(a), p.operand(b), a.type)


def comparison(p: Values, predicate: str, a: int, b: int, type: Any) -> int:
    """Two native floats compared."""
    result = p.bool_type(type)
    if predicate in ("false", "true"):
        constant = p.module.bool_constant(predicate == "true")
        lanes = p.lanes(type)
        return constant if lanes == 1 else p.module.composite(result, *[constant] * lanes)
    if predicate in ("ord", "uno"):
        unordered = p.emit("IsNan", result, a)
        if a != b:
            unordered = p.emit("LogicalOr", result, unordered, p.emit("IsNan", result, b))
        return unordered if predicate == "uno" else p.emit("LogicalNot", result, unordered)
    return p.emit(COMPARISONS[predicate], result, a, b)


def extremum(predicate: str) -> Handler:
    """maximumf, minimumf: NaN wins."""

    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        if is_number_constant(b) and not is_number_constant(a):
            a, b = b, a
        return nan_extremum(p, predicate, p.operand(a), p.operand(b), a.type, is_number_constant(a))

    return handler


def nan_extremum(p: Values, predicate: str, a: int, b: int, type: Any, a_is_number: bool = False) -> int:
    chosen = p.select(comparison(p, predicate, a, b, type), p.type(type), a, b)
    if a_is_number:
        return chosen
    return p.select(p.emit("IsNan", p.bool_type(type), a), p.type(type), a, chosen)


def number_extremum(predicate: str) -> Handler:
    """maxnumf, minnumf: numbers win over NaN."""

    def handler(p: Values, op: Any) -> int:
        a, b = op.operands
        return plain_extremum(p, predicate, p.operand(a), p.operand(b), a.type)

    return handler


def plain_extremum(p: Values, predicate: str, a: int, b: int, type: Any) -> int:
    chosen = p.select(comparison(p, predicate, a, b, type), p.type(type), a, b)
    return p.select(p.emit("IsNan", p.bool_type(type), b), p.type(type), a, chosen)


def fma(p: Values, op: Any) -> int:
    type = p.type(op.operands[0].type)
    return p.kept_apart(p.glsl("Fma", type, *map(p.operand, op.operands)))


def copysign(p: Values, op: Any) -> int:
    magnitude, sign = op.operands
    type: Any = magnitude.type
    bits = p.bits_type(type)
    top = 1 << (p.float_bits(type) - 1)

    def constant(value: int) -> int:
        scalar = p.module.constant(p.module.int_type(p.float_bits(type)), value, p.float_bits(type))
        lanes = p.lanes(type)
        return scalar if lanes == 1 else p.module.composite(bits, *[scalar] * lanes)

    number = p.emit("BitwiseAnd", bits, p.emit("Bitcast", bits, p.operand(magnitude)), constant(top - 1))
    signs = p.emit("BitwiseAnd", bits, p.emit("Bitcast", bits, p.operand(sign)), constant(top))
    return p.emit("Bitcast", p.type(type), p.emit("BitwiseOr", bits, number, signs))


def classify(kind: str) -> Handler:
    def handler(p: Values, op: Any) -> int:
        value = op.operands[0]
        type = value.type
        number = p.operand(value)
        if kind == "nan":
            return p.emit("IsNan", p.bool_type(type), number)
        magnitude = p.glsl("FAbs", p.type(type), number)
        infinity = p.number(math.inf, type)
        if kind == "infinite":
            return comparison(p, "oeq", magnitude, infinity, type)
        finite = comparison(p, "olt", magnitude, infinity, type)
        if kind == "finite":
            return finite
        smallest = 2.0**-126 if p.float_bits(type) == 32 else 2.0**-1022
        large = comparison(p, "oge", magnitude, p.number(smallest, type), type)
        return p.emit("LogicalAnd", p.bool_type(type), finite, large)

    return handler


def combine(p: Values, kind: str, a: int, b: int, type: Any) -> int:
    """Two values in registers joined by a combining kind of ``vector.reduction`` or ``gpu``'s reductions."""
    if isinstance(element_of(type), FloatType):
        if kind in ("add", "mul"):
            return p.arithmetic(f"F{kind.capitalize()}", p.type(type), a, b)
        predicate = "ogt" if kind.startswith("max") else "olt"
        return (plain_extremum if "num" in kind else nan_extremum)(p, predicate, a, b, type)
    names = {"add": "IAdd", "mul": "IMul", "and": "BitwiseAnd", "or": "BitwiseOr", "xor": "BitwiseXor"}
    if p.width(type) == 1:
        logical = {
            "and": "LogicalAnd", "or": "LogicalOr", "xor": "LogicalNotEqual", "add": "LogicalNotEqual",
            "mul": "LogicalAnd", "maxui": "LogicalOr", "minui": "LogicalAnd", "maxsi": "LogicalAnd",
            "minsi": "LogicalOr",
        }  # fmt: skip
        return p.emit(logical[kind], p.bool_type(type), a, b)
    if kind in names:
        return p.wrapped(p.emit(names[kind], p.word_type(type), a, b), type)
    left, right = a, b
    if kind.endswith("si") and p.is_narrow(type):
        left, right = (p.extended(x, p.width(type), p.word_type(type)) for x in (a, b))
    name = {"maxsi": "SGreaterThan", "minsi": "SLessThan", "maxui": "UGreaterThan", "minui": "ULessThan"}[
        kind
    ]
    return p.select(p.emit(name, p.bool_type(type), left, right), p.type(type), a, b)


HANDLERS: dict[str, Handler] = {
    "arith.addf": binary("FAdd"),
    "arith.cmpf": compare,
    "arith.divf": binary("FDiv"),
    "arith.maximumf": extremum("ogt"),
    "arith.maxnumf": number_extremum("ogt"),
    "arith.minimumf": extremum("olt"),
    "arith.minnumf": number_extremum("olt"),
    "arith.mulf": binary("FMul"),
    "arith.negf": negate,
    "arith.subf": binary("FSub"),
    "math.absf": unary("FAbs"),
    "math.ceil": unary("Ceil"),
    "math.copysign": copysign,
    "math.floor": unary("Floor"),
    "math.fma": fma,
    "math.isfinite": classify("finite"),
    "math.isinf": classify("infinite"),
    "math.isnan": classify("nan"),
    "math.isnormal": classify("normal"),
    "math.roundeven": unary("RoundEven"),
    "math.sqrt": unary("Sqrt"),
    "math.trunc": unary("Trunc"),
}
