"""Program -> text. ``assembler.assemble`` of the text gives an equal program.

Each operand is printed as its kind in the op table says (``_PRINT``); results go before ``=``. A variadic
call shows its segments in brackets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from iree_vm.bytecode.ops import OPS
from iree_vm.bytecode.program import Function, Global, Instruction, Program, Rodata, Successor
from iree_vm.bytecode.types import TYPES, Signature, Variadic

_CALL, _CALL_VARIADIC = OPS["call"], OPS["call.variadic"]


def _registers(registers: tuple[Any, ...], program: Program) -> str:
    return ", ".join(map(str, registers))


def _successor(successor: Successor, program: Program) -> str:
    arguments = f"({_registers(successor.arguments, program)})" if successor.arguments else ""
    return f"^{successor.block}{arguments}"


def _number(value: int | float, program: Program | None = None) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return repr(value)


_PRINT: dict[str, Callable[[Any, Program], str]] = {
    **dict.fromkeys(TYPES, lambda value, program: str(value)),
    "*": _registers,
    **dict.fromkeys((f"#{name}" for name in TYPES[:4]), _number),
    "#text": lambda value, program: json.dumps(value),
    "rodata": lambda value, program: f"@{program.rodata[value].name}",
    **dict.fromkeys((f"global.{t}" for t in TYPES), lambda value, program: f"@{program.globals[value].name}"),
    "callee": lambda value, program: f"@{program.callee_name(value)}",
    "^": _successor,
    "^*": lambda value, program: f"[{', '.join(_successor(s, program) for s in value)}]",
}


def _segmented(signature: Signature, segments: tuple[int, ...], arguments: tuple[Any, ...]) -> str:
    counts, rest, parts = iter(segments), iter(arguments), []
    for argument in signature.arguments:
        if isinstance(argument, Variadic):
            taken = [str(next(rest)) for _ in range(next(counts) * len(argument.types))]
            parts.append(f"[{', '.join(taken)}]")
        else:
            parts.append(str(next(rest)))
    return ", ".join(parts)


def instruction_text(instruction: Instruction, program: Program) -> str:
    """One instruction of a verified program as text."""
    op, operands = instruction
    results, rest = [], []
    for operand, value in zip(op.operands, operands, strict=True):
        if operand in op.results:
            if value != ():
                results.append(_PRINT[operand.kind](value, program))
        elif operand.kind != "segments" and not (operand.kind == "*" and op is not OPS["return"]):
            rest.append(_PRINT[operand.kind](value, program))
    text = op.name + (" " + ", ".join(rest) if any(rest) else "")
    if op is _CALL:
        text += f"({_registers(operands[2], program)})"
    elif op is _CALL_VARIADIC:
        text += f"({_segmented(program.callee_signature(operands[1]), operands[2], operands[3])})"
    return f"{', '.join(results)} = {text}" if results else text


def _global(variable: Global) -> str:
    mutable = " mutable" if variable.mutable else ""
    initial = f" = {_number(variable.initial)}" if variable.initial else ""
    return f"global @{variable.name} : {variable.type}{mutable}{initial}"


def _rodata(rodata: Rodata) -> str:
    data = bytes(rodata.data)
    align = "" if rodata.alignment == 16 else f" align {rodata.alignment}"
    if data and all(32 <= byte < 127 for byte in data):
        value = json.dumps(data.decode())
    else:
        lines = [data[i : i + 48].hex() for i in range(0, len(data), 48)] or [""]
        value = "\n  ".join(f'hex "{line}"' for line in lines)
    return f"rodata @{rodata.name}{align} = {value}"


def function_text(function: Function, program: Program) -> str:
    """One function as text."""
    results = f" -> ({', '.join(function.signature.results)})" if function.signature.results else ""
    lines = [f"func @{function.name}({_registers(function.blocks[0].params, program)}){results} {{"]
    for index, block in enumerate(function.blocks):
        if index:
            params = f"({_registers(block.params, program)})" if block.params else ""
            lines.append(f"^{index}{params}:")
        lines += [f"  {instruction_text(i, program)}" for i in block.instructions]
    return "\n".join([*lines, "}"])


def disassemble(program: Program) -> str:
    """The whole module as text."""
    version = f" version {program.version}" if program.version else ""
    lines = [f"module @{program.name}{version}"]
    for entry in program.imports:
        optional = "optional " if entry.optional else ""
        version = f" version {entry.version}" if entry.version else ""
        lines.append(f"import {optional}@{entry.name}{entry.signature}{version}")
    lines += map(_global, program.globals)
    lines += map(_rodata, program.rodata)
    lines += [function_text(function, program) for function in program.functions]
    for export in program.exports:
        target = program.functions[export.function].name
        lines.append(f"export @{export.name}" + ("" if target == export.name else f" = @{target}"))
    return "\n".join(lines) + "\n"
