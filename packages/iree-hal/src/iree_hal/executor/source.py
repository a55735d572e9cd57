"""The executor's LLVM IR: the files in ``ll/`` are templates over the struct table, this file expands them.

Who may touch what: a frame belongs to the thread that calls ``iree_run``; workers touch it only while they
hold a tile, which ``Pool.pending`` counts. The pool belongs to the frame that holds its lease.

Beside plain LLVM IR a line may be ``%v = get Struct.field %p`` (load), ``put i32 %v, Struct.field %p``
(store), ``%q = addr Struct.field %p`` (address), or ``%q = at TYPE %base, i32 %index`` (element of an
array of ``TYPE``, a struct of the table or an LLVM integer or ptr). ``$NAME`` is a constant of
:mod:`iree_hal.executor.structs`, ``$Struct`` a size. Loop variables are allocas; LLVM promotes them.
"""

from __future__ import annotations

import re
from importlib.resources import files

from iree_hal.executor import structs
from iree_hal.layout import SCALARS

MACHINES: dict[str, tuple[str, str, str]] = {
    "x86_64": ("x86_64-unknown-linux-gnu", "x86-64", ""),
    "aarch64": ("aarch64-unknown-linux-gnu", "generic", ""),
}
"""Machine -> (triple, processor, features) the executor is compiled for: the baseline of each."""

PARTS = ("params", "prepare", "tiles", "tickets", "waves")
"""The shared files, callees first."""

_STRUCTS = {s.name: s for s in structs.STRUCTS}
_ELEMENTS = {"i32": 4, "i64": 8, "ptr": 8} | {s.name: s.size for s in structs.STRUCTS}

_GET = re.compile(r"^\s*(%[\w.]+) = get (\w+)\.(\w+) (%[\w.]+)$")
_PUT = re.compile(r"^\s*put (\w+ \S+), (\w+)\.(\w+) (%[\w.]+)$")
_ADDR = re.compile(r"^\s*(%[\w.]+) = addr (\w+)\.(\w+) (%[\w.]+)$")
_AT = re.compile(r"^\s*(%[\w.]+) = at (\w+) (%[\w.]+), i32 (\S+)$")
_NAME = re.compile(r"\$(\w+)")


def _constant(match: re.Match[str]) -> str:
    name = match.group(1)
    if name in _STRUCTS:
        return str(_STRUCTS[name].size)
    return str(structs.layout_version() if name == "LAYOUT_VERSION" else structs.CONSTANTS[name])


def expand(template: str) -> str:
    """The LLVM IR text of ``template``. Raises KeyError for an unknown struct, field or constant."""
    lines: list[str] = []
    for number, line in enumerate(template.splitlines()):
        line = _NAME.sub(_constant, line.split(";", 1)[0].rstrip())
        if m := _GET.match(line):
            result, struct, field, base = m.groups()
            offset, kind = _STRUCTS[struct].offset(field), SCALARS[_STRUCTS[struct].type_of(field)]
            lines.append(f"  {result}.at = getelementptr i8, ptr {base}, i64 {offset}")
            lines.append(f"  {result} = load {kind.llvm}, ptr {result}.at, align {kind.bytes}")
        elif m := _PUT.match(line):
            value, struct, field, base = m.groups()
            offset, kind = _STRUCTS[struct].offset(field), SCALARS[_STRUCTS[struct].type_of(field)]
            if value.split()[0] != kind.llvm:
                raise KeyError(f"line {number + 1}: {struct}.{field} is {kind.llvm}")
            lines.append(f"  %put.{number} = getelementptr i8, ptr {base}, i64 {offset}")
            lines.append(f"  store {value}, ptr %put.{number}, align {kind.bytes}")
        elif m := _ADDR.match(line):
            result, struct, field, base = m.groups()
            lines.append(f"  {result} = getelementptr i8, ptr {base}, i64 {_STRUCTS[struct].offset(field)}")
        elif m := _AT.match(line):
            result, element, base, index = m.groups()
            lines.append(f"  {result}.wide = zext i32 {index} to i64")
            lines.append(f"  {result}.offset = mul i64 {result}.wide, {_ELEMENTS[element]}")
            lines.append(f"  {result} = getelementptr i8, ptr {base}, i64 {result}.offset")
        elif line:
            lines.append(line)
    return "\n".join(lines) + "\n"


def module_text(machine: str) -> str:
    """The whole module for ``machine``: its few own functions, then the shared ones."""
    here = files("iree_hal.executor") / "ll"
    triple = MACHINES[machine][0]
    texts = [(here / f"{name}.ll").read_text(encoding="utf-8") for name in (f"machine_{machine}", *PARTS)]
    return f'target triple = "{triple}"\n' + expand("\n".join(texts))
