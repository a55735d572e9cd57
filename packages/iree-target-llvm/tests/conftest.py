"""Shared by the tests: dispatch functions as text, compiled by a named strategy and compared with the interpreter."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from iree_codegen.layouts import constant_layout
from iree_codegen.legalize.kernel import legalize
from iree_codegen.select_strategy import STRATEGIES, generate
from iree_codegen.strategies.convolution import convolution
from iree_codegen.strategies.matmul import matmul
from iree_codegen.strategies.plain_loops import plain_loops
from iree_codegen.strategies.transpose import transpose
from iree_codegen.strategies.vector_loops import vector_loops
from iree_codegen.verify import verify_workgroup_form
from iree_core_ir.constant_transforms import transform_function
from iree_core_ir.ir.attributes import ArrayAttr, DictAttr, StringAttr
from iree_core_ir.target import ExecutableObject
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_target_llvm.description import describe, host_features
from iree_target_llvm.llvm_object import compile_text
from iree_target_llvm.module_printer import module_text
from iree_target_llvm.target import function_attributes
from iree_target_llvm.testing import run_native, run_reference

BY_NAME: dict[str, Any] = {
    "plain-loops": plain_loops,
    "vector-loops": vector_loops,
    "matmul": matmul,
    "transpose": transpose,
    "convolution": convolution,
}
LEVELS = ("x86-64", "x86-64-v3", "x86-64-v4")


def usable_levels() -> list[str]:
    """The psABI levels this machine can run, or ``host`` on another architecture."""
    import platform

    from iree_target_llvm.description import X86_LEVELS

    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["host"]
    present = host_features()
    return [level for level in LEVELS if set(X86_LEVELS[level]) <= present]


@pytest.fixture(params=usable_levels(), scope="session")
def description(request: pytest.FixtureRequest) -> Any:
    return describe({"cpu": request.param})


@pytest.fixture(scope="session")
def best() -> Any:
    """The description of this machine."""
    return describe({})


def function(text: str) -> Any:
    """The only function of a module text, verified."""
    module = parse_module(text)
    verify(module)
    return next(iter(module.regions[0].block))


def compile_with(func: Any, description: Any, strategy: str | None = None) -> ExecutableObject | None:
    """The object from one strategy (None when it declines), or from the first that takes the dispatch."""
    if strategy is None:
        kernel = generate(func, description, STRATEGIES)
    else:
        from iree_codegen.decompose import decomposed
        from iree_codegen.dispatch import Dispatch

        found = BY_NAME[strategy](Dispatch(decomposed(func)), description)
        if found is None:
            return None
        kernel = found
    verify(kernel.module)
    verify_workgroup_form(kernel.module)
    legalize(kernel.module, description)
    verify(kernel.module)
    verify_workgroup_form(kernel.module)
    text = module_text(kernel.module, function_attributes(description))
    data = compile_text(text, description, optimize=kernel.optimize, name=kernel.name)
    return ExecutableObject(data, (kernel.export,), report={"strategy": kernel.strategy})


def pack_constant(func: Any, layout: Any, source: Any) -> Any:
    """``source`` as ``layout`` has it in memory; ``func`` is told so of its argument."""
    packed = transform_function(layout.kind)([source], layout.parameters, layout.type.shape, source.dtype)
    assert packed.shape == tuple(layout.type.shape) and packed.dtype == source.dtype
    items = list(func.attributes["arg_attrs"].items)
    text = json.dumps({"kind": layout.kind, "parameters": dict(layout.parameters)}, sort_keys=True)
    items[layout.argument] = DictAttr({**items[layout.argument].to_dict(), "iree.packed": StringAttr(text)})
    func.attributes["arg_attrs"] = ArrayAttr(items)
    return np.ascontiguousarray(packed)


def laid_out(func: Any, description: Any, inputs: Mapping[int, Any]) -> dict[int, Any]:
    """``inputs`` with constants in the layout that is asked for; ``func`` is told."""
    native = dict(inputs)
    for wanted in constant_layout(func, description):
        native[wanted.argument] = pack_constant(func, wanted, inputs[wanted.argument])
    return native


def assert_close(got: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal integers and booleans; floats within ``tolerance`` of the largest expected magnitude."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape and got.dtype == expected.dtype
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
        return
    a, b = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(b)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_array_equal(a[~finite & ~np.isnan(b)], b[~finite & ~np.isnan(b)])
    if finite.any():
        scale = max(1e-30, np.abs(b[finite]).max())
        assert np.abs(a[finite] - b[finite]).max() <= tolerance * scale


Check = Callable[..., None]


@pytest.fixture
def check(description: Any) -> Check:
    """``check(text, inputs, strategies=..., tolerance=...)``: native results equal the interpreter's."""

    def run(
        text: str,
        inputs: Mapping[int, Any],
        strategies: Sequence[str] = ("plain-loops", "vector-loops"),
        tolerance: float = 1e-5,
        required: bool = True,
    ) -> None:
        func = function(text)
        with np.errstate(all="ignore"):
            expected = run_reference(func, inputs)
        for strategy in strategies:
            compiled = compile_with(func, description, strategy)
            if compiled is None:
                assert not required, f"{strategy} declined"
                continue
            for got, want in zip(run_native(func, compiled, inputs), expected, strict=True):
                assert_close(got, want, tolerance)

    return run
