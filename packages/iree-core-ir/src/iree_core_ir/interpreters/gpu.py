"""Numpy meanings of ``gpu``: one workgroup at a time, invocations as coroutines between barriers.

``run_workgroup`` calls a kernel function once per invocation. Each invocation runs in a thread of its
own, one at a time: it keeps the turn until it meets a collective op (barrier, subgroup op), waits there
for the others, and goes on in order of its id. So results do not depend on timing. A workgroup of one
invocation, the workgroup form of CPU kernels, runs without threads.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects import gpu
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, Interpreter, implements
from iree_core_ir.interpreters import floats, gpu_matrix, integers
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.interpreters.values import finish, finish_integer
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import FloatType, element_of

Triple = tuple[int, int, int]


class _Abandoned(BaseException):
    """Ends an invocation's thread after another one failed."""


class _Invocation:
    """One invocation: its id, and what it waits for."""

    def __init__(self, group: _Workgroup, linear: int) -> None:
        self.group = group
        self.linear = linear
        x, y, _ = group.block_dim
        self.thread_id: Triple = (linear % x, linear // x % y, linear // (x * y))
        self.turn = threading.Semaphore(0)
        self.waiting: tuple[Op, Any] | None = None
        self.answer: Any = None
        self.done = False
        self.error: BaseException | None = None

    @property
    def lane(self) -> int:
        return self.linear % self.group.subgroup_size

    @property
    def subgroup(self) -> int:
        return self.linear // self.group.subgroup_size


class _Workgroup:
    """The invocations of one workgroup and who has the turn."""

    def __init__(self, block_id: Triple, grid_dim: Triple, block_dim: Triple, subgroup_size: int) -> None:
        self.block_id, self.grid_dim, self.block_dim = block_id, grid_dim, block_dim
        self.subgroup_size = subgroup_size
        self.size = block_dim[0] * block_dim[1] * block_dim[2]
        self.invocations = [_Invocation(self, i) for i in range(self.size)]
        self.scheduler = threading.Semaphore(0)
        self.storage: dict[Op, Any] = {}
        self.abandoned = False

    def run(self, body: Callable[[], None], *, together: bool = True) -> None:
        """Run ``body`` once per invocation; one after the other when they do nothing ``together``."""
        if self.size == 1 or not together:
            for invocation in self.invocations:
                token = _current.set(invocation)
                try:
                    body()
                finally:
                    _current.reset(token)
            return
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(self._invoke, i, body), daemon=True)
            for i in self.invocations
        ]
        for thread in threads:
            thread.start()
        try:
            self._schedule()
        finally:
            self.abandoned = True
            for invocation in self.invocations:
                invocation.turn.release()
            for thread in threads:
                thread.join()

    def _invoke(self, invocation: _Invocation, body: Callable[[], None]) -> None:
        invocation.turn.acquire()
        try:
            if not self.abandoned:
                _current.set(invocation)
                # numpy's error state is per context: the caller's does not reach this thread.
                with np.errstate(all="ignore"):
                    body()
        except _Abandoned:
            pass
        except BaseException as error:
            invocation.error = error
        invocation.done = True
        self.scheduler.release()

    def _schedule(self) -> None:
        ready = list(self.invocations)
        while ready:
            for invocation in ready:
                invocation.turn.release()
                self.scheduler.acquire()
                if invocation.error is not None:
                    raise invocation.error
            ready = self._answer_collectives()

    def _answer_collectives(self) -> list[_Invocation]:
        """Everyone waits or is done: answer what can go on."""
        live = [i for i in self.invocations if not i.done]
        answered: list[_Invocation] = []
        lanes: dict[tuple[int, Op], list[_Invocation]] = {}
        for invocation in live:
            assert invocation.waiting is not None
            op = invocation.waiting[0]
            if not isinstance(op, gpu.Barrier):
                lanes.setdefault((invocation.subgroup, op), []).append(invocation)
        for (_, op), members in lanes.items():
            payloads = {m.lane: m.waiting[1] for m in members if m.waiting is not None}
            answers = _COLLECTIVES[type(op)](op, payloads, self.subgroup_size)
            for member in members:
                member.answer = answers[member.lane]
            answered += members
        if not answered and live:
            # Only barriers are left: all invocations, at one op.
            ops = {i.waiting[0] for i in live if i.waiting is not None}
            if len(ops) > 1 or len(live) < self.size:
                op = min(ops, key=str)
                raise CoreIrError(
                    12,
                    f"{len(live)} of {self.size} invocations wait at {len(ops)} gpu.barrier op(s)",
                    source=op.location.user_text(),
                    cause="a barrier must be reached by all invocations of the workgroup",
                )
            answered = live
        for invocation in answered:
            invocation.waiting = None
        return sorted(answered, key=lambda i: i.linear)

    def collective(self, invocation: _Invocation, op: Op, payload: Any) -> Any:
        """Wait at ``op`` for the others; what it gives this invocation."""
        if self.size == 1:
            function = _COLLECTIVES.get(type(op))
            return None if function is None else function(op, {0: payload}, self.subgroup_size)[0]
        invocation.waiting = (op, payload)
        self.scheduler.release()
        invocation.turn.acquire()
        if self.abandoned:
            raise _Abandoned
        return invocation.answer


