"""Kernel IR in the interpreter, one workgroup at a time: the oracle between a dispatch and its native code.

Before: a kernel in workgroup or invocation form (from a strategy, or legalized) and one array per binding.
After: the arrays hold what the asked-for workgroups write, and nothing else was touched: memory of bindings
that are only read is read-only while they run, and every access is checked against its binding's extent.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import READ, Dispatch
from iree_codegen.kernel import KERNEL, SUBGROUP_SIZE, WORKGROUP_SIZE, Kernel
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.interpreters.gpu import run_workgroup
from iree_core_ir.ir.types import IndexType

Array = np.ndarray[Any, Any]
WorkgroupId = tuple[int, int, int]

SCRATCH_PATTERN = -1
"""Worker scratch starts as bytes of ones: a NaN for every float type."""


class KernelInterpreter:
    """Runs workgroups of ``kernel``, which was generated from ``dispatch``: all those of one dispatch."""

    def __init__(self, kernel: Kernel, dispatch: Dispatch) -> None:
        self.kernel = kernel
        self.dispatch = dispatch
        self._interpreter = Interpreter(kernel.module)
        self._entry: Any = next(f for f in kernel.module.regions[0].block if KERNEL in f.attributes)
        size: Any = self._entry.attributes.get(WORKGROUP_SIZE)
        self._invocations = None if size is None else tuple(int(n) for n in size.values)
        self._workspace: Array | None = None

    def workgroup_count(self, scalars: Mapping[int, Any]) -> WorkgroupId:
        """The grid for scalar arguments given by argument number."""
        x, y, z = (self._evaluate(e, scalars) for e in self.kernel.export.workgroup_count)
        return x, y, z

    def _evaluate(self, expression: Sequence[Any], scalars: Mapping[int, Any]) -> int:
        values = {
            ordinal: int(scalars[scalar.argument])
            for ordinal, scalar in enumerate(self.dispatch.scalars)
            if isinstance(scalar.value.type, IndexType)
        }
        return dim_ops.evaluate(dim_ops.from_list(expression), values)

    def _shared(self, scalars: Mapping[int, Any]) -> list[Array]:
        """The workspace, if the kernel has one."""
        expression = self.kernel.export.workspace
        if expression is None:
            return []
        if self._workspace is None:
            self._workspace = np.zeros(self._evaluate(expression, scalars), np.int8)
        return [self._workspace]

    def run(
        self,
        arrays: Mapping[int, Array],
        scalars: Mapping[int, Any],
        id: WorkgroupId,
        operations: int | None = None,
    ) -> bool:
        """Run workgroup ``id`` over ``arrays`` (by argument number, contiguous, as they lie in memory:
        packed constants packed). False when it was stopped on the way: after ``operations`` ops, and not
        before something was written.

        Raises CoreIrError for an access outside its binding or scratch and for a failed assertion,
        ValueError for a write to a binding that is only read.
        """
        memory = []
        for binding in self.dispatch.bindings:
            flat = arrays[binding.argument].reshape(-1)
            if binding.access == READ:
                flat = flat.view()
                flat.flags.writeable = False
            memory.append(flat)
        values = [
            int(scalars[s.argument])
            if isinstance(s.value.type, IndexType)
            else np.asarray(scalars[s.argument]).astype(element_type(str(s.value.type)).dtype)[()]
            for s in self.dispatch.scalars
        ]
        written = [m for m, b in zip(memory, self.dispatch.bindings, strict=True) if b.access != READ]
        scratch = np.full(self.kernel.export.scratch_bytes, SCRATCH_PATTERN, np.int8)
        self._interpreter.observer = None if operations is None else _Limit(operations, written)
        arguments = [*memory, *self._shared(scalars), *values, *id, scratch]
        try:
            with np.errstate(all="ignore"):
                if self._invocations is None:
                    self._interpreter.invoke(self._entry, arguments)
                else:
                    self._run_invocations(arguments, scalars, id)
        except _Stopped:
            return False
        return True

    def _run_invocations(self, arguments: list[Any], scalars: Mapping[int, Any], id: WorkgroupId) -> None:
        assert self._invocations is not None
        x, y, z = self._invocations
        run_workgroup(
            self._interpreter,
            self._entry,
            arguments,
            block_id=id,
            grid_dim=self.workgroup_count(scalars),
            block_dim=(x, y, z),
            subgroup_size=self._entry.attributes[SUBGROUP_SIZE].value,
        )


class _Stopped(BaseException):
    """Ends a run that has taken all operations it may; no error, so nothing on the way handles it."""


class _Limit:
    """An observer that stops the interpreter after some ops, once one of ``arrays`` has changed."""

    def __init__(self, operations: int, arrays: Sequence[Array]) -> None:
        self.left = operations
        self.more = max(1, operations // 4)
        self.arrays = arrays
        self.before = [array.tobytes() for array in arrays]

    def __call__(self, op: Any, results: Any) -> None:
        self.left -= 1
        if self.left < 0:
            if any(a.tobytes() != b for a, b in zip(self.arrays, self.before, strict=True)):
                raise _Stopped
            self.left = self.more


def sample(count: WorkgroupId, middle: int, seed: int) -> list[WorkgroupId]:
    """The first and the last workgroup of a grid, then up to ``middle`` seeded ones between them."""
    total = count[0] * count[1] * count[2]
    if total <= middle + 2:
        chosen = list(range(total))
    else:
        inner = random.Random(seed).sample(range(1, total - 1), middle)
        chosen = [0, total - 1, *sorted(inner)]
    return [(i % count[0], i // count[0] % count[1], i // (count[0] * count[1])) for i in chosen]
