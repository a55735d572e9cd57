"""Enums that pretty assembly writes as a bare word: ``x`` for ``#gpu.dim<x>``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.enums import EnumAttr
from iree_core_ir.ir.types import i64

E = TypeVar("E", bound=EnumAttr)


class WordAttr(EnumAttr):
    """``#dialect<kind word>``, with no brackets of its own."""

    __slots__ = ()
    bracketed = False

    def print_parameters(self, printer: Any) -> str:
        return f" {self.value}"


def parse_word(p: Any, cls: type[E]) -> E:
    """One of the cases of ``cls``, bare."""
    word = p.keyword()
    if word not in cls.cases:
        p.fail_at_previous(f"'{word}' is not one of {', '.join(cls.cases)}")
    return cls(word)


def parse_case(p: Any, cases: Sequence[str]) -> IntegerAttr:
    """One of ``cases`` as the integer MLIR stores for it."""
    word = p.keyword()
    if word not in cases:
        p.fail_at_previous(f"'{word}' is not one of {', '.join(cases)}")
    return IntegerAttr(cases.index(word), i64)