_current: contextvars.ContextVar[_Invocation] = contextvars.ContextVar("gpu_invocation")


def _invocation(op: Op) -> _Invocation:
    found = _current.get(None)
    if found is None:
        raise CoreIrError(
            12, f"{op.name} outside of a kernel", source=op.location.user_text(), hint="use run_workgroup"
        )
    return found


def run_workgroup(
    interpreter: Interpreter,
    function: Any,
    arguments: Sequence[Any],
    *,
    block_id: Triple = (0, 0, 0),
    grid_dim: Triple = (1, 1, 1),
    block_dim: Triple = (1, 1, 1),
    subgroup_size: int = 1,
) -> None:
    """Run one workgroup of the kernel ``function`` (name or op) on ``arguments``.

    Memrefs among the arguments are written in place. Raises CoreIrError 12 for barriers that not all
    invocations reach, and what the kernel raises.
    """
    group = _Workgroup(block_id, grid_dim, block_dim, subgroup_size)

    def body() -> None:
        interpreter.call(function, *arguments)

    op = function if isinstance(function, Op) else interpreter.find(function)
    group.run(body, together=_has_collectives(op))


def _has_collectives(function: Op) -> bool:
    """Whether invocations meet anywhere (calls count: nobody looks into them)."""
    together: tuple[type[Op], ...] = (gpu.Barrier, *_COLLECTIVES)
    calls = ("func.call", "gpu.subgroup_mma")
    return any(isinstance(op, together) or op.name.startswith(calls) for op in function.walk())


def workgroup_storage(op: Op, create: Callable[[], Any]) -> Any:
    """The workgroup's one value for ``op`` (an allocation of workgroup memory), made by the first to ask.

    Outside of a kernel it is made anew each time.
    """
    invocation = _current.get(None)
    if invocation is None:
        return create()
    storage = invocation.group.storage
    if op not in storage:
        storage[op] = create()
    return storage[op]


# -- ids ---------------------------------------------------------------------------------------


@implements(gpu.ThreadId)
def thread_id(frame: Frame, op: gpu.ThreadId) -> int:
    return _invocation(op).thread_id[op.axis]


@implements(gpu.BlockId)
def block_id(frame: Frame, op: gpu.BlockId) -> int:
    return _invocation(op).group.block_id[op.axis]


@implements(gpu.BlockDim)
def block_dim(frame: Frame, op: gpu.BlockDim) -> int:
    return _invocation(op).group.block_dim[op.axis]


@implements(gpu.GridDim)
def grid_dim(frame: Frame, op: gpu.GridDim) -> int:
    return _invocation(op).group.grid_dim[op.axis]


@implements(gpu.GlobalId)
def global_id(frame: Frame, op: gpu.GlobalId) -> int:
    invocation = _invocation(op)
    group, axis = invocation.group, op.axis
    return group.block_id[axis] * group.block_dim[axis] + invocation.thread_id[axis]


@implements(gpu.LaneId)
def lane_id(frame: Frame, op: Op) -> int:
    return _invocation(op).lane


