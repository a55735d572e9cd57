"""Emits groups of steps with a team of invocations per outer index.

All members of the team walk the inner loops of every step together. A step's inner loops (or the reduction
loops of a step that leaves one element) are one flat range, cut into vectors; member ``t`` takes vectors
``t``, ``t + size`` ... of it. Ranges of one extent are cut alike, so what a step leaves for the next ones at
the same places stays in registers, and so do inputs that several steps read: a row is loaded once. What is
read at other places goes through shared memory or scratch, with a barrier behind the step that writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dims import Dim
from iree_codegen.dispatch import READ
from iree_codegen.elements import Memory, Point
from iree_codegen.gpu_frame import MAX_SCRATCH_WORKGROUPS, GpuFrame
from iree_codegen.indexing import Affine, Bindings
from iree_codegen.kernel_builder import Index, vector_of
from iree_codegen.plan import Group, Plan, Step, element_bytes
from iree_codegen.row_elements import RowElements
from iree_codegen.row_ranges import Inner, Range, Ranges
from iree_codegen.row_reduction import combiner, identity
from iree_codegen.selection import Selection
from iree_codegen.team import SUBGROUP, Team
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IndexType, element_of

ACCUMULATORS = 4
"""Independent partial results in a loop, so that several loads are on their way."""
IN_SHARED_MEMORY = 4
"""Bytes of the elements that are kept in shared memory."""


class NoRows(Exception):
    """The dispatch does not fit; its text says why."""


class RowEmitter:
    """Emits ``plan`` into ``frame`` for ``team``. Raises NoRows, NotVectorizable."""

    def __init__(self, frame: GpuFrame, plan: Plan, team: Team, *, max_lanes: int) -> None:
        assert isinstance(frame.elements, RowElements)
        self.frame = frame
        self.elements: RowElements = frame.elements
        self.kernel = frame.kernel
        self.dispatch = frame.dispatch
        self.plan = plan
        self.team = team
        self.max_lanes = max_lanes
        self._synced: set[int] = set()
        """Steps (by identity) behind which members wait for each other."""
        self.scratch_bytes = 0
        self.in_registers: dict[Value, dict[int, Value]] = {}
        self.inside: Value | None = None
        """Whether this team has a row of its own; None: it has."""

    # -- groups ---------------------------------------------------------------------------------------

    def run(self) -> Dim:
        """Emit everything; returns the number of workgroups."""
        ranges = Ranges(self.frame, self.plan, self.team.size, self.max_lanes)
        prepared = [(group, ranges.of(group)) for group in self.plan.groups]
        for _, steps in prepared:
            self._place(steps)
        totals = [dim_ops.total([v.extent for v in group.outer]) for group, _ in prepared]  # type: ignore[misc]
        counts = [dim_ops.ceildiv(total, self.team.per_workgroup) for total in totals]
        count = counts[0]
        for other in counts[1:]:
            count = dim_ops.maximum(count, other)
        if self.scratch_bytes:
            count = dim_ops.minimum(count, MAX_SCRATCH_WORKGROUPS)
        for (group, steps), total in zip(prepared, totals, strict=True):
            self._share(group, steps, total, count)
        return count

    def _share(self, group: Group, steps: list[Inner], total: Dim, count: Dim) -> None:
        k = self.kernel
        number = self.team.index(self.frame.workgroup_index(count))

        def row(i: Index) -> None:
            extents: list[Any] = [v.extent for v in group.outer]
            at = Bindings(k)
            if group.outer:
                at = at.child(dict(zip(group.outer, split(k, i, extents), strict=True)))
            self._row(steps, at)

        if self.scratch_bytes:

            def one(i: Index) -> None:
                row(i)
                self.team.sync()

            k.loop(number, k.dim(total), k.dim(count), (), one)
            return
        exact = self.frame.is_exact(count) and dim_ops.mul(count, self.team.per_workgroup) == total
        if exact:
            row(number)
        elif self.team.diverges:
            # Every team takes part in the barriers; those beyond the last row do that one again.
            self.inside = k.compare("ult", number, k.dim(total))
            row(k.min(number, k.dim(dim_ops.sub(total, 1))))
            self.inside = None
        else:
            k.if_(k.compare("ult", number, k.dim(total)), lambda: row(number))

    # -- where intermediates lie ----------------------------------------------------------------------

    def _place(self, steps: list[Inner]) -> None:
        """Intermediates in registers where every reader is at the writer's place, else in memory."""
        for position, inner in enumerate(steps):
            if inner.range is None or inner.reduced:
                continue
            for number, value in enumerate(inner.step.values):
                later = [(s, a) for s in steps[position + 1 :] for a in s.reads if a.value is value]
                strides = self._slab_strides(inner.step)
                same = all(
                    s.range is inner.range
                    and s.range.vectors is not None
                    and Memory(value, strides).address(a.forms) == indexing.of(inner.range.var)
                    for s, a in later
                )
                if same and inner.range.vectors is not None and (later or inner.step.destinations[number]):
                    self.in_registers[value] = {}
                    continue
                if later:
                    if not self.team.whole:
                        raise NoRows("members of a subgroup read what others wrote")
                    self._synced.add(id(inner))
                if inner.step.destinations[number] is None:
                    self._allocate(inner.step, number, strides)

    def _slab_strides(self, step: Step) -> tuple[Dim, ...]:
        inner = dim_ops.strides([step.dims[i] for i in step.slab_dims])
        strides: list[Dim] = [0] * len(step.dims)
        for i, stride in zip(step.slab_dims, inner, strict=True):
            strides[i] = stride
        return tuple(strides)

    def _allocate(self, step: Step, number: int, strides: tuple[Dim, ...]) -> None:
        value = step.values[number]
        count = dim_ops.total([step.dims[i] for i in step.slab_dims])
        if not isinstance(count, int) or not self.team.whole:
            raise NoRows("an intermediate that no registers hold")
        element: Any = element_of(value.type)
        n_bytes = count * element_bytes(value)
        common = isinstance(element, IndexType) is False and element_bytes(value) == IN_SHARED_MEMORY
        if common and n_bytes <= self.frame.shared_left() - _RESERVED:
            memory = self.frame.shared_memory(count, element)
        else:
            memory = self.kernel.view(self.frame.scratch, self.scratch_bytes, count, element)
            self.scratch_bytes += -(-n_bytes // 64) * 64
        self.elements.memory[value] = Memory(memory, strides)

    # -- one row --------------------------------------------------------------------------------------

    def _row(self, steps: list[Inner], at: Bindings) -> None:
        readonly = [self.frame.binding_args[b.index] for b in self.dispatch.bindings if b.access == READ]
        self.elements.start_row(self.kernel.depth, readonly)
        for inner in steps:
            self._emit(inner, at)
            if id(inner) in self._synced:
                self.team.sync()

    def _emit(self, inner: Inner, at: Bindings) -> None:
        step = inner.step
        if inner.range is None or inner.reduced:
            if inner.reduced:
                values = self._reduced(inner, at)
            else:
                point = Point(at)
                values = [self.elements.element_through(v, step.forms, point) for v in step.values]
            for value, scalar, destination in zip(step.values, values, step.destinations, strict=True):
                self.elements.registers[value] = scalar
                if destination is not None:
                    self._store_once(scalar, self.frame.binding_memory(destination), step.forms, at)
            return
        memories: list[Memory | None] = []
        for value, destination in zip(step.values, step.destinations, strict=True):
            own = self.elements.memory.get(value) if destination is None else None
            memories.append(own if destination is None else self.frame.binding_memory(destination))

        def body(point: Point, inside: Value | None) -> None:
            values = [self.elements.element_through(v, inner.forms, point) for v in step.values]
            for value, found in zip(step.values, values, strict=True):
                kept = self.in_registers.get(value)
                if kept is not None and self.elements.vector is not None:
                    kept[self.elements.vector] = self.kernel.splat(found, point.lanes)

            def store() -> None:
                for found, memory in zip(values, memories, strict=True):
                    if memory is not None:
                        self.elements.store(found, memory, inner.forms, point)

            if inside is not None and self.inside is not None:
                inside = self.kernel.binary("arith.andi", inside, self.inside)
            condition = self.inside if inside is None else inside
            if condition is None:
                store()
            elif any(m is not None for m in memories):
                self.kernel.if_(condition, store)

        self._walk(inner.range, at, body)
        for value, memory in zip(step.values, memories, strict=True):
            if value in self.in_registers:
                self.elements.overrides[value] = self._kept(value)
            elif memory is not None:
                self.elements.memory[value] = memory

    def _kept(self, value: Value) -> Callable[[tuple[Affine, ...], Point], Value]:
        kept = self.in_registers[value]

        def find(forms: tuple[Affine, ...], point: Point) -> Value:
            assert self.elements.vector is not None
            return kept[self.elements.vector]

        return find

    def _store_once(self, scalar: Value, memory: Memory, forms: Sequence[Affine], at: Bindings) -> None:
        k = self.kernel
        first = k.compare("eq", self.team.lane, 0)
        if self.inside is not None:
            first = k.binary("arith.andi", first, self.inside)
        k.if_(first, lambda: self.elements.store(scalar, memory, forms, Point(at)))

    def _walk(self, range: Range, at: Bindings, body: Callable[[Point, Value | None], None]) -> None:
        """``body`` at all vectors of this member; beyond the range at its last one, not ``inside``."""
        k, size, lanes = self.kernel, self.team.size, range.lanes
        first = k.mul(self.team.lane, lanes)

        def point(i: Index) -> Point:
            return Point(at.child({range.var: i}, range.var, lanes, True))

        if range.vectors is None:
            k.loop(first, k.dim(range.extent), size * lanes, (), lambda i: body(point(i), None))
            return
        for number, (start, inside) in enumerate(self._places(range)):
            self.elements.vector = number
            body(point(start), inside)
        self.elements.vector = None

    def _places(self, range: Range) -> list[tuple[Index, Value | None]]:
        """Where this member's vectors begin, and for one that may be past the end whether it is inside."""
        k, size, lanes, extent = self.kernel, self.team.size, range.lanes, range.extent
        assert isinstance(extent, int) and range.vectors is not None
        places: list[tuple[Index, Value | None]] = []
        for number in _count(range.vectors):
            start = k.add(k.mul(self.team.lane, lanes), number * size * lanes)
            if (number + 1) * size * lanes <= extent:
                places.append((start, None))
            else:
                inside = k.compare("ult", start, extent)
                places.append((k.min(start, extent - lanes), inside))
        return places

    # -- reductions -----------------------------------------------------------------------------------

    def _reduced(self, inner: Inner, at: Bindings) -> list[Value]:
        """The final scalars of a reduction, at every member."""
        k, op = self.kernel, inner.step.values[0].defining_op
        assert isinstance(op, StructuredOp) and inner.range is not None
        kinds = [combiner(op, i) for i in _count(len(op.outputs))]
        if any(kind is None for kind in kinds) or any(o.regions for o in op.body):
            selection = Selection.of(op)
            if selection is None or self.team.kind == SUBGROUP:
                raise NoRows(f"the results of {op.name} cannot be joined from parts")
            return self._selected(inner, selection, at)
        names = [str(kind) for kind in kinds]
        loops = self.elements.loop_forms(op, 0, inner.forms)
        given = iter(inner.reduced)
        filled = [next(given) if form is None else form for form in loops]
        types = [element_of(v.type) for v in op.outputs]
        lanes = inner.range.lanes
        starts = [k.constant(identity(n, t), vector_of(lanes, t)) for n, t in zip(names, types, strict=True)]

        def combine(a: Sequence[Value], b: Sequence[Value]) -> list[Value]:
            return [k.pure(n, (x, y), x.type) for n, x, y in zip(names, a, b, strict=True)]

        def accumulate(point: Point, state: Sequence[Value]) -> list[Value]:
            values = self.elements.body(op, filled, point, state)
            return [k.splat(v, lanes) for v in values]

        partial = self._accumulated(inner.range, at, starts, accumulate, combine)
        results: list[Value] = []
        scalar_point = Point(at)
        where = [f if loop is not None else indexing.ZERO for f, loop in zip(filled, loops, strict=True)]
        for number, (name, vector) in enumerate(zip(names, partial, strict=True)):
            total = self.team.reduce(name, self._joined_lanes(name, vector, lanes))
            initial = self.elements.initial(op, number, where, scalar_point)
            known = k.constant_of(initial)
            neutral = known is not None and known == identity(name, types[number])
            results.append(total if neutral else k.pure(name, (initial, total), total.type))
        return [results[v.index] for v in inner.step.values]

    def _selected(self, inner: Inner, selection: Selection, at: Bindings) -> list[Value]:
        """As ``_reduced`` where the order counts: every member has one piece of the row."""
        k, op = self.kernel, selection.op
        assert inner.range is not None
        loops = self.elements.loop_forms(op, 0, inner.forms)
        given = iter(inner.reduced)
        filled = [next(given) if form is None else form for form in loops]
        where = [f if loop is not None else indexing.ZERO for f, loop in zip(filled, loops, strict=True)]
        starts = [self.elements.initial(op, i, where, Point(at)) for i in _count(len(op.outputs))]
        extent, var = k.dim(inner.range.extent), inner.range.var
        piece = k.ceildiv(extent, self.team.size)
        first = k.mul(self.team.lane, piece)
        last = k.min(k.add(first, piece), extent)

        def one(i: Index, *state: Value) -> list[Value]:
            return self.elements.body(op, filled, Point(at.child({var: i})), state)

        found = k.loop(first, last, 1, starts, one)
        used = k.compare("ult", first, extent)
        results = self.team.ordered(found, used, lambda a, b: selection.join(k, self.elements.scalar, a, b))
        return [results[v.index] for v in inner.step.values]

    def _joined_lanes(self, name: str, vector: Value, lanes: int) -> Value:
        k = self.kernel
        if lanes == 1:
            return vector
        parts = [k.extract(vector, lane) for lane in _count(lanes)]
        while len(parts) > 1:
            parts = [k.pure(name, (a, b), a.type) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def _accumulated(
        self,
        range: Range,
        at: Bindings,
        starts: list[Value],
        accumulate: Callable[[Point, Sequence[Value]], list[Value]],
        combine: Callable[[Sequence[Value], Sequence[Value]], list[Value]],
    ) -> list[Value]:
        """This member's share of the range, one partial result per lane."""
        k, size, lanes, extent = self.kernel, self.team.size, range.lanes, range.extent
        if range.vectors is not None:
            state = starts

            def each(point: Point, inside: Value | None) -> None:
                nonlocal state
                following = accumulate(point, state)
                if inside is not None:
                    following = [k.select(inside, a, b) for a, b in zip(following, state, strict=True)]
                state = following

            self._walk(range, at, each)
            return state

        def point(i: Index) -> Point:
            return Point(at.child({range.var: i}, range.var, lanes, True))

        n, turn = len(starts), size * lanes
        block = turn * ACCUMULATORS
        first = k.mul(self.team.lane, lanes)

        def several(i: Index, *state: Value) -> list[Value]:
            result: list[Value] = []
            for u in _count(ACCUMULATORS):
                result += accumulate(point(k.add(i, u * turn)), state[u * n : (u + 1) * n])
            return result

        full = k.mul(k.floordiv(k.dim(extent), block), block)
        parts = k.loop(first, full, block, starts * ACCUMULATORS, several)
        state = parts[:n]
        for u in _count(ACCUMULATORS - 1):
            state = combine(state, parts[(u + 1) * n : (u + 2) * n])
        begin = k.add(full, first)
        return k.loop(begin, k.dim(extent), turn, state, lambda i, *s: accumulate(point(i), s))


_RESERVED = 2048
"""Bytes of shared memory left for partial results."""
_count = range


def split(k: Any, i: Index, extents: Sequence[Dim]) -> list[Index]:
    """The indices in a box of ``extents`` at row-major position ``i``."""
    values: list[Index] = []
    for extent in reversed(extents[1:]):
        size = k.dim(extent)
        values.append(k.mod(i, size))
        i = k.floordiv(i, size)
    return [i, *reversed(values)]


__all__ = ["NoRows", "RowEmitter"]
