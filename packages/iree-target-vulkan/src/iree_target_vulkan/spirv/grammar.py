"""The grammar of SPIR-V as tables, read from ``grammar.json`` (made by ``generate_grammar.py``)."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Version = tuple[int, int]


@dataclass(frozen=True)
class Capability:
    """``since``: the first version of SPIR-V with it, None if it always takes one of ``extensions``."""

    since: Version | None
    extensions: tuple[str, ...]
    implied: tuple[str, ...]


@dataclass(frozen=True)
class Grammar:
    """Operand words: t result type, r result id, i id, n number, s string, w words of a number; or the name
    of an enumeration; then ``?`` for at most one and ``*`` for any number.

    ``instructions``: name without Op -> opcode, operands. ``enumerations``: kind -> name -> value;
    ``parameters``: kind -> name -> operands that follow it; ``bits``: the kinds whose values are joined.
    """

    instructions: dict[str, tuple[int, tuple[str, ...]]]
    enumerations: dict[str, dict[str, int]]
    parameters: dict[str, dict[str, tuple[str, ...]]]
    bits: frozenset[str]
    capabilities: dict[str, Capability]
    glsl: dict[str, int]


@functools.cache
def grammar() -> Grammar:
    text = Path(__file__).with_name("grammar.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return Grammar(
        {name: (code, tuple(words.split())) for name, (code, words) in table["instructions"].items()},
        table["enumerations"],
        {
            kind: {name: tuple(words.split()) for name, words in values.items()}
            for kind, values in table["parameters"].items()
        },
        frozenset(table["bits"]),
        {
            name: Capability(tuple(since) if since else None, tuple(extensions), tuple(implied))
            for name, (since, extensions, implied) in table["capabilities"].items()
        },
        table["glsl"],
    )


__all__ = ["Capability", "Grammar", "Version", "grammar"]
