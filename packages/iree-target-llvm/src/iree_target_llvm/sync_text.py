"""``sync`` ops as atomic accesses, and the hint with which a machine waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_target_llvm.text_writer import TextWriter

PAUSES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [("i32", "1")]),
}
"""Architecture -> the intrinsic and its (type, operand) arguments; other machines just go on."""


def load(p: TextWriter, op: Any) -> str:
    return p.assign(f"load atomic i64, ptr {p.address(*op.operands)} acquire, align 8")


def store(p: TextWriter, op: Any) -> None:
    memory, at, new = op.operands
    p.write(f"store atomic i64 {p.operand(new)}, ptr {p.address(memory, at)} release, align 8")


def exchange(p: TextWriter, op: Any) -> str:
    memory, at, old, new = op.operands
    values = f"i64 {p.operand(old)}, i64 {p.operand(new)}"
    swap = p.assign(f"cmpxchg ptr {p.address(memory, at)}, {values} acq_rel acquire, align 8")
    return p.assign(f"extractvalue {{ i64, i1 }} {swap}, 1")


def pause(p: TextWriter, op: Any) -> None:
    found = PAUSES.get(p.architecture)
    if found is not None:
        name, arguments = found
        callee = p.declare(name, "void", [type for type, _ in arguments])
        p.write(f"call void {callee}({', '.join(' '.join(argument) for argument in arguments)})")


HANDLERS: dict[str, Callable[[TextWriter, Any], Any]] = {
    "sync.load": load,
    "sync.store": store,
    "sync.exchange": exchange,
    "sync.pause": pause,
}