@implements(gpu.SubgroupId)
def subgroup_id(frame: Frame, op: Op) -> int:
    return _invocation(op).subgroup


@implements(gpu.NumSubgroups)
def num_subgroups(frame: Frame, op: Op) -> int:
    group = _invocation(op).group
    return -(-group.size // group.subgroup_size)


@implements(gpu.SubgroupSize)
def subgroup_size(frame: Frame, op: Op) -> int:
    return _invocation(op).group.subgroup_size


# -- collectives -----------------------------------------------------------------------------------

_INTEGER_REDUCTIONS = {
    "add": "add", "mul": "mul", "minui": "minu", "minsi": "mins", "maxui": "maxu", "maxsi": "maxs",
    "and": "and", "or": "or", "xor": "xor",
}  # fmt: skip
_FLOAT_REDUCTIONS = {
    "add": "add", "mul": "mul", "minnumf": "minnum", "maxnumf": "maxnum", "minimumf": "minimum",
    "maximumf": "maximum",
}  # fmt: skip


def combine(kind: str, type: Any, a: Any, b: Any) -> Any:
    """``a kind b`` for a name of ``gpu.REDUCTIONS`` on values of ``type``."""
    element = element_of(type)
    if isinstance(element, FloatType):
        f = float_format(element)
        return finish(f.narrow(floats.BINARY[_FLOAT_REDUCTIONS[kind]](f.widen(a), f.widen(b))), a, b)
    g = integer_format(element)
    return finish_integer(g, integers.BINARY[_INTEGER_REDUCTIONS[kind]](g, a, b), a, b)


def _reduce(op: gpu.SubgroupReduce, payloads: dict[int, Any], size: int) -> dict[int, Any]:
    """Over the active lanes of each cluster, in order of the lanes."""
    kind, type = op.operation.value, op.value.type
    cluster = size if op.cluster_size is None else op.cluster_size.value
    stride = 1 if op.cluster_stride is None else op.cluster_stride.value
    totals: dict[tuple[int, int], Any] = {}
    where: dict[int, tuple[int, int]] = {}
    for lane in sorted(payloads):
        # Lanes with equal remainder modulo the stride, within one block of cluster * stride lanes.
        key = where[lane] = (lane // (cluster * stride), lane % stride)
        value = payloads[lane]
        totals[key] = combine(kind, type, totals[key], value) if key in totals else value
    return {lane: totals[where[lane]] for lane in payloads}


def _shuffle(op: gpu.Shuffle, payloads: dict[int, Any], size: int) -> dict[int, Any]:
    mode = op.mode.value
    answers: dict[int, Any] = {}
    for lane, (value, offset, width) in payloads.items():
        base, inner = lane - lane % width, lane % width
        source = {"xor": inner ^ offset, "up": inner - offset, "down": inner + offset, "idx": offset}[mode]
        valid = 0 <= source < width and base + source in payloads
        answers[lane] = (payloads[base + source][0] if valid else value, np.bool_(valid))
    return answers


_COLLECTIVES: dict[type[Op], Callable[..., dict[int, Any]]] = {
    gpu.SubgroupReduce: _reduce,
    gpu.Shuffle: _shuffle,
    **gpu_matrix.COLLECTIVES,
}


@implements(gpu.Barrier)
def barrier(frame: Frame, op: Op) -> None:
    invocation = _invocation(op)
    invocation.group.collective(invocation, op, None)


@implements(gpu.SubgroupReduce)
def subgroup_reduce(frame: Frame, op: Op, value: Any) -> Any:
    invocation = _invocation(op)
    return invocation.group.collective(invocation, op, value)


@implements(gpu.Shuffle)
def shuffle(frame: Frame, op: Op, value: Any, offset: Any, width: Any) -> Any:
    if not 0 < int(width) <= _invocation(op).group.subgroup_size:
        raise CoreIrError(12, f"{op.name}: width {width}", source=op.location.user_text())
    invocation = _invocation(op)
    return invocation.group.collective(invocation, op, (value, int(offset), int(width)))


def _wait(op: Op, payload: Any) -> Any:
    invocation = _invocation(op)
    return invocation.group.collective(invocation, op, payload)


gpu_matrix.register(_wait)
