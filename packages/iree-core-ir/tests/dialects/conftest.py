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


@pytest.fixture
def xdsl_refuses() -> Callable[[str, str], list[str]]:
    """``xdsl_refuses(text, dialect)``: the ops of the one function in ``text`` that xDSL does not read.

    Each op of ``dialect`` that xDSL knows is printed alone, with what it depends on. Gives first lines.
    """
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.dialects import get_all_dialects
    from xdsl.parser import Parser

    def refused(text: str, dialect: str) -> list[str]:
        available = get_all_dialects()
        known = {op.name for op in available[dialect]().operations}
        module = parse_module(text)
        function = next(op for op in module.walk() if op.name == "func.func")
        found = []
        for position, op in enumerate(function.regions[0].block):
            if op.name not in known or op is function.regions[0].block.last:
                continue
            copy = function.clone()
            inner = copy.regions[0].block.ops
            needed = {inner[position], inner[-1]}
            for candidate in reversed(inner[:position]):
                if any(
                    user in needed or user.parent_op in needed for r in candidate.results for user in r.uses
                ):
                    needed.add(candidate)
            for other in reversed(inner):
                if other not in needed:
                    other.erase()
            context = Context()
            for name in ("builtin", "func", "arith", "linalg", dialect):
                if name not in context.registered_dialect_names:
                    context.register_dialect(name, available[name])
            try:
                Parser(context, print_op(copy)).parse_module().verify()
            except Exception:  # parse errors and verification errors of several classes
                found.append(str(op).splitlines()[0])
        return found

    return refused
