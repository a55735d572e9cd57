"""Fixtures of the dialect tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify


@pytest.fixture
def round_trip() -> Callable[[str], str]:
    """``round_trip(text)`` parses, verifies and prints; the text must be a fixed point in both forms."""

    def check(text: str) -> str:
        module = parse_module(text)
        verify(module)
        printed = print_op(module)
        assert print_op(parse_module(printed)) == printed
        generic = print_op(module, generic=True)
        again = parse_module(generic)
        verify(again)
        assert print_op(again, generic=True) == generic
        assert print_op(again) == printed
        clone = module.clone()
        assert print_op(clone) == printed
        return printed

    return check


@pytest.fixture
def ops_of() -> Callable[[str], set[str]]:
    """``ops_of(text)``: the names of the ops in a module."""

    def names(text: str) -> set[str]:
        return {op.name for op in parse_module(text).walk()}

    return names
