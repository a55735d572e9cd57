"""``vector`` ops on native-width vectors as LLVM text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.ir.types import FloatType, i1
from iree_target_llvm.arith_text import extremum_text, number_extremum_text
from iree_target_llvm.llvm_types import element_size, intrinsic_suffix, llvm_type, memory_type
from iree_target_llvm.text_writer import TextWriter


def _memory_vector(type: Any) -> str:
    return f"<{type.shape[0]} x {memory_type(type.element_type)}>"


def _memory_suffix(type: Any) -> str:
    return f"v{type.shape[0]}i8" if type.element_type is i1 else intrinsic_suffix(type)


def _from_memory(p: TextWriter, value: str, type: Any) -> str:
    """Bytes as booleans."""
    if type.element_type is not i1:
        return value
    return p.assign(f"icmp ne {_memory_vector(type)} {value}, zeroinitializer")


def _to_memory(p: TextWriter, value: str, type: Any) -> str:
    if type.element_type is not i1:
        return value
    return p.assign(f"zext {llvm_type(type)} {value} to {_memory_vector(type)}")


def load(p: TextWriter, op: Any) -> str:
    type = op.results[0].type
    pointer = p.address(op.operands[0], op.operands[1])
    size = element_size(type.element_type)
    return _from_memory(p, p.assign(f"load {_memory_vector(type)}, ptr {pointer}, align {size}"), type)


def store(p: TextWriter, op: Any) -> None:
    value = op.operands[0]
    type = value.type
    text = _to_memory(p, p.operand(value), type)
    pointer = p.address(op.operands[1], op.operands[2])
    p.write(f"store {_memory_vector(type)} {text}, ptr {pointer}, align {element_size(type.element_type)}")


def masked_load(p: TextWriter, op: Any) -> str:
    type = op.results[0].type
    memory, at, mask, other = op.operands
    pointer = p.address(memory, at)
    vector = _memory_vector(type)
    passed = _to_memory(p, p.operand(other), type)
    size = element_size(type.element_type)
    value = p.intrinsic(
        f"llvm.masked.load.{_memory_suffix(type)}.p0",
        vector,
        [("ptr", pointer), ("i32", str(size)), (llvm_type(mask.type), p.operand(mask)), (vector, passed)],
    )
    return _from_memory(p, value, type)


def _only_lane(mask: Any) -> int | None:
    """The lane of a constant mask that has one."""
    op = mask.defining_op
    if op is None or op.name != "arith.constant":
        return None
    lanes = op.attributes["value"].to_array().reshape(-1).nonzero()[0]
    return int(lanes[0]) if len(lanes) == 1 else None


def masked_store(p: TextWriter, op: Any) -> None:
    memory, at, mask, value = op.operands
    type = value.type
    vector = _memory_vector(type)
    text = _to_memory(p, p.operand(value), type)
    size = element_size(type.element_type)
    lane = _only_lane(mask)
    if lane is not None:
        # LLVM makes a scalar store of it too, but one of too many bytes where the vector was truncated.
        element = memory_type(type.element_type)
        scalar = p.assign(f"extractelement {vector} {text}, i64 {lane}")
        pointer = p.address(memory, at)
        if lane:
            pointer = p.assign(f"getelementptr {element}, ptr {pointer}, i64 {lane}")
        p.write(f"store {element} {scalar}, ptr {pointer}, align {size}")
        return
    p.intrinsic(
        f"llvm.masked.store.{_memory_suffix(type)}.p0",
        "void",
        [
            (vector, text),
            ("ptr", p.address(memory, at)),
            ("i32", str(size)),
            (llvm_type(mask.type), p.operand(mask)),
        ],
    )


def gather(p: TextWriter, op: Any) -> str:
    memory, at, offsets, mask, other = op.operands
    type = op.results[0].type
    element = memory_type(type.element_type)
    vector = _memory_vector(type)
    lanes = type.shape[0]
    pointer = p.address(memory, at)
    pointers = p.assign(f"getelementptr {element}, ptr {pointer}, {p.typed(offsets)}")
    passed = _to_memory(p, p.operand(other), type)
    size = element_size(type.element_type)
    value = p.intrinsic(
        f"llvm.masked.gather.{_memory_suffix(type)}.v{lanes}p0",
        vector,
        [
            (f"<{lanes} x ptr>", pointers),
            ("i32", str(size)),
            (llvm_type(mask.type), p.operand(mask)),
            (vector, passed),
        ],
    )
    return _from_memory(p, value, type)


def broadcast(p: TextWriter, op: Any) -> str:
    source = op.operands[0]
    vector = llvm_type(op.results[0].type)
    lanes = op.results[0].type.shape[0]
    first = p.assign(f"insertelement {vector} poison, {p.typed(source)}, i64 0")
    return p.assign(f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer")


def shuffle(p: TextWriter, op: Any) -> str:
    mask = op.attributes["mask"].values
    text = ", ".join(f"i32 {lane}" if lane >= 0 else "i32 poison" for lane in mask)
    a, b = op.operands
    return p.assign(f"shufflevector {p.typed(a)}, {p.typed(b)}, <{len(mask)} x i32> <{text}>")


def extract(p: TextWriter, op: Any) -> str:
    lane = op.attributes["static_position"].values[0]
    return p.assign(f"extractelement {p.typed(op.operands[0])}, i64 {lane}")


def insert(p: TextWriter, op: Any) -> str:
    lane = op.attributes["static_position"].values[0]
    scalar, vector = op.operands
    return p.assign(f"insertelement {p.typed(vector)}, {p.typed(scalar)}, i64 {lane}")


def bitcast(p: TextWriter, op: Any) -> str:
    a, b = llvm_type(op.operands[0].type), llvm_type(op.results[0].type)
    return (
        p.operand(op.operands[0]) if a == b else p.assign(f"bitcast {a} {p.operand(op.operands[0])} to {b}")
    )


_INSTRUCTIONS = {"and": "and", "or": "or", "xor": "xor"}


def combine(p: TextWriter, kind: str, a: str, b: str, type: Any) -> str:
    """Two vectors joined by a combining kind."""
    t = llvm_type(type)
    is_float = t.split("x")[-1].strip(" >") in ("float", "double")
    if kind in ("add", "mul"):
        return p.assign(f"{'f' if is_float else ''}{kind} {t} {a}, {b}")
    if kind in _INSTRUCTIONS:
        return p.assign(f"{kind} {t} {a}, {b}")
    if kind in ("maximumf", "minimumf"):
        return extremum_text(p, "ogt" if kind == "maximumf" else "olt", a, b, type)
    if kind in ("maxnumf", "minnumf"):
        return number_extremum_text(p, "ogt" if kind == "maxnumf" else "olt", a, b, type)
    name = {"minsi": "smin", "maxsi": "smax", "minui": "umin", "maxui": "umax"}[kind]
    return p.intrinsic(f"llvm.{name}.{intrinsic_suffix(type)}", t, [(t, a), (t, b)])


def reduction(p: TextWriter, op: Any) -> str:
    """Halves joined until one lane remains: the order is fixed.

    Sums of integers have none, and halving is left to LLVM: behind ours it takes products of bytes for a
    dot product whose first lane were the sum of all.
    """
    from iree_core_ir.ir.types import VectorType

    kind = op.attributes["kind"].value
    vector = op.operands[0]
    element = vector.type.element_type
    lanes = vector.type.shape[0]
    text = p.operand(vector)
    if kind == "add" and not isinstance(element, FloatType) and lanes > 1:
        name = f"llvm.vector.reduce.add.{intrinsic_suffix(vector.type)}"
        return p.intrinsic(name, llvm_type(element), [(llvm_type(vector.type), text)])
    while lanes > 1:
        half = lanes // 2
        full = llvm_type(VectorType((lanes,), element))
        parts = []
        for start in (0, half):
            picks = ", ".join(f"i32 {start + i}" for i in range(half))
            parts.append(p.assign(f"shufflevector {full} {text}, {full} poison, <{half} x i32> <{picks}>"))
        text = combine(p, kind, parts[0], parts[1], VectorType((half,), element))
        lanes = half
    return p.assign(f"extractelement {llvm_type(VectorType((1,), element))} {text}, i64 0")


def dot_u8s8(p: TextWriter, op: Any) -> str:
    types = [llvm_type(v.type) for v in op.operands]
    lanes = op.operands[0].type.shape[0]
    arguments = list(zip(types, (p.operand(v) for v in op.operands), strict=True))
    return p.intrinsic(f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", types[0], arguments)


HANDLERS: dict[str, Callable[[TextWriter, Any], Any]] = {
    "vector.bitcast": bitcast,
    "vector.broadcast": broadcast,
    "vector.extract": extract,
    "vector.gather": gather,
    "vector.insert": insert,
    "vector.load": load,
    "vector.maskedload": masked_load,
    "vector.maskedstore": masked_store,
    "vector.reduction": reduction,
    "vector.shuffle": shuffle,
    "vector.store": store,
    "x86vector.dot_u8s8": dot_u8s8,
}
