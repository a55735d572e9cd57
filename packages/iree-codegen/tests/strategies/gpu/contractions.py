"""Runs a dispatch around a contraction through a GPU strategy, workgroup by workgroup, beside the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.decompose import decomposed
from iree_codegen.dispatch import Dispatch
from iree_codegen.interpret_kernel import KernelInterpreter
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel import Kernel
from iree_codegen.legalize.kernel import legalize
from iree_codegen.verify import verify_form
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.types import IntegerType
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

Array = np.ndarray[Any, Any]

GPU = InvocationDescription(
    "test", subgroup_size=32, subgroup_ops=("arithmetic", "shuffle"), shared_memory_bytes=48 << 10,
    max_workgroup_invocations=1024, max_workgroup_size=(1024, 1024, 64), fma=True,
    arithmetic=("f16", "i8", "i64", "f64"), storage=("f16", "i8", "i64", "f64"),
)  # fmt: skip
CPU = InvocationDescription(
    "test", subgroup_size=8, max_workgroup_invocations=1024, max_workgroup_size=(1024, 1024, 64), fma=True,
    prefers_barriers=False, arithmetic=("f16", "i8", "i64", "f64"), storage=("f16", "i8", "i64", "f64"),
)  # fmt: skip
DEVICES = {"gpu": GPU, "cpu": CPU}


def function(text: str) -> Any:
    """The only function of a module text, verified."""
    module = parse_module(text)
    verify(module)
    return next(iter(module.regions[0].block))


def inputs_of(dispatch: Dispatch, scalars: dict[int, int], seed: int) -> dict[int, Array]:
    """Fresh random arrays by argument number; small integers for integer tensors."""
    rng = np.random.default_rng(seed)
    found: dict[int, Array] = {}
    for binding in dispatch.bindings:
        element = binding.value.type.element_type
        shape = [dim_ops.evaluate(d, scalars) for d in binding.dims]
        dtype = element_type(str(element)).dtype
        if isinstance(element, IntegerType):
            found[binding.argument] = rng.integers(-9, 9, shape).astype(dtype)
        else:
            found[binding.argument] = rng.standard_normal(shape).astype(dtype)
    return found


def generate(text: str, strategy: Any, description: InvocationDescription) -> tuple[Any, Dispatch, Kernel]:
    """(function, its dispatch, the verified and legalized kernel); the strategy must take it."""
    func = function(text)
    dispatch = Dispatch(decomposed(func))
    kernel = strategy(dispatch, description)
    assert kernel is not None
    verify(kernel.module)
    verify_form(kernel.module)
    legalize(kernel.module, description)
    verify(kernel.module)
    verify_form(kernel.module)
    return func, dispatch, kernel


def check(
    text: str,
    strategy: Any,
    description: InvocationDescription,
    *,
    scalars: dict[int, int] | None = None,
    tolerance: float = 1e-4,
    seed: int = 0,
    packed: dict[int, tuple[int, ...]] | None = None,
) -> Kernel:
    """The kernel computes what the interpreter computes from the dispatch; returns it.

    Memory that is only written starts as NaN (or a number that no result has). ``packed``: arguments that
    lie in memory under a permutation of their dims.
    """
    func, dispatch, kernel = generate(text, strategy, description)
    given = dict(scalars or {})
    arrays = inputs_of(dispatch, given, seed)
    arguments = [arrays[i] if i in arrays else given[i] for i in range(len(func.regions[0].block.args))]
    expected = Interpreter(func.parent_op).call(func, *arguments)
    written = {b.argument for _, b in dispatch.results if b.access == "write"}
    memory: dict[int, Array] = {}
    for argument, array in arrays.items():
        if argument in written:
            memory[argument] = np.full_like(array, np.nan if array.dtype.kind == "f" else 77)
        else:
            order = (packed or {}).get(argument)
            memory[argument] = np.ascontiguousarray(array if order is None else array.transpose(order))
    interpreter = KernelInterpreter(kernel, dispatch)
    x, y, z = interpreter.workgroup_count(given)
    for number in range(x * y * z):
        interpreter.run(memory, given, (number % x, number // x % y, number // (x * y)))
    for (_, binding), value in zip(dispatch.results, expected, strict=True):
        found, wanted = (np.asarray(v, np.float64) for v in (memory[binding.argument], value))
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
    return kernel
