"""Running single passes on text, and comparing what they leave with the interpreter's answer before."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.constants import ConstantStore
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.pass_manager import Pass, PassContext, PassManager
from iree_core_ir.passes.canonicalize import Canonicalize
from iree_core_ir.passes.cse import Cse
from iree_core_ir.text.parser import parse_module


def run(
    text: str,
    *passes: Pass,
    constants: ConstantStore | None = None,
    clean: bool = True,
    **options: Any,
) -> Any:
    """The module of ``text`` after ``passes`` (and canonicalization); ``options`` are the context's."""
    store = ConstantStore() if constants is None else constants
    module = parse_module(text, constants=store)
    after = [Canonicalize(), Cse()] if clean else []
    context = PassContext(constants=store, options=options)
    # Verified after each: what a pass says to have left as it was must be.
    PassManager([*passes, *after], verify_each=True).run(module, context)
    return module


def call(module: Any, *inputs: Any, constants: ConstantStore | None = None) -> Any:
    """The results of ``@main``."""
    return Interpreter(module, ConstantStore() if constants is None else constants).call("main", *inputs)


def same(text: str, module: Any, *inputs: Any, constants: ConstantStore | None = None) -> None:
    """``module`` gives what ``text`` gives."""
    before = call(parse_module(text, constants=constants), *inputs, constants=constants)
    after = call(module, *inputs, constants=constants)
    for a, b in zip(after, before, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def floats(*shapes: tuple[int, ...], seed: int = 0) -> list[Any]:
    """Fresh f32 arrays."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def names(module: Any) -> list[str]:
    """The names of all ops, in order."""
    return [op.name for op in module.walk()]
