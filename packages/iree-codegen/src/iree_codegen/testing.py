"""Support for tests: kernels and dispatch functions in the interpreter, compared.

The middle of the comparison linalg - kernel IR - native, and the whole of it where no device is at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.interpret_kernel import KernelInterpreter, WorkgroupId, sample
from iree_codegen.kernel import Kernel
from iree_codegen.legalize.kernel import legalize
from iree_codegen.verify import verify_form
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.types import FloatType, IndexType
from iree_core_ir.verifier import verify

Array = np.ndarray[Any, Any]
FILL = 77
"""What memory that is only written starts as."""


def binding_shapes(dispatch: Dispatch, inputs: Mapping[int, Any]) -> dict[int, list[int]]:
    """Argument number of a binding -> its shape for the scalars among ``inputs``."""
    numbers = {
        s.argument: int(inputs[s.argument]) if not isinstance(s.value.type, FloatType) else 0
        for s in dispatch.scalars
    }
    return {b.argument: [dim_ops.evaluate(d, numbers) for d in b.dims] for b in dispatch.bindings}


def run_reference(func: Any, inputs: Mapping[int, Any]) -> list[Array]:
    """The results of the dispatch function in the interpreter; ``inputs``: argument number -> value."""
    dispatch = Dispatch(func)
    shapes = binding_shapes(dispatch, inputs)
    arguments: list[Any] = []
    for position, argument in enumerate(func.regions[0].block.args):
        type = argument.type
        if position in shapes and position not in inputs:
            arguments.append(np.zeros(shapes[position], element_type(str(type.element_type)).dtype))
        elif position in shapes:
            arguments.append(np.asarray(inputs[position]))
        elif isinstance(type, IndexType):
            arguments.append(int(inputs[position]))
        else:
            arguments.append(np.asarray(inputs[position]).astype(element_type(str(type)).dtype)[()])
    with np.errstate(all="ignore"):
        found = Interpreter(func.parent_op).call(dispatch.name, *arguments)
    return [np.asarray(r) for r in found]


def interpret_kernel(
    kernel: Kernel,
    func: Any,
    inputs: Mapping[int, Any],
    only: Sequence[WorkgroupId] | None = None,
    fill: float = FILL,
) -> list[Array]:
    """The results of a kernel of dispatch function ``func`` run by the interpreter, workgroup by workgroup.

    ``inputs``: argument number of the dispatch function -> array or scalar. Memory that is only written
    starts as ``fill``, so elements outside of the workgroups in ``only`` keep it.
    """
    dispatch = Dispatch(func)
    shapes = binding_shapes(dispatch, inputs)
    arrays: dict[int, Array] = {}
    for binding in dispatch.bindings:
        dtype = element_type(str(binding.value.type.element_type)).dtype
        given = inputs.get(binding.argument)
        start = np.full(shapes[binding.argument], fill).astype(dtype) if given is None else given
        arrays[binding.argument] = np.array(start, dtype)
    interpreter = KernelInterpreter(kernel, dispatch)
    scalars = {s.argument: inputs[s.argument] for s in dispatch.scalars}
    if only is None:
        x, y, z = interpreter.workgroup_count(scalars)
        only = [(i, j, k) for k in range(z) for j in range(y) for i in range(x)]
    for id in only:
        interpreter.run(arrays, scalars, id)
    return [arrays[b.argument] for _, b in dispatch.results]


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


def check_kernel(
    kernel: Kernel,
    func: Any,
    inputs: Mapping[int, Any],
    description: Any,
    *,
    tolerance: float = 1e-5,
    workgroups: int | None = None,
    forms: Sequence[str] = ("kernel", "legalized"),
) -> None:
    """``kernel`` keeps the rules of its form and means what ``func`` does, before and after legalization
    (which it undergoes here).

    ``workgroups``: run a sample of about so many and compare what they wrote.
    """
    expected = run_reference(func, inputs)
    scalars = {s.argument: inputs[s.argument] for s in Dispatch(func).scalars}
    for form in ("kernel", "legalized"):
        if form == "legalized":
            legalize(kernel.module, description)
        verify(kernel.module)
        verify_form(kernel.module)
        if form not in forms:
            continue
        count = KernelInterpreter(kernel, Dispatch(func)).workgroup_count(scalars)
        only = None if workgroups is None else sample(count, max(0, workgroups - 2), seed=1)
        whole = only is None or len(only) == count[0] * count[1] * count[2]
        found = interpret_kernel(kernel, func, inputs, only)
        for got, want in zip(found, expected, strict=True):
            if whole:
                assert_close(got, want, tolerance)
            else:
                touched = got.astype(np.float64) != FILL
                assert touched.any() or not touched.size
                assert_close(np.where(touched, got, want).astype(want.dtype), want, tolerance)


__all__ = [
    "assert_close",
    "check_kernel",
    "interpret_kernel",
    "run_reference",
]
