"""Emits the loops of a plan in invocation form: outer loops shared by invocations instead of workgroups.

Every invocation takes one outer index and does all steps of its group, with intermediates in a slab of its
own: no invocation waits for another. A step that stands alone is shared by elements, or by vectors of them
where its memory lies side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.elements import Point
from iree_codegen.gpu_frame import MAX_SCRATCH_WORKGROUPS, VECTOR_BYTES, GpuFrame
from iree_codegen.indexing import Bindings, Var
from iree_codegen.invocation_elements import is_aligned, lane_step
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import Lanes, LoopEmitter
from iree_codegen.plan import Group, Plan, Planner, Step, element_bytes
from iree_codegen.sequential import SequentialEmitter, is_sequential, serial_axes
from iree_core_ir.ir.operation import Value

SCRATCH_LIMIT = 64 << 20
"""Bytes of scratch of all workgroups together that a kernel stays below where it can."""
PRIVATE_LIMIT = 512
"""Bytes of intermediates that an invocation keeps in memory of its own, instead of scratch."""
BYTES_EACH = 16
"""Bytes of a result that one invocation does at least (H100: nothing is gained by 32 or 64)."""
MOST_VECTORS = 4
BUSY = 1 << 18
"""Invocations that keep a large device busy."""
SCATTER = "linalg_ext.scatter"
SCATTERERS = 1 << 14
"""Invocations that share a scatter: enough to be busy, but all of them look at all updates."""
CPU_SCATTERERS = 1 << 6
NOT_IN_VECTORS = frozenset({"linalg_ext.gather"})
"""Ops whose operands lie at computed places: their lanes are done one by one."""


class InvocationPlanner(Planner):
    """Plans for invocations: pads stay where they are read, since a slab per invocation costs more."""

    keeps_pads = False


class InvocationEmitter(LoopEmitter):
    """Emits ``plan`` into ``frame``; ``run`` returns the number of workgroups.

    ``vectors``: steps that stand alone may run over vectors. Raises NotVectorizable when that fails.
    """

    frame: GpuFrame

    def __init__(self, frame: GpuFrame, plan: Plan, *, vectors: bool) -> None:
        super().__init__(frame, plan, Lanes())
        self.vectors = vectors
        self.private = all(element_bytes(v) == 4 for v in _intermediates(plan))
        self.private &= plan.scratch <= PRIVATE_LIMIT
        self.slab_bytes = 0 if self.private else plan.scratch
        """Scratch of one invocation."""
        self.scratch_bytes = self.slab_bytes * frame.n_invocations
        bound: Dim = 1
        for group in plan.groups:
            bound = dim_ops.maximum(bound, dim_ops.total(group.steps[-1].dims))
        self.bound = dim_ops.ceildiv(bound, frame.n_invocations)
        """At least the number of workgroups."""

    # -- sharing ---------------------------------------------------------------------------------------

    def _id(self, several: int = 1, number: int = 0) -> Index:
        """The invocation's number in the grid; with ``several`` items each, its item ``number``."""
        k, n = self.kernel, self.frame.n_invocations
        index = self.frame.workgroup_index(self.bound)
        return k.add(k.mul(index, n * several), k.add(self.frame.local_id(), number * n))

    def _share(self, total: Dim, tile: int, body: Callable[[Index], None]) -> Dim:
        """Invocation ``i`` does outer index ``i``; with scratch, few workgroups stride over all."""
        k, n = self.kernel, self.frame.n_invocations
        count = dim_ops.ceildiv(total, n)
        if self.scratch_bytes:
            most = min(MAX_SCRATCH_WORKGROUPS, max(1, SCRATCH_LIMIT // self.scratch_bytes))
            count = dim_ops.minimum(count, most)
            everyone = dim_ops.mul(count, n)
            k.loop(self._id(), k.dim(total), k.dim(everyone), (), body)
            return count
        if dim_ops.is_multiple(total, n) and self.frame.is_exact(self.bound) and self.bound == count:
            body(self._id())
        else:
            k.if_(k.compare("ult", self._id(), k.dim(total)), lambda: body(self._id()))
        return count

    def _only_first(self, body: Callable[[], None]) -> None:
        k = self.kernel
        k.if_(k.compare("eq", self._id(), 0), body)

    def _slab(self, offset: int, count: int, element: Any) -> Value:
        k = self.kernel
        if self.private:
            return self.frame.private_memory(count, element)
        start = k.add(k.mul(self.frame.local_id(), self.slab_bytes), offset)
        return k.view(self.frame.scratch, start, count, element)

    # -- one step alone ----------------------------------------------------------------------------------

    def _single(self, step: Step) -> Dim:
        if step.values[0].defining_op is not None and step.values[0].defining_op.name == SCATTER:
            return self._single_scatter(step)
        if is_sequential(step.values[0]):
            serial = {step.vars[axis] for axis in serial_axes(step.values[0])}
            return self._single_outer(step, [v for v in step.loops if v not in serial])
        self._collapse(step, self._destinations(step), ())
        lanes = self._vector_lanes(step) if self.vectors else 1
        if lanes > 1:
            return self._single_vectors(step, lanes)
        return self._single_outer(step, list(step.loops))

    def _single_scatter(self, step: Step) -> Dim:
        """Every invocation owns a piece of what is scattered to: it copies it, walks through all updates in
        order and applies those that hit it."""
        k = self.kernel
        axes = serial_axes(step.values[0])
        scattered = dim_ops.total([step.dims[axis] for axis in axes])
        serial = {step.vars[axis] for axis in axes}
        outer = [v for v in step.loops if v not in serial]
        rest = dim_ops.total([v.extent for v in outer])  # type: ignore[misc]
        many = SCATTERERS if self.frame.description.prefers_barriers else CPU_SCATTERERS
        piece = dim_ops.maximum(1, dim_ops.ceildiv(dim_ops.mul(scattered, rest), many))
        pieces = dim_ops.ceildiv(scattered, piece)
        extents: list[Any] = [*(v.extent for v in outer), pieces]
        memories = [self._memory(step, n, set(outer)) for n in range(len(step.values))]

        def body(number: Index) -> None:
            *values, last = self._split(number, extents)
            low = k.mul(last, k.dim(piece))
            high = k.min(k.add(low, k.dim(piece)), k.dim(scattered))
            by_value = dict(zip(step.values, memories, strict=True))
            emitter = SequentialEmitter(self.elements, step.values[0].defining_op, by_value)
            emitter.owned = (low, high)
            emitter.emit(Bindings(k).child(dict(zip(outer, values, strict=True))), step.forms)

        return self._share(dim_ops.total(extents), 1, body)

    def _single_outer(self, step: Step, outer: list[Var]) -> Dim:
        group = Group(outer, [step])
        if not outer:
            self._only_first(lambda: self._steps(group, Bindings(self.kernel), {}))
            return 1
        total = dim_ops.total([v.extent for v in outer])  # type: ignore[misc]
        return self._share(total, 1, lambda i: self._outer_index(group, i))

    def _vector_lanes(self, step: Step) -> int:
        """Lanes of vectors along the last loop; 1 when memory or ops do not allow them."""
        if not step.loops or step.walk.guarded or any(d is None for d in step.destinations):
            return 1
        if any(op.name in NOT_IN_VECTORS for op in step.walk.ops):
            return 1
        widths = [element_bytes(v) for v in [*step.values, *(a.value for a in step.walk.accesses)]]
        lanes = 2 if max(widths) * 4 > VECTOR_BYTES else 4
        var = step.loops[-1]
        alone = len(step.loops) == 1
        if not alone and not (isinstance(var.extent, int) and var.extent % lanes == 0):
            return 1
        memories = {a.value: self.elements.memory.get(a.value) for a in step.walk.accesses}
        addresses = [m.address(a.forms) for a in step.walk.accesses if (m := memories[a.value]) is not None]
        addresses += [m.address(step.forms) for m in self._destinations(step)]
        stored = len(addresses) - len(step.destinations)
        for number, address in enumerate(addresses):
            stride = lane_step(address, var, lanes)
            if stride == 0 and number < stored:
                continue
            if stride != 1 or not is_aligned(address, var, lanes):
                return 1
        return lanes

    def _single_vectors(self, step: Step, lanes: int) -> Dim:
        """Every invocation does one vector along the last loop, or what is left at its end."""
        k = self.kernel
        *rest, var = step.loops
        extent = var.extent
        assert extent is not None
        vectors = dim_ops.ceildiv(extent, lanes)
        whole = dim_ops.is_multiple(extent, lanes)
        memories = [self._memory(step, n, set(step.loops)) for n in range(len(step.values))]
        extents = [*(v.extent for v in rest), vectors]

        def values(at: Bindings, i: Index, count: int) -> tuple[Point, list[Value]]:
            point = Point(at.child({var: i}, var if count > 1 else None, count, count > 1))
            return point, [self.elements.element_through(v, step.forms, point) for v in step.values]

        def store(point: Point, found: list[Value]) -> None:
            for value, memory in zip(found, memories, strict=True):
                self.elements.store(value, memory, step.forms, point)

        def place(number: Index) -> tuple[Bindings, Index]:
            *outer, last = self._split(number, extents)  # type: ignore[arg-type]
            return Bindings(k).child(dict(zip(rest, outer, strict=True))), k.mul(last, lanes)

        total = dim_ops.total(extents)  # type: ignore[arg-type]
        several = self._vectors_each(step, lanes, total) if whole else 1
        if several > 1:
            # All loads come before the first store, behind which none of them could move.
            done = [values(*place(self._id(several, number)), lanes) for number in range(several)]
            for point, found in done:
                store(point, found)
            return dim_ops.ceildiv(total, self.frame.n_invocations * several)

        def body(number: Index) -> None:
            at, start = place(number)
            if whole:
                store(*values(at, start, lanes))
                return
            end = k.add(start, lanes)
            k.if_(
                k.compare("ule", end, k.dim(extent)),
                lambda: store(*values(at, start, lanes)),
                lambda: k.loop(start, k.dim(extent), 1, (), lambda i: store(*values(at, i, 1))),
            )

        return self._share(total, 1, body)

    def _vectors_each(self, step: Step, lanes: int, total: Dim) -> int:
        """Vectors per invocation: more where they are short or one input is little to wait for, as long as
        there are enough invocations and nothing is left over."""
        if not isinstance(total, int) or len(self.plan.groups) > 1:
            return 1
        several = min(MOST_VECTORS, BYTES_EACH // (lanes * max(element_bytes(v) for v in step.values)))
        n = self.frame.n_invocations
        while several > 1 and (total % (n * several) or total < several * BUSY):
            several //= 2
        return several if self.frame.is_exact(total // (n * several)) else 1


def _intermediates(plan: Plan) -> list[Value]:
    """Values that a slab of scratch holds."""
    steps = [step for group in plan.groups for step in group.steps if step.slab_offsets]
    return [v for step in steps for v, d in zip(step.values, step.destinations, strict=True) if d is None]


__all__ = ["InvocationEmitter", "InvocationPlanner"]
