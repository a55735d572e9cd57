"""``arith`` and the few ``math`` ops that are instructions, as LLVM text.

Integer division and shifts are total, as ``arith`` defines them: by zero gives 0, ``MIN / -1`` wraps, a
shift by the width or more gives zeros or signs. Conversions to integers saturate. No fast-math flag is
ever printed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.dialects.arith_attributes import CMPF_PREDICATES, CMPI_PREDICATES, is_number_constant
from iree_core_ir.ir.known_values import known_integer, known_number
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IndexType, VectorType, element_of
from iree_target_llvm.llvm_types import float_literal, intrinsic_suffix, llvm_type
from iree_target_llvm.text_writer import TextWriter

Handler = Callable[[TextWriter, Any], Any]


def splat_text(number: int | str, type: Any) -> str:
    """An integer in every lane of ``type``."""
    if isinstance(type, VectorType):
        return f"splat ({llvm_type(type.element_type)} {number})"
    return str(number)


def width(type: Any) -> int:
    element = element_of(type)
    return 64 if isinstance(element, IndexType) else int(element.width)  # type: ignore[attr-defined]


def binary(instruction: str) -> Handler:
    def handler(p: TextWriter, op: Any) -> str:
        a, b = op.operands
        return p.assign(f"{instruction} {llvm_type(a.type)} {p.operand(a)}, {p.operand(b)}")

    return handler


def mask_type(type: Any) -> str:
    return f"<{type.shape[0]} x i1>" if isinstance(type, VectorType) else "i1"


def select(p: TextWriter, condition: str, type: Any, a: str, b: str) -> str:
    t = llvm_type(type)
    return p.assign(f"select {mask_type(type)} {condition}, {t} {a}, {t} {b}")


def divide(signed: bool, remainder: bool) -> Handler:
    letter = "s" if signed else "u"
    instruction = f"{letter}{'rem' if remainder else 'div'}"

    def handler(p: TextWriter, op: Any) -> str:
        a, b = op.operands
        return total_division(p, instruction, p.operand(a), b, op.results[0].type, signed, remainder)

    return handler


def total_division(
    p: TextWriter, instruction: str, a: str, divisor: Value, type: Any, signed: bool, remainder: bool
) -> str:
    """Division defined for every divisor; constant divisors need no care."""
    t, b = llvm_type(type), p.operand(divisor)
    known = known_integer(divisor)
    if known is not None and known not in (0, -1):
        return p.assign(f"{instruction} {t} {a}, {b}")
    zero, one = splat_text(0, type), splat_text(1, type)
    by_zero = p.assign(f"icmp eq {t} {b}, {zero}")
    unsafe = by_zero
    if signed:
        minus = p.assign(f"icmp eq {t} {b}, {splat_text(-1, type)}")
        unsafe = p.assign(f"or {mask_type(type)} {by_zero}, {minus}")
    safe = select(p, unsafe, type, one, b)
    result = p.assign(f"{instruction} {t} {a}, {safe}")
    if signed and not remainder:
        negated = p.assign(f"sub {t} {zero}, {a}")
        result = select(p, minus, type, negated, result)
    return select(p, by_zero, type, zero, result)


def rounded_division(signed: bool, up: bool) -> Handler:
    """Division rounded up or down from the truncated quotient."""

    def handler(p: TextWriter, op: Any) -> str:
        a, b = op.operands
        type = op.results[0].type
        t = llvm_type(type)
        zero = splat_text(0, type)
        left, right = p.operand(a), p.operand(b)
        letter = "s" if signed else "u"
        quotient = total_division(p, f"{letter}div", left, b, type, signed, False)
        back = p.assign(f"mul {t} {quotient}, {right}")
        inexact = p.assign(f"icmp ne {t} {back}, {left}")
        nonzero = p.assign(f"icmp ne {t} {right}, {zero}")
        adjust = p.assign(f"and {mask_type(type)} {inexact}, {nonzero}")
        if signed:
            signs = p.assign(f"xor {t} {left}, {right}")
            opposite = p.assign(f"icmp {'sge' if up else 'slt'} {t} {signs}, {zero}")
            adjust = p.assign(f"and {mask_type(type)} {adjust}, {opposite}")
        step = p.assign(f"zext {mask_type(type)} {adjust} to {t}") if t != mask_type(type) else adjust
        return p.assign(f"{'add' if up else 'sub'} {t} {quotient}, {step}")

    return handler


def shift(instruction: str) -> Handler:
    def handler(p: TextWriter, op: Any) -> str:
        a, b = op.operands
        type = op.results[0].type
        t = llvm_type(type)
        known = known_integer(b)
        n = width(type)
        if known is not None and 0 <= known < n:
            return p.assign(f"{instruction} {t} {p.operand(a)}, {p.operand(b)}")
        amount = p.operand(b)
        limit = splat_text(n, type) if n > 1 else splat_text("true", type)
        far = p.assign(f"icmp uge {t} {amount}, {limit}")
        if instruction == "ashr":
            last = splat_text(n - 1, type) if n > 1 else splat_text("false", type)
            inside = select(p, far, type, last, amount)
            return p.assign(f"ashr {t} {p.operand(a)}, {inside}")
        zero = splat_text(0, type) if n > 1 else splat_text("false", type)
        inside = select(p, far, type, zero, amount)
        result = p.assign(f"{instruction} {t} {p.operand(a)}, {inside}")
        return select(p, far, type, zero, result)

    return handler


def intrinsic_binary(name: str) -> Handler:
    def handler(p: TextWriter, op: Any) -> str:
        a, b = op.operands
        t = llvm_type(a.type)
        return p.intrinsic(
            f"llvm.{name}.{intrinsic_suffix(a.type)}", t, [(t, p.operand(a)), (t, p.operand(b))]
        )

    return handler


def intrinsic_unary(name: str, flag: str | None = None) -> Handler:
    def handler(p: TextWriter, op: Any) -> str:
        value = op.operands[0]
        t = llvm_type(value.type)
        arguments = [(t, p.operand(value))]
        if flag is not None:
            arguments.append(("i1", flag))
        return p.intrinsic(f"llvm.{name}.{intrinsic_suffix(value.type)}", t, arguments)

    return handler


def extremum(predicate: str) -> Handler:
    """maximumf, minimumf: NaN wins. One instruction when an operand is a number."""

    def handler(p: TextWriter, op: Any) -> str:
        a, b = op.operands
        if is_number_constant(b) and not is_number_constant(a):
            a, b = b, a
        return extremum_text(p, predicate, p.operand(a), p.operand(b), a.type, is_number_constant(a))

    return handler


def extremum_text(p: TextWriter, predicate: str, a: str, b: str, type: Any, a_is_number: bool = False) -> str:
    t = llvm_type(type)
    better = p.assign(f"fcmp {predicate} {t} {a}, {b}")
    chosen = select(p, better, type, a, b)
    if a_is_number:
        return chosen
    nan = p.assign(f"fcmp uno {t} {a}, {a}")
    return select(p, nan, type, a, chosen)


def number_extremum(predicate: str) -> Handler:
    """maxnumf, minnumf: numbers win over NaN. (LLVM's intrinsic may become a call of libm.)"""

    def handler(p: TextWriter, op: Any) -> str:
        a, b = op.operands
        return number_extremum_text(p, predicate, p.operand(a), p.operand(b), a.type)

    return handler


def number_extremum_text(p: TextWriter, predicate: str, a: str, b: str, type: Any) -> str:
    t = llvm_type(type)
    better = p.assign(f"fcmp {predicate} {t} {a}, {b}")
    chosen = select(p, better, type, a, b)
    nan = p.assign(f"fcmp uno {t} {b}, {b}")
    return select(p, nan, type, a, chosen)


def negf(p: TextWriter, op: Any) -> str:
    return p.assign(f"fneg {llvm_type(op.operands[0].type)} {p.operand(op.operands[0])}")


def cmpi(p: TextWriter, op: Any) -> str:
    predicate = CMPI_PREDICATES[op.attributes["predicate"].value]
    a, b = op.operands
    return p.assign(f"icmp {predicate} {llvm_type(a.type)} {p.operand(a)}, {p.operand(b)}")


def cmpf(p: TextWriter, op: Any) -> str:
    predicate = CMPF_PREDICATES[op.attributes["predicate"].value]
    a, b = op.operands
    return p.assign(f"fcmp {predicate} {llvm_type(a.type)} {p.operand(a)}, {p.operand(b)}")


def select_op(p: TextWriter, op: Any) -> str:
    condition, a, b = op.operands
    t = llvm_type(a.type)
    return p.assign(f"select {p.typed(condition)}, {t} {p.operand(a)}, {t} {p.operand(b)}")


def cast(instruction: str) -> Handler:
    def handler(p: TextWriter, op: Any) -> str:
        source, target = op.operands[0], op.results[0]
        a, b = llvm_type(source.type), llvm_type(target.type)
        if a == b:
            return p.operand(source)
        return p.assign(f"{instruction} {a} {p.operand(source)} to {b}")

    return handler


HALVES = {"f16": "half", "bf16": "bfloat"}


def half_cast(instruction: str) -> Handler:
    """f32 <-> f16 and bf16 (carried as i16) and f32 <-> f64."""

    def handler(p: TextWriter, op: Any) -> str:
        source, target = op.operands[0], op.results[0]
        a, b = llvm_type(source.type), llvm_type(target.type)
        name = p.operand(source)
        if str(element_of(source.type)) in HALVES:
            half = a.replace("i16", HALVES[str(element_of(source.type))])
            name, a = p.assign(f"bitcast {a} {name} to {half}"), half
        if str(element_of(target.type)) in HALVES:
            half = b.replace("i16", HALVES[str(element_of(target.type))])
            narrow = p.assign(f"{instruction} {a} {name} to {half}")
            return p.assign(f"bitcast {half} {narrow} to {b}")
        return p.assign(f"{instruction} {a} {name} to {b}")

    return handler


def index_cast(extend: str) -> Handler:
    def handler(p: TextWriter, op: Any) -> str:
        source, target = op.operands[0], op.results[0]
        a, b = llvm_type(source.type), llvm_type(target.type)
        if a == b:
            return p.operand(source)
        instruction = extend if width(target.type) > width(source.type) else "trunc"
        return p.assign(f"{instruction} {a} {p.operand(source)} to {b}")

    return handler


def saturating(name: str) -> Handler:
    """Float to integer: NaN to 0, what is out of range to the nearest that is in it."""

    def handler(p: TextWriter, op: Any) -> str:
        source, target = op.operands[0], op.results[0]
        a, b = llvm_type(source.type), llvm_type(target.type)
        if isinstance(target.type, VectorType) and 1 < width(target.type) < 32:
            return _clamped(p, source, target.type, name == "fptosi")
        suffix = f"{intrinsic_suffix(target.type)}.{intrinsic_suffix(source.type)}"
        return p.intrinsic(f"llvm.{name}.sat.{suffix}", b, [(a, p.operand(source))])

    return handler


def _clamped(p: TextWriter, source: Value, target: Any, signed: bool) -> str:
    """Vectors of narrow integers by way of i32: their bounds are floats, while LLVM would go lane by lane."""
    a, b = llvm_type(source.type), llvm_type(target)
    bits = width(target)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    element = llvm_type(element_of(source.type))
    name = p.operand(source)
    value = name
    lanes = f"<{target.shape[0]} x i1>"
    within = not signed and _is_within(source, low, high)
    # A NaN that passes becomes the least i32, whose low bits are 0.
    for predicate, bound in () if within else (("ogt", low), ("olt", high)):
        limit = f"splat ({element} {float_literal(float(bound))})"
        inside = p.assign(f"fcmp {predicate} {a} {value}, {limit}")
        value = p.assign(f"select {lanes} {inside}, {a} {value}, {a} {limit}")
    wide = f"<{target.shape[0]} x i32>"
    whole = p.assign(f"fptosi {a} {value} to {wide}")
    if signed:
        ordered = p.assign(f"fcmp ord {a} {name}, {name}")
        whole = p.assign(f"select {lanes} {ordered}, {wide} {whole}, {wide} zeroinitializer")
    return p.assign(f"trunc {wide} {whole} to {b}")


def _is_within(value: Value, low: float, high: float) -> bool:
    """True of a maximum with ``low`` and a minimum with ``high`` (or tighter): the value, or NaN."""
    found = {}
    for name in ("arith.minimumf", "arith.maximumf"):
        op: Any = value.defining_op
        bound = None if op is None or op.name != name else known_number(op.operands[1])
        if bound is None:
            return False
        found[name] = bound
        value = op.operands[0]
    return found["arith.maximumf"] >= low and found["arith.minimumf"] <= high


def extended(instruction: str) -> Handler:
    """Low and high half of a product, through twice the width."""

    def handler(p: TextWriter, op: Any) -> tuple[str, str]:
        a, b = op.operands
        type = a.type
        n = width(type)
        t = llvm_type(type)
        wide = f"<{type.shape[0]} x i{2 * n}>" if isinstance(type, VectorType) else f"i{2 * n}"
        amount = f"splat (i{2 * n} {n})" if isinstance(type, VectorType) else str(n)
        left = p.assign(f"{instruction} {t} {p.operand(a)} to {wide}")
        right = p.assign(f"{instruction} {t} {p.operand(b)} to {wide}")
        product = p.assign(f"mul {wide} {left}, {right}")
        low = p.assign(f"trunc {wide} {product} to {t}")
        shifted = p.assign(f"lshr {wide} {product}, {amount}")
        return low, p.assign(f"trunc {wide} {shifted} to {t}")

    return handler


def add_extended(p: TextWriter, op: Any) -> tuple[str, str]:
    a, b = op.operands
    t = llvm_type(a.type)
    total = p.assign(f"add {t} {p.operand(a)}, {p.operand(b)}")
    return total, p.assign(f"icmp ult {t} {total}, {p.operand(a)}")


def fma(p: TextWriter, op: Any) -> str:
    t = llvm_type(op.operands[0].type)
    arguments = [(t, p.operand(v)) for v in op.operands]
    return p.intrinsic(f"llvm.fma.{intrinsic_suffix(op.operands[0].type)}", t, arguments)


def classify(predicate: str, bound: str) -> Handler:
    """isnan, isinf, isfinite, isnormal through comparisons of |x|."""

    def handler(p: TextWriter, op: Any) -> str:
        value = op.operands[0]
        t = llvm_type(value.type)
        name = p.operand(value)
        if predicate == "uno":
            return p.assign(f"fcmp uno {t} {name}, {name}")
        magnitude = p.intrinsic(f"llvm.fabs.{intrinsic_suffix(value.type)}", t, [(t, name)])
        infinity = splat_text("0x7FF0000000000000", value.type)
        if predicate != "normal":
            return p.assign(f"fcmp {predicate} {t} {magnitude}, {infinity}")
        smallest = "0x3810000000000000" if width(value.type) == 32 else "0x0010000000000000"
        finite = p.assign(f"fcmp olt {t} {magnitude}, {infinity}")
        large = p.assign(f"fcmp oge {t} {magnitude}, {splat_text(smallest, value.type)}")
        return p.assign(f"and {mask_type(value.type)} {finite}, {large}")

    return handler


HANDLERS: dict[str, Handler] = {
    "arith.addf": binary("fadd"),
    "arith.addi": binary("add"),
    "arith.addui_extended": add_extended,
    "arith.andi": binary("and"),
    "arith.bitcast": cast("bitcast"),
    "arith.ceildivsi": rounded_division(True, True),
    "arith.ceildivui": rounded_division(False, True),
    "arith.cmpf": cmpf,
    "arith.cmpi": cmpi,
    "arith.divf": binary("fdiv"),
    "arith.divsi": divide(True, False),
    "arith.divui": divide(False, False),
    "arith.extf": half_cast("fpext"),
    "arith.extsi": cast("sext"),
    "arith.extui": cast("zext"),
    "arith.floordivsi": rounded_division(True, False),
    "arith.fptosi": saturating("fptosi"),
    "arith.fptoui": saturating("fptoui"),
    "arith.index_cast": index_cast("sext"),
    "arith.index_castui": index_cast("zext"),
    "arith.maximumf": extremum("ogt"),
    "arith.maxnumf": number_extremum("ogt"),
    "arith.maxsi": intrinsic_binary("smax"),
    "arith.maxui": intrinsic_binary("umax"),
    "arith.minimumf": extremum("olt"),
    "arith.minnumf": number_extremum("olt"),
    "arith.minsi": intrinsic_binary("smin"),
    "arith.minui": intrinsic_binary("umin"),
    "arith.mulf": binary("fmul"),
    "arith.muli": binary("mul"),
    "arith.mulsi_extended": extended("sext"),
    "arith.mului_extended": extended("zext"),
    "arith.negf": negf,
    "arith.ori": binary("or"),
    "arith.remsi": divide(True, True),
    "arith.remui": divide(False, True),
    "arith.select": select_op,
    "arith.shli": shift("shl"),
    "arith.shrsi": shift("ashr"),
    "arith.shrui": shift("lshr"),
    "arith.sitofp": cast("sitofp"),
    "arith.subf": binary("fsub"),
    "arith.subi": binary("sub"),
    "arith.truncf": half_cast("fptrunc"),
    "arith.trunci": cast("trunc"),
    "arith.uitofp": cast("uitofp"),
    "arith.xori": binary("xor"),
    "math.absf": intrinsic_unary("fabs"),
    "math.absi": intrinsic_unary("abs", "false"),
    "math.ceil": intrinsic_unary("ceil"),
    "math.copysign": intrinsic_binary("copysign"),
    "math.ctlz": intrinsic_unary("ctlz", "false"),
    "math.ctpop": intrinsic_unary("ctpop"),
    "math.cttz": intrinsic_unary("cttz", "false"),
    "math.floor": intrinsic_unary("floor"),
    "math.fma": fma,
    "math.isfinite": classify("olt", "inf"),
    "math.isinf": classify("oeq", "inf"),
    "math.isnan": classify("uno", ""),
    "math.isnormal": classify("normal", ""),
    "math.roundeven": intrinsic_unary("roundeven"),
    "math.sqrt": intrinsic_unary("sqrt"),
    "math.trunc": intrinsic_unary("trunc"),
}
