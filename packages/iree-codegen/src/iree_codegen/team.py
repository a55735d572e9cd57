"""Invocations that share one row (a workgroup, a subgroup, a column), and how they combine what they found.

Every member of a team ends up with the combined value. The order of the operands is fixed by the size of the
team alone. 16-bit and 8-bit numbers are combined as 32-bit ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel_builder import Index
from iree_codegen.row_reduction import COMBINERS, identity
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, element_of, f32, i32, i64, index

Combine = Callable[[list[Value], list[Value]], list[Value]]
"""Joins two partial results; the first comes earlier in the row."""
UNSIGNED = frozenset({"arith.minui", "arith.maxui"})
NAN_KEEPING = frozenset({"arith.minimumf", "arith.maximumf"})
"""Subgroup instructions need not keep NaN: these go through shuffles."""


def combines_in_subgroup(name: str, type: Any, description: InvocationDescription) -> bool:
    """Whether the device combines such values within a subgroup."""
    element = element_of(type)
    small = isinstance(element, (FloatType, IntegerType)) and element.width <= 32
    operations = description.subgroup_ops
    wide = small or isinstance(element, IndexType) or "extended" in operations
    return wide and ("shuffle" in operations or ("arithmetic" in operations and name not in NAN_KEEPING))


WORKGROUP, SUBGROUP, COLUMNS = "workgroup", "subgroup", "columns"


class Team:
    """``size`` invocations, a power of two; ``lane`` is this one's place among them.

    ``kind``: the workgroup is a team; its subgroups are; or its columns (members are apart along y, so that
    neighbours along x have neighbouring rows).
    """

    def __init__(self, frame: GpuFrame, size: int, kind: str) -> None:
        self.frame = frame
        self.kernel = frame.kernel
        self.size = size
        self.kind = kind
        self.stride = 1
        """How far apart in the workgroup neighbouring members are."""
        self.base: Index = 0
        """Where in the workgroup the first member is."""
        if kind == COLUMNS:
            self.stride = self.per_workgroup = frame.workgroup_size[0]
            self.lane: Index = frame.thread_id(1)
            self.base = frame.thread_id(0)
        elif kind == SUBGROUP:
            self.per_workgroup = frame.n_invocations // size
            self.lane = frame.lane_id()
        else:
            self.per_workgroup = 1
            self.lane = frame.local_id()
        self._slots: dict[Any, Value] = {}
        self._turn = 0

    @property
    def whole(self) -> bool:
        """The team is the workgroup."""
        return self.kind == WORKGROUP

    @property
    def diverges(self) -> bool:
        """Teams of one workgroup wait for each other, those beyond the last row too."""
        return self.kind == COLUMNS

    def index(self, workgroup: Index) -> Index:
        """The team's number in the grid."""
        k = self.kernel
        first = k.mul(workgroup, self.per_workgroup)
        if self.kind == WORKGROUP:
            return workgroup
        return k.add(first, self.base if self.kind == COLUMNS else self.frame.subgroup_id())

    def sync(self) -> None:
        """Members see each other's writes. Whole workgroups only."""
        assert self.whole
        self.frame.barrier()

    # -- combining ------------------------------------------------------------------------------------

    def reduce(self, name: str, value: Value) -> Value:
        """``value`` of all members joined by the ``arith`` op ``name``."""
        wide = self._widened(name, value)
        k = self.kernel

        def combine(a: list[Value], b: list[Value]) -> list[Value]:
            return [k.pure(name, (a[0], b[0]), a[0].type)]

        result = self._plain(name, wide, combine)
        return self._narrowed(result, value.type)

    def _plain(self, name: str, value: Value, combine: Combine) -> Value:
        if self.kind == COLUMNS or not self._in_subgroup(name, value.type):
            return self._tree([value], combine)[0]
        joined = self._subgroup(name, value, combine)
        if self.kind == SUBGROUP or self.frame.n_subgroups == 1:
            return joined
        k, lanes, n = self.kernel, self.frame.description.subgroup_size, self.frame.n_subgroups
        memory = self._slot(value.type, 2 * n)
        base = self._turn % 2 * n
        self._turn += 1
        k.store(joined, memory, k.add(self.frame.subgroup_id(), base))
        self.frame.barrier()
        lane = self.frame.lane_id()
        total: Value | None = None
        for start in range(0, n, lanes):
            place = k.add(lane, start)
            inside = None if start + lanes <= n else k.compare("ult", place, n)
            part = k.load(memory, k.add(k.min(place, n - 1) if inside is not None else place, base))
            if inside is not None:
                part = k.select(inside, part, k.constant(identity(name, value.type), value.type))
            total = part if total is None else combine([total], [part])[0]
        assert total is not None
        return self._subgroup(name, total, combine)

    def _in_subgroup(self, name: str, type: Any) -> bool:
        return combines_in_subgroup(name, type, self.frame.description)

    def _subgroup(self, name: str, value: Value, combine: Combine) -> Value:
        if name not in NAN_KEEPING and "arithmetic" in self.frame.description.subgroup_ops:
            return self.frame.subgroup_reduce(COMBINERS[name], value)
        distance = self.frame.description.subgroup_size // 2
        while distance:
            value = combine([value], [self.frame.shuffle("xor", value, distance)])[0]
            distance //= 2
        return value

    def ordered(self, values: Sequence[Value], used: Value, combine: Combine) -> list[Value]:
        """Partial results of all members joined in order of their lanes by any ``combine``; those of members
        that are not ``used`` (an i1, true for the first ones) are left out. Not for subgroups."""
        k = self.kernel
        types = [v.type for v in values]

        def wide(parts: Sequence[Value]) -> list[Value]:
            return [self._widened("arith.addi", v) for v in parts]

        def narrow(parts: Sequence[Value]) -> list[Value]:
            return [self._narrowed(v, type) for v, type in zip(parts, types, strict=True)]

        def step(a: list[Value], b: list[Value]) -> list[Value]:
            present = k.cmpi("ne", b[-1], k.constant(0, i32))
            joined = wide(combine(narrow(a[:-1]), narrow(b[:-1])))
            return [*(k.select(present, x, y) for x, y in zip(joined, a, strict=False)), a[-1]]

        return narrow(self._tree([*wide(values), k.cast("arith.extui", used, i32)], step)[:-1])

    def before(self, value: Value, start: Value, combine: Combine) -> Value:
        """What the members before this one found, joined in order; ``start`` for the first. Whole workgroups
        only."""
        assert self.whole
        k, type = self.kernel, value.type
        memory = self._slot(self._widened("arith.addi", value).type, self.size, 1)

        def put(found: Value) -> None:
            k.store(self._widened("arith.addi", found), memory, self.lane)

        def get(distance: int) -> Value:
            return self._narrowed(k.load(memory, k.sub(self.lane, distance)), type)

        self.frame.barrier()
        put(value)
        distance = 1
        while distance < self.size:
            self.frame.barrier()
            reaches = k.compare("uge", self.lane, distance)
            # Members that reach too far read their own entry instead: nothing is stored for them.
            earlier = k.if_(reaches, lambda d=distance: [get(d)], lambda: [get(0)])[0]  # type: ignore[misc]
            joined = combine([earlier], [get(0)])[0]
            self.frame.barrier()
            k.if_(reaches, lambda found=joined: put(found))  # type: ignore[misc]
            distance *= 2
        self.frame.barrier()
        return k.if_(k.compare("ugt", self.lane, 0), lambda: [get(1)], lambda: [start])[0]

    def _tree(self, values: list[Value], combine: Combine) -> list[Value]:
        """Through shared memory: neighbours first, so that the order is kept. Not for subgroups."""
        assert self.kind != SUBGROUP
        k, frame, size = self.kernel, self.frame, self.frame.n_invocations
        if self.size == 1:
            return values
        memories = []
        for number, value in enumerate(values):
            memories.append(self._slot(value.type, size, number + 1))
        here = k.add(k.mul(self.lane, self.stride), self.base)
        frame.barrier()  # the last tree's readers are done
        for value, memory in zip(values, memories, strict=True):
            k.store(value, memory, here)
        distance = 1
        while distance < self.size:
            frame.barrier()

            def pair(distance: int = distance) -> None:
                first = [k.load(m, here) for m in memories]
                second = [k.load(m, k.add(here, distance * self.stride)) for m in memories]
                for value, memory in zip(combine(first, second), memories, strict=True):
                    k.store(value, memory, here)

            k.if_(k.compare("eq", k.mod(self.lane, 2 * distance), 0), pair)
            distance *= 2
        frame.barrier()
        return [k.load(m, self.base) for m in memories]

    def _slot(self, type: Any, count: int, number: int = 0) -> Value:
        """Shared memory for partial results of ``type``."""
        key = (type, count, number)
        found = self._slots.get(key)
        if found is None:
            found = self._slots[key] = self.frame.shared_memory(count, type)
        return found

    # -- widths ---------------------------------------------------------------------------------------

    def _widened(self, name: str, value: Value) -> Value:
        k, element = self.kernel, element_of(value.type)
        if isinstance(element, FloatType) and element.width < 32:
            return k.cast("arith.extf", value, f32)
        if isinstance(element, IntegerType) and element.width < 32:
            zero = element.width == 1 or name in UNSIGNED
            if element.width == 1 and name in ("arith.minsi", "arith.maxsi"):
                zero = False
            return k.cast("arith.extui" if zero else "arith.extsi", value, i32)
        if isinstance(element, IndexType):
            return k.cast("arith.index_cast", value, i32 if self.frame.index_bits == 32 else i64)
        return value

    def _narrowed(self, value: Value, type: Any) -> Value:
        k = self.kernel
        if value.type is type:
            return value
        if isinstance(type, FloatType):
            return k.cast("arith.truncf", value, type)
        if isinstance(type, IndexType):
            return k.cast("arith.index_cast", value, index)
        return k.cast("arith.trunci", value, type)


__all__ = ["COLUMNS", "SUBGROUP", "WORKGROUP", "Combine", "Team", "combines_in_subgroup"]
