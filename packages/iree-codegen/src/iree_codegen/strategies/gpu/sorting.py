"""``sorting``: a workgroup sorts a row, or finds its top elements, in shared memory.

Entries are (value, position) pairs in a bitonic network; positions make the order total, so equal elements
keep theirs. NaN counts as greater than every number. A row longer than the network passes through it in
pieces: the best so far stay at its front, the rest is filled with the next elements.
"""

from __future__ import annotations

from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.elements import Point
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings, Var
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, element_of, f32, i1, i32, index

NAME = "sorting"
SHORT = 32
"""Rows below so many elements are sorted by one invocation each."""
MOST_ENTRIES = 4096
MOST_INVOCATIONS = 512
NOTHING = (1 << 31) - 1
"""The position of an entry that is none: it comes after all others."""


def sorting(dispatch: Dispatch, description: InvocationDescription) -> Kernel | None:
    found = [op for op in dispatch.ops if op.name in ("linalg_ext.sort", "linalg_ext.topk")]
    if len(found) != 1 or not description.prefers_barriers:
        return None
    op: Any = found[0]
    if any(value.owner is not op for value, _ in dispatch.results):
        return None
    sorter = _Sorter(dispatch, description, op)
    return sorter.run() if sorter.fits else None


class _Sorter:
    def __init__(self, dispatch: Dispatch, description: InvocationDescription, op: Any) -> None:
        self.dispatch = dispatch
        self.description = description
        self.op = op
        self.axis: int = op.dimension.value
        self.partial = op.name == "linalg_ext.topk"
        self.descending = (op.smallest is None) if self.partial else (op.descending is not None)
        element: Any = element_of(op.inputs[0].type)
        self.element = element
        narrow = not isinstance(element, IndexType) and element.width < 32
        self.held: Any = self.element
        if narrow:
            self.held = f32 if isinstance(self.element, FloatType) else i32
        self.extent = dispatch.dims(op.inputs[0])[self.axis]
        self.kept = dispatch.dims(op.outputs[0])[self.axis]
        n_bytes = 4 + getattr(self.held, "width", 64) // 8
        self.entries = 2
        wanted = self._wanted()
        room = description.shared_memory_bytes // n_bytes
        while self.entries < wanted and self.entries * 2 <= min(room, MOST_ENTRIES):
            self.entries *= 2

    def _wanted(self) -> int:
        if not isinstance(self.extent, int) or not isinstance(self.kept, int):
            return 0
        return max(self.extent, 2)

    @property
    def fits(self) -> bool:
        """Extents are known, and the network holds the row (or twice what is wanted of it)."""
        extent, kept = self.extent, self.kept
        if not isinstance(extent, int) or not isinstance(kept, int) or extent < SHORT or kept > extent:
            return False
        if extent >= NOTHING or isinstance(self.held, IndexType) or not self._positions_fit(extent):
            return False
        wide = isinstance(self.held, (FloatType, IntegerType)) and self.held.width == 64
        name = ("f" if isinstance(self.held, FloatType) else "i") + "64"
        if wide and name not in self.description.arithmetic:
            return False
        return extent <= self.entries or (self.partial and 2 * kept <= self.entries)

    def _positions_fit(self, extent: int) -> bool:
        if len(self.op.outputs) < 2:
            return True
        type: Any = element_of(self.op.outputs[1].type)
        return isinstance(type, IndexType) or extent <= 1 << (type.width - 1)

    # -- the kernel ----------------------------------------------------------------------------------

    def run(self) -> Kernel | None:
        limit = min(self.description.max_workgroup_invocations, self.description.max_workgroup_size[0])
        size = 1
        while size * 2 <= min(limit, MOST_INVOCATIONS, self.entries // 2):
            size *= 2
        self.frame = frame = GpuFrame(self.dispatch, self.description, (size,))
        self.kernel = k = frame.kernel
        self.size = size
        self.values = frame.shared_memory(self.entries, self.held)
        self.positions = frame.shared_memory(self.entries, i32)
        dims = self.dispatch.dims(self.op.results[0])
        self.vars = [Var(f"d{i}", d) for i, d in enumerate(dims)]
        outer = [v for i, v in enumerate(self.vars) if i != self.axis and dims[i] != 1]
        total = dim_ops.total([v.extent for v in outer])  # type: ignore[misc]
        number = frame.workgroup_index(total)

        def row() -> None:
            at = Bindings(k)
            rest = number
            values: dict[Var, Index] = {}
            for var in reversed(outer):
                extent = k.dim(var.extent)  # type: ignore[arg-type]
                values[var] = rest if var is outer[0] else k.mod(rest, extent)
                rest = 0 if var is outer[0] else k.floordiv(rest, extent)
            self._row(at.child(values))

        frame.unless_surplus(number, total, row)
        if any(o.name == "cf.assert" for o in k.func.walk()):
            return None  # what an element is computed from is checked
        why = f"{size} invocations sort {self.entries} entries of a row at a time"
        return frame.finish(frame.folded(total), 0, NAME, why)

    def _row(self, at: Bindings) -> None:
        k = self.kernel
        assert isinstance(self.extent, int) and isinstance(self.kept, int)
        if self.extent <= self.entries:
            self._each(0, self.entries, lambda slot: self._fill(at, slot, slot))
            self._sort()
        else:
            fresh = self.entries - self.kept
            self._each(0, self.kept, lambda slot: self._put(slot, *self._none()))

            def piece(start: Index) -> None:
                def load(slot: Index) -> None:
                    self._fill(at, slot, k.add(start, k.sub(slot, self.kept)))

                self.frame.barrier()
                self._each(self.kept, self.entries, load)
                self._sort()

            k.loop(0, self.extent, fresh, (), piece)
        self._each(0, self.kept, lambda slot: self._store(at, slot))

    def _each(self, low: int, high: int, body: Any) -> None:
        """Slots from ``low`` to ``high`` in turn."""
        k = self.kernel
        k.loop(k.add(self.frame.local_id(), low), high, self.size, (), body)

    def _forms(self, position: Index) -> list[Any]:
        here = indexing.constant(position) if isinstance(position, int) else indexing.opaque(position)
        dims = self.dispatch.dims(self.op.results[0])
        return [
            here if i == self.axis else indexing.ZERO if dims[i] == 1 else indexing.of(v)
            for i, v in enumerate(self.vars)
        ]

    # -- entries -------------------------------------------------------------------------------------

    def _none(self) -> tuple[Value, Value]:
        return self.kernel.constant(0, self.held), self.kernel.constant(NOTHING, i32)

    def _put(self, slot: Index, value: Value, position: Value) -> None:
        self.kernel.store(value, self.values, slot)
        self.kernel.store(position, self.positions, slot)

    def _fill(self, at: Bindings, slot: Index, position: Index) -> None:
        """Element ``position`` of the row, or nothing behind its end, into ``slot``."""
        k = self.kernel
        assert isinstance(self.extent, int)
        inside = k.compare("ult", position, self.extent)

        def element() -> None:
            value = self.frame.elements.element(self.op.inputs[0], self._forms(position), Point(at))
            self._put(slot, self._widened(value), k.pure("arith.index_cast", (k.value(position),), i32))

        k.if_(inside, element, lambda: self._put(slot, *self._none()))

    def _widened(self, value: Value) -> Value:
        if self.held is self.element:
            return value
        if isinstance(self.element, FloatType):
            return self.kernel.cast("arith.extf", value, self.held)
        return self.kernel.cast("arith.extui" if self._unsigned else "arith.extsi", value, self.held)

    @property
    def _unsigned(self) -> bool:
        return self.element is i1 or (
            isinstance(self.element, IntegerType) and self.element.signedness == "u"
        )

    def _store(self, at: Bindings, slot: Index) -> None:
        k, elements = self.kernel, self.frame.elements
        results: dict[Value, Binding] = dict(self.dispatch.results)
        for result in self.op.results:
            binding = results.get(result)
            if binding is None:
                continue
            type = element_of(result.type)
            if result.index == 0:
                value = k.load(self.values, slot)
                if self.held is not type:
                    name = "arith.truncf" if isinstance(type, FloatType) else "arith.trunci"
                    value = k.cast(name, value, type)
            else:
                value = k.cast("arith.index_cast", k.load(self.positions, slot), index)
                value = value if isinstance(type, IndexType) else k.cast("arith.index_cast", value, type)
            elements.store(value, self.frame.binding_memory(binding), self._forms(slot), Point(at))

    # -- the network -----------------------------------------------------------------------------------

    def _sort(self) -> None:
        k = self.kernel
        one = k.constant(1, index)
        levels = self.entries.bit_length() - 1

        def level(number: Index) -> None:
            block = k.binary("arith.shli", k.constant(2, index), k.value(number))

            def stage(q: Index) -> None:
                shift = k.sub(number, q)
                stride = k.binary("arith.shli", one, k.value(shift))
                self.frame.barrier()
                self._each(0, self.entries // 2, lambda pair: self._exchange(pair, shift, stride, block))

            k.loop(0, k.add(number, 1), 1, (), stage)

        k.loop(0, levels, 1, (), level)
        self.frame.barrier()

    def _exchange(self, pair: Index, shift: Index, stride: Value, block: Value) -> None:
        """Bring the two entries of ``pair`` into the order that the network wants there."""
        k = self.kernel
        high = k.binary("arith.shrui", k.value(pair), k.value(shift))
        low = k.sub(pair, k.mul(high, stride))
        first = k.add(k.mul(k.mul(high, stride), 2), low)
        second = k.add(first, stride)
        a = (k.load(self.values, first), k.load(self.positions, first))
        b = (k.load(self.values, second), k.load(self.positions, second))
        falling = k.cmpi("ne", k.binary("arith.andi", k.value(first), block), k.constant(0, index))
        wrong = k.binary("arith.xori", self._before(b, a), falling)

        def swap() -> None:
            self._put(first, *b)
            self._put(second, *a)

        k.if_(wrong, swap)

    def _less(self, a: Value, b: Value) -> Value:
        k = self.kernel
        if not isinstance(self.held, FloatType):
            return k.cmpi("ult" if self._unsigned else "slt", a, b)
        last = k.binary("arith.andi", k.cmpf("uno", b, b), k.cmpf("ord", a, a))
        return k.binary("arith.ori", k.cmpf("olt", a, b), last)

    def _before(self, a: tuple[Value, Value], b: tuple[Value, Value]) -> Value:
        """Whether entry ``a`` comes before ``b`` in the wanted order."""
        k = self.kernel
        x, y = (b[0], a[0]) if self.descending else (a[0], b[0])
        less, more = self._less(x, y), self._less(y, x)
        earlier = k.cmpi("slt", a[1], b[1])
        tie = k.binary("arith.andi", k.binary("arith.xori", more, k.constant(1, i1)), earlier)
        ordered = k.binary("arith.ori", less, tie)
        nothing = k.constant(NOTHING, i32)
        here, there = k.cmpi("ne", a[1], nothing), k.cmpi("ne", b[1], nothing)
        # Where both are entries their order counts, else whether the first is one.
        return k.select(there, k.binary("arith.andi", here, ordered), here)
