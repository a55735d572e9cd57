"""``recurrence`` in invocation form: a workgroup takes a row of the batch through all steps.

Every invocation has some elements of the states: it multiplies the whole state with its elements' rows of the
weights and computes the cell. States are in shared memory (or scratch); between stages and steps there is a
barrier. With one stage the first state is kept twice, as everyone reads the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.gpu_frame import MAX_SCRATCH_WORKGROUPS, GpuFrame
from iree_codegen.indexing import Bindings, Var
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index, vector_of
from iree_codegen.scalars import ScalarEvaluator
from iree_codegen.strategies.recurrence import find_recurrence
from iree_core_ir.dialects.linalg_ext_recurrence import Recurrence
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import f32, index

NAME = "recurrence"
INVOCATIONS = 256


def recurrence(dispatch: Dispatch, description: InvocationDescription) -> Kernel | None:
    op = find_recurrence(dispatch)
    return None if op is None else _Emitter(dispatch, description, op).run()


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: InvocationDescription, op: Recurrence) -> None:
        self.dispatch = dispatch
        self.op = op
        limit = min(INVOCATIONS, description.max_workgroup_invocations, description.max_workgroup_size[0])
        size = min(description.subgroup_size, limit)
        while size * 2 <= limit and size < op.size:
            size *= 2
        self.frame = GpuFrame(dispatch, description, (size,))
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.element = op.outputs[0].type.element_type
        self.wide = f32 if self.element.width < 32 else self.element
        self.lanes = 4 if self.element is f32 and op.size % 4 == 0 else 1
        n_steps, self.n_rows, _ = dispatch.dims(op.results[0])
        self.n_steps = self.kernel.dim(n_steps)
        self.t, self.b = Var("t", n_steps), Var("b", self.n_rows)
        self.j, self.k = Var("j", op.size), Var("k", op.size)
        self.results = dict(dispatch.results)
        self.twice = op.n_stages == 1
        n = op.size
        self.states = [self._memory(n * (2 if i == 0 and self.twice else 1)) for i in range(op.n_states)]
        self.vectors = [self._memory(n) for _ in range(op.n_stages - 1)]
        self.sums = [self._memory(n * op.stage_gates(s)) for s in range(op.n_stages - 1)]

    def _memory(self, count: int) -> Value:
        """Shared memory where it has room for numbers of 32 bits, else scratch."""
        if self.element is f32 and 4 * count <= self.frame.shared_left():
            return self.frame.shared_memory(count, self.element)
        return self.frame.scratch_view(count, self.element)

    def run(self) -> Kernel:
        k = self.kernel
        count = self.n_rows
        if self.frame.scratch_bytes:
            count = dim_ops.minimum(count, MAX_SCRATCH_WORKGROUPS)
        number = self.frame.workgroup_index(count)
        if self.frame.scratch_bytes:
            k.loop(number, k.dim(self.n_rows), k.dim(count), (), self._row)
        else:
            self.frame.unless_surplus(number, count, lambda: self._row(number))
        why = f"{self.frame.n_invocations} invocations per row of the batch"
        return self.frame.finish(self.frame.folded(count), self.frame.scratch_bytes, NAME, why)

    # -- a row -------------------------------------------------------------------------------------------

    def _row(self, row: Index) -> None:
        k, op = self.kernel, self.op
        self.at = Bindings(k).child({self.b: row})
        self.frame.barrier()  # the last row's states are done with
        self._each(self._start)
        self.frame.barrier()
        steps = self.n_steps if op.row_lengths is None else self._length()
        backward = op.reverse is not None

        def step(t: Index) -> None:
            self._step(k.sub(k.add(steps, -1), t) if backward else t, k.mod(t, 2) if self.twice else 0)

        k.loop(0, steps, 1, (), step)
        if op.row_lengths is not None:
            zero = k.constant(0.0, self.element)

            def silence(t: Index) -> None:
                self._each(lambda j: self._output(zero, t, j))

            k.loop(steps, self.n_steps, 1, (), silence)
        parity = k.mod(steps, 2) if self.twice else 0
        self._each(lambda j: self._finish(j, parity))

    def _each(self, body: Callable[[Index], None]) -> None:
        """All elements of this invocation."""
        k = self.kernel
        k.loop(self.frame.local_id(), self.op.size, self.frame.n_invocations, (), body)

    def _point(self, t: Index, j: Index) -> Point:
        return Point(self.at.child({self.t: t, self.j: j}))

    def _start(self, j: Index) -> None:
        forms = [indexing.of(self.b), indexing.of(self.j)]
        for value, memory in zip(self.op.initial_states, self.states, strict=True):
            self.kernel.store(self.elements.element(value, forms, self._point(0, j)), memory, j)

    def _finish(self, j: Index, parity: Index) -> None:
        k, forms = self.kernel, [indexing.of(self.b), indexing.of(self.j)]
        for number, (result, memory) in enumerate(zip(self.op.results[1:], self.states, strict=True)):
            binding = self.results.get(result)
            if binding is not None:
                value = k.load(memory, k.add(self._first(parity) if number == 0 else 0, j))
                self.elements.store(value, self.frame.binding_memory(binding), forms, self._point(0, j))

    def _first(self, parity: Index) -> Index:
        """Where the current first state begins."""
        return self.kernel.mul(parity, self.op.size) if self.twice else 0

    def _length(self) -> Index:
        k, lengths = self.kernel, self.op.row_lengths
        assert lengths is not None
        found = self.elements.element(lengths, [indexing.of(self.b)], Point(self.at))
        if found.type is not index:
            found = k.cast("arith.index_cast", found, index)
        return k.min(k.max(found, 0), self.n_steps)

    def _output(self, value: Value, t: Index, j: Index) -> None:
        binding = self.results.get(self.op.results[0])
        if binding is not None:
            forms = [indexing.of(self.t), indexing.of(self.b), indexing.of(self.j)]
            self.elements.store(value, self.frame.binding_memory(binding), forms, self._point(t, j))

    # -- a step ------------------------------------------------------------------------------------------

    def _step(self, t: Index, parity: Index) -> None:
        k = self.kernel
        old = self._first(parity)
        new = self._first(k.sub(1, parity)) if self.twice else 0
        for stage in range(self.op.n_stages):

            def cell(j: Index, stage: int = stage) -> None:
                self._cell(stage, t, j, self._products(stage, j, old), old, new)

            self._each(cell)
            self.frame.barrier()

    def _products(self, stage: int, j: Index, old: Index) -> list[Value]:
        """The sums of all gates of element ``j``."""
        k, op, lanes = self.kernel, self.op, self.lanes
        source, start = (self.states[0], old) if stage == 0 else (self.vectors[stage - 1], 0)
        gates, weights = op.stage_gates(stage), op.weights[stage]
        column = indexing.of(self.k)
        rows = [indexing.of(self.j) + g * op.size for g in range(gates)]

        def step(i: Index, *sums: Value) -> list[Value]:
            at = self.at.child({self.j: j, self.k: i}, self.k if lanes > 1 else None, lanes, lanes > 1)
            vector = self._widened(k.vload(source, k.add(start, i), lanes))
            loaded = [self._widened(self.elements.element(weights, [row, column], Point(at))) for row in rows]
            return [k.fma(vector, w, total) for w, total in zip(loaded, sums, strict=True)]

        zero = k.constant(0.0, vector_of(lanes, self.wide))
        found = k.loop(0, op.size, lanes, [zero] * gates, step)
        sums = []
        for vector in found:
            parts = [k.extract(vector, n) for n in range(lanes)] if lanes > 1 else [vector]
            while len(parts) > 1:
                parts = [k.binary("arith.addf", a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            narrow = parts[0] if self.wide is self.element else k.cast("arith.truncf", parts[0], self.element)
            sums.append(narrow)
        return sums

    def _widened(self, value: Value) -> Value:
        return value if self.wide is self.element else self.kernel.cast("arith.extf", value, self.wide)

    def _cell(self, stage: int, t: Index, j: Index, sums: Sequence[Value], old: Index, new: Index) -> None:
        """The region of ``stage`` for element ``j``."""
        k, op, size = self.kernel, self.op, self.op.size
        point, own = self._point(t, j), indexing.of(self.j)
        time, batch = indexing.of(self.t), indexing.of(self.b)
        sources: list[Callable[[], Value]] = []
        for g in range(op.gates):
            forms = [time, batch, own + g * size]
            sources.append(lambda forms=forms: self.elements.element(op.x, forms, point))  # type: ignore[misc]
        for earlier in range(stage):
            for g in range(op.stage_gates(earlier)):
                at, memory = k.add(j, g * size), self.sums[earlier]
                sources.append(lambda at=at, memory=memory: k.load(memory, at))  # type: ignore[misc]
        sources += [lambda total=total: total for total in sums]  # type: ignore[misc]
        rows = op.parameter_rows
        for p in range(op.parameters.value):
            assert rows is not None
            forms = [indexing.constant(p), own]
            sources.append(lambda forms=forms: self.elements.element(rows, forms, point))  # type: ignore[misc]
        for number, memory in enumerate(self.states):
            at = k.add(j, old if number == 0 else 0)
            sources.append(lambda at=at, memory=memory: k.load(memory, at))  # type: ignore[misc]
        block = op.regions[stage].block
        known: dict[Value, Value] = {
            a: source() for a, source in zip(block.args, sources, strict=True) if a.uses
        }
        yielded = ScalarEvaluator(k, _nothing).run(block, known)
        if stage < op.n_stages - 1:
            k.store(yielded[0], self.vectors[stage], j)
            for g, total in enumerate(sums):
                k.store(total, self.sums[stage], k.add(j, g * size))
            return
        for number, (value, memory) in enumerate(zip(yielded, self.states, strict=True)):
            k.store(value, memory, k.add(j, new if number == 0 else 0))
        self._output(yielded[0], t, j)


def _nothing(op: Op, lookup: Callable[[Value], Value]) -> Sequence[Value] | None:
    """No op of a cell needs its surroundings."""
    return None
