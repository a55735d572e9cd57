"""``recurrence``: a recurrent layer as one loop over its steps, states in scratch.

A workgroup takes some rows of the batch through all steps. A step goes through panels of elements: the sums
of all gates of a panel stay in registers while the state is multiplied with the weights, and the cell is
computed there. Weights come as panels in the order they are read: packed when the artefact is written if they
are constants, else into scratch before the first step.

With one stage the first state is kept twice, as every panel reads the old one. With several the state is
read before it is written, and the sums of the earlier stages wait in scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.cost_model import LATENCY
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.gate_panels import GATE_PANELS, gate_panel_shape
from iree_codegen.indexing import Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index, vector_of
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.scalars import ScalarEvaluator
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.dialects.linalg_ext_recurrence import Recurrence
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, index
from iree_core_ir.target import ConstantLayout

NAME = "recurrence"
MOST_ROWS = 6
"""Rows of the batch that share the weights they read, at most."""


def find_recurrence(dispatch: Dispatch) -> Recurrence | None:
    """The recurrence whose results are those of the dispatch."""
    found = [op for op in dispatch.ops if isinstance(op, Recurrence)]
    if len(found) != 1 or any(value.owner is not found[0] for value, _ in dispatch.results):
        return None
    return found[0]


def layouts(dispatch: Dispatch, description: WorkgroupDescription) -> list[ConstantLayout] | None:
    """How constant weights should be stored; None when this strategy does not take the dispatch."""
    op = find_recurrence(dispatch)
    if op is None:
        return None
    shape = _Shape(dispatch, description, op)
    wanted = []
    for stage, weights in enumerate(op.weights):
        binding = dispatch.binding_of(weights)
        if binding is None or not binding.constant or -1 in weights.type.shape:
            continue
        packed = gate_panel_shape(weights.type.shape, op.stage_gates(stage), shape.width(stage))
        type = TensorType(packed, weights.type.element_type)
        wanted.append(ConstantLayout(binding.argument, GATE_PANELS, shape.parameters(stage), type))
    return wanted


class _Shape:
    """Lanes, rows and vectors of the register tiles: the same for layouts and for code."""

    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, op: Recurrence) -> None:
        self.op = op
        element: Any = op.outputs[0].type.element_type
        self.lanes: int = max(1, description.vector_bits // element.width)
        self.registers: int = description.registers
        batch = dispatch.dims(op.results[0])[1]
        shared = [1]
        if op.row_lengths is None and isinstance(batch, int):
            shared = [n for n in range(1, MOST_ROWS + 1) if batch % n == 0]
        stages = range(op.n_stages)
        self.rows = min(shared, key=lambda n: sum(self._tile(s, n)[0] for s in stages) / n)
        self.vectors = [self._tile(s, self.rows)[1] for s in stages]

    def width(self, stage: int) -> int:
        """Elements of a panel."""
        return self.vectors[stage] * self.lanes

    def parameters(self, stage: int) -> dict[str, Any]:
        return {"gates": self.op.stage_gates(stage), "width": self.width(stage)}

    def _tile(self, stage: int, rows: int) -> tuple[float, int]:
        """(cycles of a step of the product, vectors of elements) for the best tile of so many rows.

        Weights come from the L2 cache: a vector of them costs more than a port's half cycle.
        """
        gates = self.op.stage_gates(stage)
        best: tuple[float, int] = (float("inf"), 1)
        for vectors in range(1, 9):
            sums = gates * vectors * rows
            fits = sums + gates * vectors + 1 <= self.registers
            if vectors > 1 and not fits:
                break
            panels = -(-self.op.size // (vectors * self.lanes))
            step = max(sums / 2, gates * vectors + rows / 2, LATENCY if sums < 2 * LATENCY else 0)
            best = min(best, (panels * step * (1 if fits else 4), vectors))
        return best


def recurrence(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    op = find_recurrence(dispatch)
    if op is None:
        return None
    return _Emitter(dispatch, description, op).run()


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, op: Recurrence) -> None:
        self.dispatch = dispatch
        self.op = op
        self.shape = _Shape(dispatch, description, op)
        self.lanes, self.rows = self.shape.lanes, self.shape.rows
        self.masks: bool = description.masks
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.element = op.outputs[0].type.element_type
        n_steps, n_rows, _ = dispatch.dims(op.results[0])
        self.n_rows = n_rows
        self.steps = self.kernel.dim(n_steps)
        self.size = op.size
        self.pitch = max(-(-op.size // self.shape.width(s)) * self.shape.width(s) for s in range(op.n_stages))
        self.t, self.b = Var("t", n_steps), Var("b", n_rows)
        self.j = Var("j", op.size)
        self.results = dict(dispatch.results)
        # The first state, twice with one stage; the others; between stages a vector and the sums.
        self.twice = op.n_stages == 1
        block = self.rows * self.pitch
        view = self.frame.scratch_view
        self.states = [
            view(block * (2 if i == 0 and self.twice else 1), self.element) for i in range(op.n_states)
        ]
        self.vectors = [view(block, self.element) for _ in range(op.n_stages - 1)]
        self.sums = [view(block * op.stage_gates(s), self.element) for s in range(op.n_stages - 1)]
        self.weights: list[Value] = []
        self.first_row: Index = 0

    def run(self) -> Kernel:
        k, op = self.kernel, self.op
        blocks = dim_ops.ceildiv(self.n_rows, self.rows)
        self.first_row = 0 if blocks == 1 else k.mul(self.frame.ids[0], self.rows)
        self.weights = [self._weights(stage) for stage in range(op.n_stages)]
        self._each_row(self._start)
        steps: Index = self.steps
        if op.row_lengths is not None:
            steps = self._length()
        backward = op.reverse is not None

        def step(t: Index) -> None:
            self._step(k.sub(k.add(steps, -1), t) if backward else t, k.mod(t, 2) if self.twice else 0)

        k.loop(0, steps, 1, (), step)
        if op.row_lengths is not None and op.results[0] in self.results:
            k.loop(steps, self.steps, 1, (), self._silence)
        parity = k.mod(steps, 2) if self.twice else 0
        self._each_row(lambda row: self._finish(row, parity))
        tiles = ", ".join(f"{self.rows}x{op.stage_gates(s)}x{v}" for s, v in enumerate(self.shape.vectors))
        why = f"rows x gates x vectors of {self.lanes} lanes: {tiles}"
        return self.frame.finish([blocks], self.frame.scratch_bytes, NAME, why)

    # -- before and behind the steps -----------------------------------------------------------------

    def _weights(self, stage: int) -> Value:
        """The memory of a stage's weights in panels."""
        op, k = self.op, self.kernel
        value = op.weights[stage]
        binding = self.dispatch.binding_of(value)
        if binding is not None and binding.packed is not None:
            assert binding.is_packed(GATE_PANELS, self.shape.parameters(stage))
            return self.frame.binding_args[binding.index]
        gates, width = op.stage_gates(stage), self.shape.width(stage)
        panels = -(-self.size // width)
        memory = self.frame.scratch_view(panels * self.size * gates * width, self.element)
        zero = k.constant(0.0, vector_of(self.lanes, self.element))
        depth, gate = Var("k", self.size), Var("g", gates)
        forms = [indexing.of(gate).scaled(self.size) + indexing.of(self.j), indexing.of(depth)]

        def gate_of_panel(p: Index, at: Index, g: Index) -> None:
            target = k.mul(k.add(k.mul(k.add(k.mul(p, self.size), at), gates), g), width)
            first = k.mul(p, width)
            for v in range(width // self.lanes):
                k.vstore(zero, memory, k.add(target, v * self.lanes))

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                values = {depth: at, gate: g, self.j: k.add(first, j)}
                place = Bindings(k).child(values, self.j if lanes > 1 else None, lanes)
                loaded = self.elements.element(value, forms, Point(place, mask))
                k.vstore(k.splat(loaded, lanes), memory, k.add(target, j), mask)

            vector_loop(k, 0, k.min(k.sub(self.size, first), width), self.lanes, self.masks, once)

        def of_panel(p: Index, at: Index) -> None:
            def of_gate(g: Index) -> None:
                gate_of_panel(p, at, g)

            k.loop(0, gates, 1, (), of_gate)

        def of_depth(at: Index) -> None:
            k.loop(0, panels, 1, (), lambda p: of_panel(p, at))

        k.loop(0, self.size, 1, (), of_depth)
        return memory

    def _each_row(self, body: Callable[[int], None]) -> None:
        for row in range(self.rows):
            body(row)

    def _along(self, body: Callable[[Index, int, Value | None], None]) -> None:
        """All elements of a state, as vectors."""

        def once(j: Index, lanes: int, mask: Value | None = None) -> None:
            body(j, lanes, mask)

        vector_loop(self.kernel, 0, self.size, self.lanes, self.masks, once)

    def _point(self, t: Index, row: int, j: Index, lanes: int, mask: Value | None) -> Point:
        k = self.kernel
        values = {self.t: t, self.b: k.add(self.first_row, row), self.j: j}
        return Point(Bindings(k).child(values, self.j if lanes > 1 else None, lanes), mask)

    def _start(self, row: int) -> None:
        for value, memory in zip(self.op.initial_states, self.states, strict=True):

            def copy(
                j: Index, lanes: int, mask: Value | None, value: Value = value, memory: Value = memory
            ) -> None:
                point = self._point(0, row, j, lanes, mask)
                found = self.elements.element(value, [indexing.of(self.b), indexing.of(self.j)], point)
                at = self.kernel.add(j, row * self.pitch)
                self.kernel.vstore(self.kernel.splat(found, lanes), memory, at, mask)

            self._along(copy)

    def _finish(self, row: int, parity: Index) -> None:
        k = self.kernel
        for number, (result, memory) in enumerate(zip(self.op.results[1:], self.states, strict=True)):
            binding = self.results.get(result)
            if binding is None:
                continue
            start = k.add(self._first(parity) if number == 0 else 0, row * self.pitch)
            target = self.frame.binding_memory(binding)

            def copy(
                j: Index,
                lanes: int,
                mask: Value | None,
                memory: Value = memory,
                start: Index = start,
                target: Any = target,
            ) -> None:
                value = k.vload(memory, k.add(start, j), lanes, mask)
                forms = [indexing.of(self.b), indexing.of(self.j)]
                self.elements.store(value, target, forms, self._point(0, row, j, lanes, mask))

            self._along(copy)

    def _first(self, parity: Index) -> Index:
        """Where the current first state lies."""
        return self.kernel.mul(parity, self.rows * self.pitch) if self.twice else 0

    def _length(self) -> Index:
        """The steps of this workgroup's row."""
        k = self.kernel
        value = self.op.row_lengths
        assert value is not None
        found = self.elements.element(value, [indexing.of(self.b)], self._point(0, 0, 0, 1, None))
        if found.type is not index:
            found = k.cast("arith.index_cast", found, index)
        return k.min(k.max(found, 0), self.steps)

    def _silence(self, t: Index) -> None:
        """The output beyond a row's length."""

        def zero(j: Index, lanes: int, mask: Value | None) -> None:
            value = self.kernel.constant(0.0, vector_of(lanes, self.element))
            self._output(value, self._point(t, 0, j, lanes, mask))

        self._along(zero)

    def _output(self, value: Value, point: Point) -> None:
        binding = self.results.get(self.op.results[0])
        if binding is not None:
            forms = [indexing.of(self.t), indexing.of(self.b), indexing.of(self.j)]
            self.elements.store(value, self.frame.binding_memory(binding), forms, point)

    # -- one step --------------------------------------------------------------------------------------

    def _step(self, t: Index, parity: Index) -> None:
        k = self.kernel
        old = self._first(parity)
        new = self._first(k.sub(1, parity)) if self.twice else 0
        for stage in range(self.op.n_stages):
            panels = -(-self.size // self.shape.width(stage))

            def panel(p: Index, stage: int = stage) -> None:
                sums = self._products(stage, p, old)
                first = k.mul(p, self.shape.width(stage))
                for v in range(self.shape.vectors[stage]):
                    for row in range(self.rows):
                        self._cell(stage, t, row, k.add(first, v * self.lanes), sums[v][row], old, new)

            k.loop(0, panels, 1, (), panel)

    def _products(self, stage: int, panel: Index, old: Index) -> list[list[list[Value]]]:
        """The sums of a panel: ``[vector][row][gate]``."""
        k, lanes, size = self.kernel, self.lanes, self.size
        gates, vectors, width = self.op.stage_gates(stage), self.shape.vectors[stage], self.shape.width(stage)
        source, start = (self.states[0], old) if stage == 0 else (self.vectors[stage - 1], 0)
        memory = self.weights[stage]
        base = k.mul(panel, size * gates * width)
        zero = k.splat(k.constant(0.0, self.element), lanes)
        unroll = next(n for n in (4, 3, 2, 1) if size % n == 0)

        def step(at: Index, *carried: Value) -> list[Value]:
            state = list(carried)
            for u in range(unroll):
                here = k.add(at, u)
                line = k.add(base, k.mul(here, gates * width))
                loaded = [k.vload(memory, k.add(line, n * lanes), lanes) for n in range(gates * vectors)]
                for row in range(self.rows):
                    scalar = k.load(source, k.add(k.add(start, row * self.pitch), here))
                    for n, vector in enumerate(loaded):
                        place = row * gates * vectors + n
                        state[place] = k.fma(scalar, vector, state[place])
            return state

        found = k.loop(0, size, unroll, [zero] * (self.rows * gates * vectors), step)
        return [
            [[found[(row * gates + g) * vectors + v] for g in range(gates)] for row in range(self.rows)]
            for v in range(vectors)
        ]

    def _cell(
        self, stage: int, t: Index, row: int, j: Index, sums: Sequence[Value], old: Index, new: Index
    ) -> None:
        """The region of ``stage`` for one vector of elements of a row, from ``j`` on."""
        k, lanes = self.kernel, self.lanes
        mask = None
        if self.size % self.shape.width(stage):
            mask = k.mask_below(k.sub(self.size, j), lanes) if lanes > 1 else None
        if lanes == 1 and self.size % self.shape.width(stage):
            # One lane has no mask: elements that are not there are skipped.
            k.if_(
                k.compare("slt", j, self.size),
                lambda: self._cell_values(stage, self._point(t, row, j, 1, None), row, j, sums, old, new),
            )
            return
        self._cell_values(stage, self._point(t, row, j, lanes, mask), row, j, sums, old, new)

    def _cell_values(
        self, stage: int, point: Point, row: int, j: Index, sums: Sequence[Value], old: Index, new: Index
    ) -> None:
        k, op, lanes = self.kernel, self.op, self.lanes
        block = op.regions[stage].block
        place = k.add(j, row * self.pitch)
        size = self.rows * self.pitch
        sources: list[Callable[[], Value]] = []
        time, batch, own = indexing.of(self.t), indexing.of(self.b), indexing.of(self.j)
        for g in range(op.gates):
            forms = [time, batch, own + g * self.size]
            sources.append(lambda forms=forms: self.elements.element(op.x, forms, point))  # type: ignore[misc]
        for earlier in range(stage):
            for g in range(op.stage_gates(earlier)):
                at, memory = k.add(place, g * size), self.sums[earlier]
                sources.append(lambda at=at, memory=memory: k.vload(memory, at, lanes))  # type: ignore[misc]
        sources += [lambda total=total: total for total in sums]  # type: ignore[misc]
        rows = op.parameter_rows
        for p in range(op.parameters.value):
            forms = [indexing.constant(p), own]
            sources.append(lambda forms=forms: self.elements.element(rows, forms, point))  # type: ignore[misc,arg-type]
        for number, memory in enumerate(self.states):
            at = k.add(place, old if number == 0 else 0)
            sources.append(lambda at=at, memory=memory: k.vload(memory, at, lanes))  # type: ignore[misc]
        known: dict[Value, Value] = {}
        for argument, source in zip(block.args, sources, strict=True):
            if argument.uses:
                known[argument] = source()
        yielded = [k.splat(v, lanes) for v in ScalarEvaluator(k, _nothing).run(block, known)]
        if stage < op.n_stages - 1:
            k.vstore(yielded[0], self.vectors[stage], place)
            for g, total in enumerate(sums):
                k.vstore(total, self.sums[stage], k.add(place, g * size))
            return
        for number, (value, memory) in enumerate(zip(yielded, self.states, strict=True)):
            k.vstore(value, memory, k.add(place, new if number == 0 else 0))
        self._output(yielded[0], point)


def _nothing(op: Op, lookup: Callable[[Value], Value]) -> Sequence[Value] | None:
    """No op of a cell needs its surroundings."""
    return None
