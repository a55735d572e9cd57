"""Struct layouts as data: one table of fields becomes ctypes, LLVM, C and documentation.

A :class:`Struct` lists fields of fixed-width types; offsets follow the natural alignment that C,
LLVM's default data layouts and ctypes agree on for 64-bit little-endian machines.
"""

from __future__ import annotations

import ctypes
from functools import cached_property
from typing import Any, NamedTuple

from iree_base.records import record


class Scalar(NamedTuple):
    """One field type in the four languages the tables are emitted to."""

    bytes: int
    ctype: Any
    llvm: str
    c: str


SCALARS: dict[str, Scalar] = {
    "u32": Scalar(4, ctypes.c_uint32, "i32", "uint32_t"),
    "i32": Scalar(4, ctypes.c_int32, "i32", "int32_t"),
    "u64": Scalar(8, ctypes.c_uint64, "i64", "uint64_t"),
    "i64": Scalar(8, ctypes.c_int64, "i64", "int64_t"),
    "ptr": Scalar(8, ctypes.c_void_p, "ptr", "void*"),
}


@record(frozen=True)
class Field:
    """``c`` overrides the C spelling of a pointer; ``align`` starts the field on a cache line."""

    name: str
    type: str
    doc: str
    c: str = ""
    align: int = 0


@record(frozen=True)
class Struct:
    """A struct of 64-bit little-endian memory; ``size`` is a multiple of its largest alignment."""

    name: str
    doc: str
    fields: tuple[Field, ...]

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Field name -> byte offset."""
        result: dict[str, int] = {}
        end = 0
        for field in self.fields:
            size = SCALARS[field.type].bytes
            align = max(size, field.align)
            start = -(-end // align) * align
            result[field.name] = start
            end = start + size
        return result

    @cached_property
    def align(self) -> int:
        return max(max(SCALARS[f.type].bytes, f.align) for f in self.fields)

    @cached_property
    def size(self) -> int:
        last = self.fields[-1]
        end = self.offsets[last.name] + SCALARS[last.type].bytes
        return -(-end // self.align) * self.align

    def offset(self, name: str) -> int:
        return self.offsets[name]

    def type_of(self, name: str) -> str:
        return next(f.type for f in self.fields if f.name == name)

    @cached_property
    def ctype(self) -> type[ctypes.Structure]:
        """The ctypes structure; padding for over-aligned fields is explicit."""
        members: list[tuple[str, Any]] = []
        end = 0
        for field in self.fields:
            start = self.offsets[field.name]
            if start - end >= 8 or (start > end and field.align):
                members.append((f"_pad{end}", ctypes.c_uint8 * (start - end)))
            members.append((field.name, SCALARS[field.type].ctype))
            end = start + SCALARS[field.type].bytes
        if self.size > end:
            members.append((f"_pad{end}", ctypes.c_uint8 * (self.size - end)))
        return type(self.name, (ctypes.Structure,), {"_fields_": members})

    @cached_property
    def llvm(self) -> str:
        """``%Name = type { ... }``; only for structs without over-aligned fields."""
        return f"%{self.name} = type {{ {', '.join(SCALARS[f.type].llvm for f in self.fields)} }}"

    @cached_property
    def c(self) -> str:
        """The C declaration, with a comment per field."""
        lines = [f"/* {self.doc} */", f"typedef struct {self.name} {{"]
        for field in self.fields:
            spelled = field.c or SCALARS[field.type].c
            lines.append(f"  {spelled} {field.name}; /* {field.doc} */")
        return "\n".join([*lines, f"}} {self.name};"])

    @cached_property
    def markdown(self) -> str:
        """A table of offsets, types and meanings."""
        head = [
            f"### {self.name}",
            "",
            self.doc,
            "",
            "| offset | field | type | meaning |",
            "|---|---|---|---|",
        ]
        rows = [f"| {self.offsets[f.name]} | `{f.name}` | {f.type} | {f.doc} |" for f in self.fields]
        return "\n".join([*head, *rows, "", f"Size {self.size} bytes, alignment {self.align}."])
