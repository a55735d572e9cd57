"""Fixtures of the interpreter tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify


@functools.cache
def _interpreter(assembly: str, types: tuple[str, ...], results: tuple[str, ...]) -> Interpreter:
    arguments = ", ".join(f"%{'abcdef'[i]}: {t}" for i, t in enumerate(types))
    count = f":{len(results)}" if len(results) > 1 else ""
    returned = ", ".join(f"%r#{i}" for i in range(len(results))) if count else "%r"
    text = f"""func.func @f({arguments}) -> ({", ".join(results)}) {{
      %r{count} = {assembly}
      return {returned} : {", ".join(results)}
    }}"""
    module = parse_module(text)
    verify(module)
    return Interpreter(module)


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., Any]:
    """``evaluate("arith.addi %a, %b : i8", ["i8", "i8"], "i8", 1, 2)``: the op's result(s)."""

    def run(assembly: str, types: Sequence[str], results: str | Sequence[str], *values: Any) -> Any:
        names = (results,) if isinstance(results, str) else tuple(results)
        outcome = _interpreter(assembly, tuple(types), names).call("f", *values)
        return outcome[0] if isinstance(results, str) else outcome

    return run


@pytest.fixture(scope="session")
def run_text() -> Callable[..., Any]:
    """``run_text(text, *arguments)`` calls ``@f`` of a module; its results."""

    @functools.cache
    def parsed(text: str) -> Any:
        module = parse_module(text)
        verify(module)
        return module

    def run(text: str, *arguments: Any) -> Any:
        return Interpreter(parsed(text)).call("f", *arguments)

    return run
