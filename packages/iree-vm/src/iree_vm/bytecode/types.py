"""Value types, registers and function signatures.

Five register banks: ``i32 i64 f32 f64 ref``. A register is written ``%`` + the bank's letter +
its ordinal (``%i0 %l0 %f0 %d0 %r0``). A signature is written ``(ref, i64, [i64]...) -> (ref)``;
``[T, U]...`` is a variadic segment: zero or more tuples of these types (imports only).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from iree_base.records import record
from iree_vm.errors import VmError

TYPES: tuple[str, ...] = ("i32", "i64", "f32", "f64", "ref")
LETTERS = "ilfdr"
BANK: dict[str, int] = {name: index for index, name in enumerate(TYPES)}

MAX_REGISTERS = 1 << 16
"""Ordinals are encoded in 16 bits."""


class Register(NamedTuple):
    """One register: ``bank`` indexes ``TYPES``."""

    bank: int
    ordinal: int

    @property
    def type(self) -> str:
        return TYPES[self.bank]

    def __str__(self) -> str:
        return f"%{LETTERS[self.bank]}{self.ordinal}"


@record(frozen=True)
class Variadic:
    """A segment: any number of tuples of ``types`` (a tuple of one type is passed as the value itself)."""

    types: tuple[str, ...]

    def __str__(self) -> str:
        return f"[{', '.join(self.types)}]..."


@record(frozen=True)
class Signature:
    """Argument and result types of a function."""

    arguments: tuple[str | Variadic, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.arguments))}) -> ({', '.join(self.results)})"

    @property
    def is_variadic(self) -> bool:
        return any(isinstance(a, Variadic) for a in self.arguments)

    def flat(self, segments: Sequence[int]) -> list[str] | None:
        """Argument types with each variadic segment repeated; None if the counts do not fit."""
        counts = iter(segments)
        out: list[str] = []
        for argument in self.arguments:
            if isinstance(argument, str):
                out.append(argument)
                continue
            count = next(counts, None)
            if count is None:
                return None
            out.extend(argument.types * count)
        return out if next(counts, None) is None else None


_SIGNATURE = re.compile(r"\s*\((?P<arguments>[^()]*)\)\s*(?:->\s*\((?P<results>[^()]*)\)\s*)?\Z")
_ARGUMENT = re.compile(r"\s*(?:(?P<type>\w+)|\[(?P<segment>[\w\s,]*)\]\s*\.\.\.)\s*(?:,(?=\s*\S)|\Z)")


def _types(text: str, whole: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for name in names:
        if name not in BANK:
            raise VmError(
                4, f"unknown type '{name}' in signature '{whole}'", hint="one of " + ", ".join(TYPES)
            )
    return names


def parse_signature(text: str) -> Signature:
    """Read ``(ref, [i64]...) -> (ref)``. Raises VmError 4."""
    match = _SIGNATURE.match(text)
    if match is None:
        raise VmError(4, f"signature '{text}'", hint="write it as (i32, ref, [i64]...) -> (ref)")
    arguments: list[str | Variadic] = []
    rest = match["arguments"]
    position = 0
    while rest[position:].strip():
        part = _ARGUMENT.match(rest, position)
        if part is None:
            raise VmError(4, f"signature '{text}'", hint="write it as (i32, ref, [i64]...) -> (ref)")
        if part["type"] is not None:
            arguments.append(_types(part["type"], text)[0])
        else:
            segment = _types(part["segment"], text)
            if not segment:
                raise VmError(4, f"empty variadic segment in signature '{text}'")
            arguments.append(Variadic(segment))
        position = part.end()
    return Signature(tuple(arguments), _types(match["results"] or "", text))
