"""``recurrence``: a recurrent layer as one loop over its steps, states in scratch.

A workgroup takes some rows of the batch through all steps. A step goes through panels of elements: the sums
of all gates of a panel stay in registers while the state is multiplied with the weights, and the cell is
computed there. Weights come as panels in the order they are read: packed when the artefact is written if they
are constants, else into scratch before the first step.

With one stage the first state is kept twice, as every panel reads the old one. With several the state is
read before it is written, and the sums of the earlier stages wait in scratch.

Where a step is long enough, several workgroups share it, each some of the panels (``shared_phases``): the
states then lie in the workspace of the dispatch. A core so keeps its part of the weights in its cache.
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
from iree_codegen.shared_phases import shared_phases, words_bytes
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.dialects.linalg_ext_recurrence import Recurrence
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, i64, index
from iree_core_ir.target import ConstantLayout

NAME = "recurrence"
MOST_ROWS = 6
"""Rows of the batch that share the weights they read, at most."""
MOST_PARTS = 16
"""Workgroups that share a step, at most."""
TOLD = 750
"""Cycles until what a core has done is known to another, about. ``n`` parts of a step pay where each has
``n`` times as many: every core is told by all the others.
"""
PAUSE_CYCLES = 40
"""What a pause takes, at least."""
PATIENCE = 1 << 17
"""Cycles of pauses after which nobody waits for the owner of a part that should have long been done."""


Span = tuple[Index, Index]
"""The first of some elements, and the one behind the last."""


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
        tiles = [self._tile(s, self.rows) for s in stages]
        self.vectors = [vectors for _, vectors in tiles]
        self.cycles: float = min(cycles for cycles, _ in tiles) * op.size
        """Of the shortest stage of a step."""
        panels = min(-(-op.size // self.width(s)) for s in stages)
        constant = [dispatch.binding_of(w) for w in op.weights]
        self.parts = 1
        if all(b is not None and b.constant for b in constant):
            more = 2
            while more <= min(panels, MOST_PARTS) and self.cycles >= TOLD * more**2:
                self.parts, more = more, 2 * more

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
        self.element = op.outputs[0].type.element_type
        n_steps, n_rows, _ = dispatch.dims(op.results[0])
        self.size = op.size
        self.pitch = max(-(-op.size // self.shape.width(s)) * self.shape.width(s) for s in range(op.n_stages))
        self.blocks = dim_ops.ceildiv(n_rows, self.rows)
        self.parts = self.shape.parts
        # The first state, twice with one stage; the others; between stages a vector and the sums.
        self.twice = op.n_stages == 1
        block = self.rows * self.pitch
        sizes = [block * (2 if i == 0 and self.twice else 1) for i in range(op.n_states)]
        sizes += [block] * (op.n_stages - 1)
        sizes += [block * op.stage_gates(s) for s in range(op.n_stages - 1)]
        workspace = None
        if self.parts > 1:
            self.block_bytes = words_bytes(self.parts) + sum(map(self._lines, sizes))
            workspace = dim_ops.mul(self.blocks, self.block_bytes)
        self.frame = KernelFrame(dispatch, fma=description.fma, workspace=workspace)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.steps = self.kernel.dim(n_steps)
        self.t, self.b = Var("t", n_steps), Var("b", n_rows)
        self.j = Var("j", op.size)
        self.results = dict(dispatch.results)
        if self.parts > 1:
            self.own, self.block = self.frame.ids[0], self.frame.ids[1]
            self.words, views = self._shared(sizes)
        else:
            self.block = self.frame.ids[0]
            views = [self.frame.scratch_view(n, self.element) for n in sizes]
        self.states = views[: op.n_states]
        self.vectors = views[op.n_states : op.n_states + op.n_stages - 1]
        self.sums = views[op.n_states + op.n_stages - 1 :]
        self.weights: list[Value] = []
        self.first_row: Index = 0

    def _lines(self, n: int) -> int:
        """Bytes of the cache lines that ``n`` elements take."""
        width: int = self.element.width
        return -(-n * width // 512) * 64

    def _shared(self, sizes: Sequence[int]) -> tuple[Value, list[Value]]:
        """The words of the block's parts, and memory for its elements behind them."""
        k, memory = self.kernel, self.frame.workspace
        assert memory is not None
        at: Index = 0 if self.blocks == 1 else k.mul(self.block, self.block_bytes)
        words = k.view(memory, at, words_bytes(self.parts) // 8, i64)
        at = k.add(at, words_bytes(self.parts))
        views = []
        for n in sizes:
            views.append(k.view(memory, at, n, self.element))
            at = k.add(at, self._lines(n))
        return words, views

    def run(self) -> Kernel:
        k, op = self.kernel, self.op
        self.first_row = 0 if self.blocks == 1 else k.mul(self.block, self.rows)
        self.weights = [self._weights(stage) for stage in range(op.n_stages)]
        tiles = ", ".join(f"{self.rows}x{op.stage_gates(s)}x{v}" for s, v in enumerate(self.shape.vectors))
        why = f"rows x gates x vectors of {self.lanes} lanes: {tiles}"
        counts = [self.blocks]
        if self.parts > 1:
            self._run_shared()
            counts = [self.parts, self.blocks]
            why += f", {self.parts} workgroups a step"
        else:
            self._run_alone()
        return self.frame.finish(counts, self.frame.scratch_bytes, NAME, why)

    def _run_alone(self) -> None:
        k, op = self.kernel, self.op
        everything = (0, self.size)
        self._each_row(lambda row: self._start(row, everything))
        steps = self._own_steps()

        def step(t: Index) -> None:
            for stage in range(op.n_stages):
                self._stage(stage, t, steps, (0, self._panels(stage)))

        k.loop(0, steps, 1, (), step)
        self._end(steps, everything)

    def _run_shared(self) -> None:
        """Phase 0 makes the first states; then come the stages of all steps; the last gives the results."""
        k, op = self.kernel, self.op
        steps = self._own_steps()
        last = k.add(k.mul(steps, op.n_stages), 1)

        def share(stage: int, part: Index) -> tuple[Index, Index]:
            """The panels of a part."""
            panels = self._panels(stage)
            first = k.floordiv(k.mul(part, panels), self.parts)
            return first, k.floordiv(k.mul(k.add(part, 1), panels), self.parts)

        def elements(part: Index) -> tuple[Index, Index]:
            first, end = share(op.n_stages - 1, part)
            width = self.shape.width(op.n_stages - 1)
            return k.mul(first, width), k.min(k.mul(end, width), self.size)

        def phase(number: Index, part: Index) -> None:
            before = k.sub(number, 1)
            t, current = k.floordiv(before, op.n_stages), k.mod(before, op.n_stages)

            def one(stage: int) -> None:
                if stage == op.n_stages - 1:
                    self._stage(stage, t, steps, share(stage, part))
                    return
                k.if_(
                    k.compare("eq", current, stage),
                    lambda: self._stage(stage, t, steps, share(stage, part)),
                    lambda: one(stage + 1),
                )

            def ends() -> None:
                k.if_(
                    k.compare("eq", number, 0),
                    lambda: self._each_row(lambda row: self._start(row, elements(part))),
                    lambda: self._end(steps, elements(part)),
                )

            inside = k.binary("arith.andi", k.compare("sgt", number, 0), k.compare("slt", number, last))
            k.if_(inside, lambda: one(0), ends)

        patience = max(PATIENCE, round(4 * self.shape.cycles)) // PAUSE_CYCLES
        shared_phases(k, self.words, self.parts, self.own, k.add(last, 1), patience, phase)

    def _panels(self, stage: int) -> int:
        return -(-self.size // self.shape.width(stage))

    def _own_steps(self) -> Index:
        return self.steps if self.op.row_lengths is None else self._length()

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

    def _along(self, span: Span, body: Callable[[Index, int, Value | None], None]) -> None:
        """Some elements of a state, as vectors."""

        def once(j: Index, lanes: int, mask: Value | None = None) -> None:
            body(j, lanes, mask)

        vector_loop(self.kernel, *span, self.lanes, self.masks, once)

    def _point(self, t: Index, row: int, j: Index, lanes: int, mask: Value | None) -> Point:
        k = self.kernel
        values = {self.t: t, self.b: k.add(self.first_row, row), self.j: j}
        return Point(Bindings(k).child(values, self.j if lanes > 1 else None, lanes), mask)

    def _start(self, row: int, span: Span) -> None:
        for value, memory in zip(self.op.initial_states, self.states, strict=True):

            def copy(
                j: Index, lanes: int, mask: Value | None, value: Value = value, memory: Value = memory
            ) -> None:
                point = self._point(0, row, j, lanes, mask)
                found = self.elements.element(value, [indexing.of(self.b), indexing.of(self.j)], point)
                at = self.kernel.add(j, row * self.pitch)
                self.kernel.vstore(self.kernel.splat(found, lanes), memory, at, mask)

            self._along(span, copy)

    def _end(self, steps: Index, span: Span) -> None:
        """What is known behind the last step: the last states, and the output beyond a row's length."""
        k, op = self.kernel, self.op
        if op.row_lengths is not None and op.results[0] in self.results:
            k.loop(steps, self.steps, 1, (), lambda t: self._silence(t, span))
        parity = k.mod(steps, 2) if self.twice else 0
        self._each_row(lambda row: self._finish(row, parity, span))

    def _finish(self, row: int, parity: Index, span: Span) -> None:
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

            self._along(span, copy)

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

    def _silence(self, t: Index, span: Span) -> None:
        """The output beyond a row's length."""

        def zero(j: Index, lanes: int, mask: Value | None) -> None:
            value = self.kernel.constant(0.0, vector_of(lanes, self.element))
            self._output(value, self._point(t, 0, j, lanes, mask))

        self._along(span, zero)

    def _output(self, value: Value, point: Point) -> None:
        binding = self.results.get(self.op.results[0])
        if binding is not None:
            forms = [indexing.of(self.t), indexing.of(self.b), indexing.of(self.j)]
            self.elements.store(value, self.frame.binding_memory(binding), forms, point)

    # -- one step --------------------------------------------------------------------------------------

    def _stage(self, stage: int, number: Index, steps: Index, panels: tuple[Index, Index]) -> None:
        """Some panels of a stage of step ``number``, counted as they come."""
        k = self.kernel
        t = k.sub(k.add(steps, -1), number) if self.op.reverse is not None else number
        parity = k.mod(number, 2) if self.twice else 0
        old = self._first(parity)
        new = self._first(k.sub(1, parity)) if self.twice else 0

        def panel(p: Index) -> None:
            sums = self._products(stage, p, old)
            first = k.mul(p, self.shape.width(stage))
            for v in range(self.shape.vectors[stage]):
                for row in range(self.rows):
                    self._cell(stage, t, row, k.add(first, v * self.lanes), sums[v][row], old, new)

        k.loop(*panels, 1, (), panel)

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
