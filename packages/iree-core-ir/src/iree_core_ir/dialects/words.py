"""Enum attributes that pretty assembly writes as a bare word: ``slt`` for ``#index<cmp_predicate slt>``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.enums import EnumAttr
from iree_core_ir.ir.types import i64


class WordAttr(EnumAttr):
    """``#dialect<kind word>``; ops print the word through ``custom<...>``."""

    __slots__ = ()
    bracketed = False

    def print_parameters(self, printer: Any) -> str:
        return f" {self.value}"


def parse_case(p: Any, cases: Sequence[str]) -> IntegerAttr:
    """One of ``cases`` as the integer MLIR stores for it."""
    word = p.keyword()
    if word not in cases:
        p.fail_at_previous(f"'{word}' is not one of {', '.join(cases)}")
    return IntegerAttr(cases.index(word), i64)
