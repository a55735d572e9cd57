"""A kernel module as LLVM text: the entry that reads the dispatch ABI, its body, and private functions."""

from __future__ import annotations

from typing import Any

from iree_codegen.dispatch import scalar_words
from iree_codegen.kernel import BINDINGS, KERNEL
from iree_core_ir.ir.types import FloatType
from iree_hal import abi
from iree_target_llvm.function_printer import FunctionPrinter
from iree_target_llvm.llvm_types import llvm_type
from iree_target_llvm.tile_registers import TileRegisters
from iree_target_llvm.tile_text import configuration_text


def module_text(module: Any, attributes: str = "", architecture: str = "") -> str:
    """``attributes`` go to every function (``"prefer-vector-width"="512"``)."""
    declarations: dict[str, str] = {}
    functions: list[str] = []
    tiles = TileRegisters.of(module)
    for func in module.regions[0].block:
        functions.append(FunctionPrinter(func, declarations, tiles, architecture).text())
        if KERNEL in func.attributes:
            functions.append(entry_text(func))
    if tiles:
        functions.append(configuration_text(tiles.configuration()))
    head = f"attributes #0 = {{ nounwind {attributes} }}"
    return "\n\n".join([abi.llvm_types(), *functions, *declarations.values(), head]) + "\n"


def entry_text(func: Any) -> str:
    """The symbol of the ABI: loads bindings, constants and ids, and calls the body."""
    name = func.attributes["sym_name"].value
    args = func.regions[0].block.args
    n_bindings = func.attributes[BINDINGS].value
    lines: list[str] = []
    operands: list[str] = []
    dispatch, workgroup = abi.DISPATCH, abi.WORKGROUP

    def field(pointer: str, struct: Any, field_name: str, type: str, target: str) -> None:
        offset = struct.offset(field_name)
        lines.append(f"  {target}.p = getelementptr i8, ptr {pointer}, i64 {offset}")
        lines.append(f"  {target} = load {type}, ptr {target}.p, align {8 if type == 'ptr' else 4}")

    field("%dispatch", dispatch, "bindings", "ptr", "%bindings")
    field("%dispatch", dispatch, "constants", "ptr", "%constants")
    for i in range(n_bindings):
        lines.append(f"  %b{i}.p = getelementptr ptr, ptr %bindings, i64 {i}")
        lines.append(f"  %b{i} = load ptr, ptr %b{i}.p, align 8")
        operands.append(f"ptr %b{i}")
    word = 0
    for i, argument in enumerate(args[n_bindings:-4]):
        type = argument.type
        text = llvm_type(type)
        words = scalar_words(type, name)
        whole = 32 * words
        lines.append(f"  %s{i}.p = getelementptr i32, ptr %constants, i64 {word}")
        lines.append(f"  %s{i}.w = load i{whole}, ptr %s{i}.p, align 4")
        value = f"%s{i}.w"
        if text in ("float", "double"):
            lines.append(f"  %s{i} = bitcast i{whole} {value} to {text}")
            value = f"%s{i}"
        elif text != f"i{whole}":
            lines.append(f"  %s{i} = trunc i{whole} {value} to {text}")
            value = f"%s{i}"
        assert not isinstance(type, FloatType) or type.width in (16, 32, 64)
        operands.append(f"{text} {value}")
        word += words
    for axis in "xyz":
        field("%workgroup", workgroup, f"id_{axis}", "i32", f"%id{axis}")
        lines.append(f"  %{axis} = zext i32 %id{axis} to i64")
        operands.append(f"i64 %{axis}")
    field("%workgroup", workgroup, "scratch", "ptr", "%scratch")
    operands.append("ptr %scratch")
    lines.append(f'  %code = call i32 @"{name}.body"({", ".join(operands)})')
    lines.append("  ret i32 %code")
    head = f'define i32 @"{name}"(ptr nocapture readonly %dispatch, ptr nocapture readonly %workgroup) #0 {{'
    return "\n".join([head, *lines, "}"])
