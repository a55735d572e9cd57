"""``vector`` ops on 2 to 4 lanes; a vector of one lane is a scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_codegen.errors import UNSUPPORTED_TYPE, CodegenError
from iree_core_ir.ir.types import IndexType, VectorType
from iree_target_vulkan.printer.context import is_carried
from iree_target_vulkan.printer.conversions import is_native_half, reinterpret
from iree_target_vulkan.printer.floats import combine
from iree_target_vulkan.printer.values import Values

UNSPECIFIED = 0xFFFFFFFF


def broadcast(p: Values, op: Any) -> int:
    source, target = op.operands[0], op.results[0]
    value = p.operand(source)
    if isinstance(source.type, VectorType):
        if source.type is target.type:
            return value
        value = p.lanes_of(value, source.type)[0]
    return p.construct(p.type(target.type), [value] * p.lanes(target.type))


def shuffle(p: Values, op: Any) -> int:
    mask = [int(lane) for lane in op.attributes["mask"].values]
    a, b = op.operands
    type = op.results[0].type
    if p.lanes(a.type) > 1 and p.lanes(b.type) > 1 and len(mask) > 1:
        lanes = [lane if lane >= 0 else UNSPECIFIED for lane in mask]
        return p.emit("VectorShuffle", p.type(type), p.operand(a), p.operand(b), *lanes)
    scalars = [*p.lanes_of(p.operand(a), a.type), *p.lanes_of(p.operand(b), b.type)]
    return p.construct(p.type(type), [scalars[max(lane, 0)] for lane in mask])


def extract(p: Values, op: Any) -> int:
    positions = op.attributes["static_position"].values
    vector = op.operands[0]
    if not positions or p.lanes(vector.type) == 1:
        return p.operand(vector)
    return p.emit("CompositeExtract", p.type(op.results[0].type), p.operand(vector), int(positions[0]))


def insert(p: Values, op: Any) -> int:
    lane = int(op.attributes["static_position"].values[0])
    scalar, vector = op.operands
    if p.lanes(vector.type) == 1:
        return p.operand(scalar)
    return p.emit("CompositeInsert", p.type(vector.type), p.operand(scalar), p.operand(vector), lane)


def reduction(p: Values, op: Any) -> int:
    """Halves joined until one lane remains: the order is fixed."""
    kind = op.attributes["kind"].value
    vector = op.operands[0]
    element = vector.type.element_type
    scalars = list(p.lanes_of(p.operand(vector), vector.type))
    while len(scalars) > 1:
        half = (len(scalars) + 1) // 2
        joined = [combine(p, kind, a, b, element) for a, b in zip(scalars, scalars[half:], strict=False)]
        scalars = joined + scalars[len(joined) : half]
    if len(op.operands) > 1:
        return combine(p, kind, scalars[0], p.operand(op.operands[1]), element)
    return scalars[0]


def bitcast(p: Values, op: Any) -> int:
    """Lanes taken together or apart, low bits first."""
    source, target = op.operands[0].type, op.results[0].type
    value = p.operand(op.operands[0])
    if is_carried(source) or is_carried(target):
        return value if p.type(source) == p.type(target) else p.emit("Bitcast", p.type(target), value)
    n_source, n_target = p.lanes(source), p.lanes(target)
    if n_source == n_target:
        return reinterpret(p, value, source, target)
    small, large = (source, target) if n_source > n_target else (target, source)
    if _is_native(p, small) and _is_native(p, large):
        return p.emit("Bitcast", p.type(target), value)
    if _bits(p, large) > 32 or is_native_half(p, small) or is_native_half(p, large):
        raise CodegenError(
            UNSUPPORTED_TYPE, f"{op.name} of {source} to {target}", source=op.location.user_text()
        )
    return (_joined if n_source > n_target else _split)(p, value, source, target)


def _bits(p: Values, type: Any) -> int:
    element = type.element_type
    return p.index_bits if isinstance(element, IndexType) else int(element.width)


def _is_native(p: Values, type: Any) -> bool:
    """True when registers hold exactly the bits of the type."""
    return _bits(p, type) in (32, 64) or is_native_half(p, type)


def _joined(p: Values, value: int, source: Any, target: Any) -> int:
    word, width = p.u32, _bits(p, source)
    parts = p.lanes_of(value, source)
    count = len(parts) // p.lanes(target)
    words = []
    for start in range(0, len(parts), count):
        total = parts[start]
        for k in range(1, count):
            moved = p.emit("ShiftLeftLogical", word, parts[start + k], p.u32_constant(k * width))
            total = p.emit("BitwiseOr", word, total, moved)
        words.append(total)
    flat_type = p.module.vector(word, len(words))
    flat = p.construct(flat_type, words)
    return flat if p.type(target) == flat_type else p.emit("Bitcast", p.type(target), flat)


def _split(p: Values, value: int, source: Any, target: Any) -> int:
    word, width = p.u32, _bits(p, target)
    n_words, n_parts = p.lanes(source), p.lanes(target)
    flat_type = p.module.vector(word, n_words)
    flat = value if p.type(source) == flat_type else p.emit("Bitcast", flat_type, value)
    words = [flat] if n_words == 1 else [p.emit("CompositeExtract", word, flat, i) for i in range(n_words)]
    mask = p.u32_constant((1 << width) - 1)
    parts = []
    for whole in words:
        for k in range(n_parts // n_words):
            moved = p.emit("ShiftRightLogical", word, whole, p.u32_constant(k * width)) if k else whole
            parts.append(p.emit("BitwiseAnd", word, moved, mask))
    return p.construct(p.module.vector(word, n_parts), parts)


HANDLERS: dict[str, Callable[[Any, Any], Any]] = {
    "vector.bitcast": bitcast,
    "vector.broadcast": broadcast,
    "vector.extract": extract,
    "vector.insert": insert,
    "vector.reduction": reduction,
    "vector.shuffle": shuffle,
}
