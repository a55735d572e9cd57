"""``amx`` ops as calls of LLVM's intrinsics on numbered tile registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_target_llvm.llvm_types import element_size
from iree_target_llvm.text_writer import TextWriter

CONFIGURATION = "@tile_configuration"
REGISTER = "i8 immarg"


def _call(p: TextWriter, name: str, arguments: list[tuple[str, str]]) -> None:
    types = [REGISTER if type == "i8" else type for type, _ in arguments]
    callee = p.declare(f"llvm.x86.{name}", "void", types)
    p.write(f"call void {callee}({', '.join(f'{type} {value}' for type, value in arguments)})")


def _bytes(p: TextWriter, stride: Any, memory: Any) -> str:
    """The distance of rows in bytes."""
    size = element_size(memory.type.element_type)
    text = p.operand(stride)
    if size == 1:
        return text
    return str(int(text) * size) if text.lstrip("-").isdecimal() else p.assign(f"mul i64 {text}, {size}")


def load(p: TextWriter, op: Any) -> str:
    memory, at, stride = op.operands
    register = p.tile(op.results[0])
    arguments = [("i8", register), ("ptr", p.address(memory, at)), ("i64", _bytes(p, stride, memory))]
    _call(p, "tileloadd64" if op.streamed is None else "tileloaddt164", arguments)
    return register


def store(p: TextWriter, op: Any) -> None:
    memory, at, value, stride = op.operands
    arguments = [("i8", p.operand(value)), ("ptr", p.address(memory, at)), ("i64", _bytes(p, stride, memory))]
    _call(p, "tilestored64", arguments)


def zero(p: TextWriter, op: Any) -> str:
    register = p.tile(op.results[0])
    _call(p, "tilezero", [("i8", register)])
    return register


def _product(p: TextWriter, op: Any, name: str) -> str:
    lhs, rhs, acc = (p.operand(v) for v in op.operands)
    _call(p, name, [("i8", acc), ("i8", lhs), ("i8", rhs)])
    return acc


def multiply(p: TextWriter, op: Any) -> str:
    return _product(p, op, "tdpbf16ps")


def multiply_integers(p: TextWriter, op: Any) -> str:
    kinds = ("u" if zext is not None else "s" for zext in (op.is_zext_lhs, op.is_zext_rhs))
    return _product(p, op, f"tdpb{''.join(kinds)}d")


def configure(p: TextWriter) -> None:
    """Before the first tile op of a workgroup."""
    _call(p, "ldtilecfg", [("ptr", CONFIGURATION)])


def release(p: TextWriter) -> None:
    """Before a workgroup ends: the tiles cost the thread nothing any more."""
    _call(p, "tilerelease", [])


def configuration_text(data: bytes) -> str:
    """The constant that ``configure`` loads."""
    text = "".join(f"\\{byte:02X}" for byte in data)
    return f'{CONFIGURATION} = internal constant [{len(data)} x i8] c"{text}", align 64'


HANDLERS: dict[str, Callable[[TextWriter, Any], Any]] = {
    "amx.tile_load": load,
    "amx.tile_mulf": multiply,
    "amx.tile_muli": multiply_integers,
    "amx.tile_store": store,
    "amx.tile_zero": zero,
}
