"""Legalization of a kernel module: what the target has no instruction for becomes arithmetic.

Narrow floats first (every op on f16, bf16 and 8-bit floats becomes f32 with conversions around), then
functions, then the conversions themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from iree_codegen.legalize import (
    error_function,
    float32,
    float64,
    narrow,
    one_plus,
    power,
    remainder,
    rounding,
    single,
    trigonometry,
)
from iree_codegen.legalize.emit import Emit
from iree_codegen.workgroup_description import KernelDescription
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import FloatType, VectorType, element_of, f32, f64

Unary = Callable[[Emit, Value], Value]


def _in_double(function: Unary) -> Unary:
    """An f32 function computed in f64."""

    def single(e: Emit, x: Value) -> Value:
        return e.narrow(function(e, e.widen(x)))

    return single


def _pair(single: Unary, double: Unary) -> dict[int, Unary]:
    return {32: single, 64: double}


def _double(function: Unary) -> dict[int, Unary]:
    return {32: _in_double(function), 64: function}


UNARY: dict[str, dict[int, Unary]] = {
    "math.acos": _double(trigonometry.acos),
    "math.acosh": _double(float64.acosh),
    "math.asin": _double(trigonometry.asin),
    "math.asinh": _double(float64.asinh),
    "math.atan": _double(trigonometry.atan),
    "math.atanh": _double(float64.atanh),
    "math.cbrt": _double(float64.cbrt),
    "math.cos": _double(trigonometry.cos),
    "math.cosh": _double(float64.cosh),
    "math.erf": _pair(float32.erf, error_function.erf),
    "math.erfc": _double(error_function.erfc),
    "math.exp": _pair(float32.exp, float64.exp),
    "math.exp2": _pair(float32.exp2, float64.exp2),
    "math.expm1": _pair(float32.expm1, float64.expm1),
    "math.log": _pair(float32.log, float64.log),
    "math.log10": _double(float64.log10),
    "math.log1p": _double(float64.log1p),
    "math.log2": _double(float64.log2),
    "math.round": _pair(rounding.round_away, rounding.round_away),
    "math.rsqrt": _pair(float32.rsqrt, float64.rsqrt),
    "math.sin": _double(trigonometry.sin),
    "math.sinh": _double(float64.sinh),
    "math.tan": _double(trigonometry.tan),
    "math.tanh": _pair(float32.tanh, float64.tanh),
}
ROUNDING: dict[str, Unary] = {
    "math.ceil": rounding.ceil,
    "math.floor": rounding.floor,
    "math.roundeven": rounding.roundeven,
    "math.trunc": rounding.trunc,
}


def legalize(module: Op, description: KernelDescription) -> None:
    """Rewrite ``module`` in place."""
    for op in list(module.walk()):
        _narrow(op, description)
    changed = True
    rounds = 0
    while changed:
        changed = False
        rounds += 1
        assert rounds < 8
        for op in list(module.walk()):
            if op.parent is not None and _expand(op, description):
                changed = True


def _width(value: Value) -> int:
    element = element_of(value.type)
    return element.width if isinstance(element, FloatType) else 0


@functools.lru_cache(maxsize=1 << 12)
def _narrow_type(type: Type) -> bool:
    return element_of(type) in narrow.NARROW


def _is_narrow(value: Value) -> bool:
    return _narrow_type(value.type)


def _same_kind(type: Any, element: Any) -> Any:
    return VectorType(type.shape, element) if isinstance(type, VectorType) else element


UNTOUCHED = frozenset({"arith.select", "arith.bitcast", "arith.constant", "arith.extf", "arith.truncf"})


def _narrow(op: Op, description: KernelDescription) -> None:
    """An arithmetic op on narrow floats -> the op on f32 between conversions."""
    name = op.name
    if not name.startswith(("arith.", "math.")) or name in UNTOUCHED:
        if name == "vector.reduction" and _is_narrow(op.operands[0]):
            _narrow_operands(op, description)
        return
    for value in (*op.operands, *op.results):
        if _narrow_type(value.type):
            _narrow_operands(op, description)
            return


def _narrow_operands(op: Op, description: KernelDescription) -> None:
    e = Emit(op, fma_available=description.fma)
    widened = []
    for value in op.operands:
        if _is_narrow(value):
            value = e.make("arith.extf", (value,), _same_kind(value.type, f32))
        widened.append(value)
    op.set_operands(widened)
    assert op.parent is not None
    after = op.next
    for result in op.results:
        if not _is_narrow(result):
            continue
        old = result.type
        result.type = _same_kind(old, f32)
        users = result.users
        back = type(e.make("arith.truncf", (result,), old).owner)
        del back
        made = op.prev
        assert made is not None
        made.detach()
        if after is None:
            op.parent.append(made)
        else:
            op.parent.insert_before(made, after)
        for user in users:
            if user is not made:
                result.replace_uses_in(user, made.results[0])


def _expand(op: Op, description: KernelDescription) -> bool:
    """Replace one op by arithmetic; False when the target has it."""
    name = op.name
    value: Value | None = None
    if name in one_plus.FORMS and one_plus.joined(op, fma_available=description.fma):
        return True
    if name in UNARY:
        function = UNARY[name].get(_width(op.operands[0]))
        if name in single.UNARY and _width(op.operands[0]) == 32 and not description.computes_double:
            function = single.UNARY[name]
        if function is None:
            return False
        value = function(Emit(op, fma_available=description.fma), op.operands[0])
    elif name in ROUNDING and not description.rounding:
        value = ROUNDING[name](Emit(op, fma_available=description.fma), op.operands[0])
    elif name == "math.fma" and not description.fma:
        e = Emit(op, fma_available=False)
        value = e.add(e.mul(op.operands[0], op.operands[1]), op.operands[2])
    elif name == "math.powf":
        value = _power(op, description)
    elif name == "math.fpowi":
        e = Emit(op, fma_available=description.fma)
        in_single = _width(op.operands[0]) == 32
        if in_single and not description.computes_double:
            value = power.powf(e, op.operands[0], e.to_float(op.operands[1], f32))
        else:
            exponent = e.to_float(op.operands[1], f64)
            base = e.widen(op.operands[0]) if in_single else op.operands[0]
            value = power.powf(e, base, exponent, single=in_single)
            value = e.narrow(value) if in_single else value
    elif name == "math.ipowi":
        value = power.ipowi(Emit(op, fma_available=description.fma), *op.operands)
    elif name == "math.atan2":
        e = Emit(op, fma_available=description.fma)
        if _width(op.operands[0]) == 32 and not description.computes_double:
            value = single.atan2(e, *op.operands)
        elif _width(op.operands[0]) == 32:
            value = e.narrow(trigonometry.atan2(e, *[e.widen(v) for v in op.operands]))
        else:
            value = trigonometry.atan2(e, *op.operands)
    elif name == "arith.remf":
        value = remainder.remf(Emit(op, fma_available=description.fma), *op.operands)
    elif name == "math.clampf":
        e = Emit(op, fma_available=description.fma)
        low = e.binary("arith.maximumf", op.operands[0], op.operands[1])
        value = e.binary("arith.minimumf", low, op.operands[2])
    elif name == "math.sincos":
        e = Emit(op, fma_available=description.fma)
        pair = [e.unary("math.sin", op.operands[0]), e.unary("math.cos", op.operands[0])]
        op.replace_by(pair)
        return True
    elif name in ("arith.extf", "arith.truncf"):
        value = _convert(op, description)
    if value is None:
        return False
    op.replace_by([value])
    return True


def _power(op: Op, description: KernelDescription) -> Value:
    e = Emit(op, fma_available=description.fma)
    x, y = op.operands
    if _width(x) == 32 and description.computes_double:
        return e.narrow(power.powf(e, e.widen(x), e.widen(y), single=True))
    return power.powf(e, x, y)


def _convert(op: Op, description: KernelDescription) -> Value | None:
    """Conversions of narrow floats."""
    source, target = op.operands[0], op.results[0]
    e = Emit(op, fma_available=description.fma)
    if op.name == "arith.extf":
        if not _is_narrow(source):
            return None
        if _native_half(element_of(source.type), description) and _width(target) == 32:
            return None
        wide = (
            e.make("arith.extf", (source,), _same_kind(source.type, f32))
            if _native_half(element_of(source.type), description)
            else narrow.to_f32(e, source)
        )
        if _is_narrow(target):
            return e.make("arith.truncf", (wide,), target.type)
        return e.widen(wide) if _width(target) == 64 else wide
    if not _is_narrow(target):
        return None
    element = element_of(target.type)
    if _is_narrow(source):
        wide = e.make("arith.extf", (source,), _same_kind(source.type, f32))
        return e.make("arith.truncf", (wide,), target.type)
    native = _native_half(element, description)
    if _width(source) == 64:
        odd = narrow.odd_f32(e, source)
        return e.make("arith.truncf", (odd,), target.type) if native else narrow.from_f32(e, odd, element)
    if isinstance(source.type, VectorType) and str(element) == "bf16":
        native = description.bf16_conversions
    return None if native else narrow.from_f32(e, source, element)


def _native_half(element: Any, description: KernelDescription) -> bool:
    return bool(description.half_conversions) and str(element) == "f16"
