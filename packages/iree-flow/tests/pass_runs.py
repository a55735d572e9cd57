"""Running single passes on text."""

from __future__ import annotations

from typing import Any

from iree_core_ir.constants import ConstantStore
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.pass_manager import Pass, PassContext, PassManager
from iree_core_ir.passes.canonicalize import Canonicalize
from iree_core_ir.passes.cse import Cse
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify


def run(text: str, *passes: Pass, constants: ConstantStore | None = None, clean: bool = True) -> Any:
    """The module of ``text`` after ``passes`` (and canonicalization)."""
    store = constants or ConstantStore()
    module = parse_module(text, constants=store)
    after = [Canonicalize(), Cse()] if clean else []
    PassManager([*passes, *after]).run(module, PassContext(constants=store, options={}))
    verify(module)
    return module


def call(module: Any, *inputs: Any, constants: ConstantStore | None = None) -> Any:
    """The results of ``@main``."""
    return Interpreter(module, constants or ConstantStore()).call("main", *inputs)


def names(module: Any) -> list[str]:
    """The names of all ops, in order."""
    return [op.name for op in module.walk()]
