"""Runs kernel IR in the interpreter: the middle of the comparison linalg - kernel IR - native."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.types import FloatType, IndexType

Array = np.ndarray[Any, Any]
Ids = tuple[int, int, int]


def workgroup_count(kernel: Kernel, scalars: Sequence[int]) -> Ids:
    """How many workgroups the kernel wants for values of the scalar arguments."""
    values = dict(enumerate(scalars))
    x, y, z = (dim_ops.evaluate(dim_ops.from_list(e), values) for e in kernel.export.workgroup_count)
    return x, y, z


def some_workgroups(count: Ids, n_middle: int, seed: int) -> list[Ids]:
    """The first, the last and seeded ones between."""
    total = count[0] * count[1] * count[2]
    numbers = {0, total - 1}
    numbers.update(int(n) for n in np.random.default_rng(seed).integers(0, max(total, 1), n_middle))
    return [
        (n % count[0], n // count[0] % count[1], n // (count[0] * count[1]))
        for n in sorted(numbers)
        if 0 <= n < total
    ]


def interpret_kernel(
    kernel: Kernel, func: Any, inputs: Mapping[int, Any], only: Sequence[Ids] | None = None, fill: float = 77
) -> list[Array]:
    """The results of a kernel run by the interpreter, workgroup by workgroup.

    ``inputs``: argument number of the dispatch function -> array or scalar. Memory that is only written
    starts as ``fill``, so elements outside of the workgroups in ``only`` keep it.
    """
    dispatch = Dispatch(func)
    scalars = [inputs[s.argument] for s in dispatch.scalars]
    integers = {
        s.argument: int(v) if not isinstance(s.value.type, FloatType) else 0
        for s, v in zip(dispatch.scalars, scalars, strict=True)
    }
    memory: list[Array] = []
    for binding in dispatch.bindings:
        dtype = element_type(str(binding.value.type.element_type)).dtype
        shape = [dim_ops.evaluate(d, integers) for d in binding.dims]
        given = inputs.get(binding.argument)
        array = np.array(np.full(shape, fill).astype(dtype) if given is None else given, dtype).reshape(-1)
        memory.append(array)
    arguments: list[Any] = []
    for scalar, value in zip(dispatch.scalars, scalars, strict=True):
        type = scalar.value.type
        is_index = isinstance(type, IndexType)
        arguments.append(int(value) if is_index else element_type(str(type)).dtype.type(value))
    scratch = np.full(kernel.export.scratch_bytes, -1, np.int8)
    count = workgroup_count(kernel, list(integers.values()))
    ids = only
    if ids is None:
        ids = [(x, y, z) for z in range(count[2]) for y in range(count[1]) for x in range(count[0])]
    interpreter = Interpreter(kernel.module)
    for group in ids:
        interpreter.call(kernel.name, *memory, *arguments, *group, scratch)
    shapes = {b.index: [dim_ops.evaluate(d, integers) for d in b.dims] for b in dispatch.bindings}
    return [memory[b.index].reshape(shapes[b.index]) for _, b in dispatch.results]
