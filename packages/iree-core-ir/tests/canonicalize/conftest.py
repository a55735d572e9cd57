"""Fixtures of the canonicalization tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.passes.canonicalize import canonicalize
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify


class Canonicalized:
    """A module before and after canonicalization."""

    def __init__(self, text: str) -> None:
        self.before = parse_module(text)
        verify(self.before)
        self.after = parse_module(text)
        canonicalize(self.after)
        verify(self.after)
        again = print_op(self.after)
        canonicalize(self.after)
        assert print_op(self.after) == again, "not a fixed point"

    @property
    def text(self) -> str:
        return print_op(self.after)

    @property
    def ops(self) -> list[str]:
        """Names of the ops inside the functions, returns and constants left out."""
        hidden = ("func.return", "arith.constant", "index.constant", "index.bool.constant")
        return [
            op.name for f in self.after.body.block for op in f.walk() if op is not f and op.name not in hidden
        ]

    def run(self, *arguments: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The results of ``@f`` before and after."""
        before, after = (Interpreter(module).call("f", *arguments) for module in (self.before, self.after))
        return before, after


@pytest.fixture(scope="session")
def canonicalized() -> Callable[[str], Canonicalized]:
    return Canonicalized


@pytest.fixture(scope="session")
def canonicalized_body() -> Callable[..., Canonicalized]:
    """``canonicalized_body(["i32"], "i32", body)``: arguments %a, %b ..., the body defines %r."""

    def make(types: Sequence[str], result: str, body: str) -> Canonicalized:
        arguments = ", ".join(f"%{'abcdef'[i]}: {t}" for i, t in enumerate(types))
        return Canonicalized(f"func.func @f({arguments}) -> {result} {{\n{body}\n return %r : {result}\n}}")

    return make
