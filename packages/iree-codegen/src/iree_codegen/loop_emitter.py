"""Emits the loops of a plan: outer loops shared by workgroups, and inside them the steps one by one.

With ``lanes == 1`` everything is scalar (LLVM's vectorizer follows). With more, one loop of every step
runs over vectors; the rest of its extent is done under a mask or, where the target has no masked memory
access, one by one.

Who takes which outer index is up to ``_share``, ``_only_first`` and ``_single``: workgroups here, invocations
in ``invocation_loops``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.accesses import AccessWalker
from iree_codegen.collapse import merge
from iree_codegen.dims import Dim
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.plan import Group, Plan, Step
from iree_codegen.row_reduction import RowReduction
from iree_codegen.scalars import NotVectorizable
from iree_codegen.sequential import SequentialEmitter, is_sequential, serial_axes, walked_extent
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import element_of

SHARED_LINES = 64
"""Elements of the contiguous dim that one workgroup takes together at least: whole cache lines."""
WORK_PER_GROUP = 1 << 15
"""Element operations one workgroup should have: about 10 us, far above the cost of handing it out."""


@record(frozen=True)
class Lanes:
    """How loops are vectorised: ``count`` lanes, tails under masks where the target has them."""

    count: int = 1
    masks: bool = False


class LoopEmitter:
    """Emits ``plan`` into ``frame``."""

    def __init__(self, frame: KernelFrame, plan: Plan, lanes: Lanes) -> None:
        self.frame = frame
        self.plan = plan
        self.lanes = lanes
        self.kernel = frame.kernel
        self.elements = frame.elements
        self.dispatch = frame.dispatch
        self.aligned: set[Var] = set()
        """Lane variables whose ranges begin at multiples of the lanes."""

    def run(self) -> Dim:
        """Emit all groups; returns the number of workgroups."""
        counts = [self._group(group) for group in self.plan.groups]
        count = counts[0] if counts else 1
        for other in counts[1:]:
            count = dim_ops.maximum(count, other)
        return count

    # -- sharing the outer loops --------------------------------------------------------------------

    def _group(self, group: Group) -> Dim:
        if len(group.steps) == 1 and not group.outer:
            return self._single(group.steps[0])
        if not group.outer:
            # Steps without a common loop: one workgroup does everything.
            self._only_first(lambda: self._steps(group, Bindings(self.kernel), {}))
            return 1
        total = dim_ops.total([v.extent for v in group.outer])  # type: ignore[misc]
        work = sum(self._step_work(step) for step in group.steps)
        tile = max(1, WORK_PER_GROUP // max(work, 1))
        return self._share(total, tile, lambda i: self._outer_index(group, i))

    def _outer_index(self, group: Group, i: Index) -> None:
        extents = [v.extent for v in group.outer]
        values = self._split(i, extents)  # type: ignore[arg-type]
        at = Bindings(self.kernel).child(dict(zip(group.outer, values, strict=True)))
        self._steps(group, at, {})

    def _split(self, i: Index, extents: Sequence[Dim]) -> list[Index]:
        k = self.kernel
        values: list[Index] = []
        for extent in reversed(extents[1:]):
            size = k.dim(extent)
            values.append(k.mod(i, size))
            i = k.floordiv(i, size)
        return [i, *reversed(values)]

    def _share(self, total: Dim, tile: int, body: Callable[[Index], None]) -> Dim:
        """Workgroup ``w`` does outer indices ``w * tile`` to ``(w + 1) * tile``."""
        k = self.kernel
        if isinstance(total, int):
            tile = max(1, min(tile, total))
        start = k.mul(self.frame.ids[0], tile)
        limit = k.dim(total)
        if tile == 1 and len(self.plan.groups) == 1:
            body(self.frame.ids[0])
            return total
        end = k.min(k.add(start, tile), limit)
        if isinstance(total, int) and total % tile == 0 and len(self.plan.groups) == 1:
            end = k.add(start, tile)

        def one(i: Index) -> None:
            body(i)

        k.loop(start, end, 1, (), one)
        return dim_ops.ceildiv(total, tile)

    def _only_first(self, body: Callable[[], None]) -> None:
        k = self.kernel
        if len(self.plan.groups) == 1:
            body()
        else:
            k.if_(k.compare("eq", self.frame.ids[0], 0), lambda: body())

    # -- one step alone: its own loops are shared --------------------------------------------------------

    def _single(self, step: Step) -> Dim:
        if is_sequential(step.values[0]):
            serial = {step.vars[axis] for axis in serial_axes(step.values[0])}
            group = Group([v for v in step.loops if v not in serial], [step])
            return self._single_sequential(group)
        if self.lanes.count > 1:
            self._collapse(step, self._destinations(step), ())
        dims = [v.extent for v in step.loops]
        if not dims:
            self._only_first(lambda: self._steps(Group([], [step]), Bindings(self.kernel), {}))
            return 1
        cost = self._cost(step)
        # Outer dims are shared until the rest is small enough; the last dim is shared in blocks.
        inner: Dim = 1
        split = len(dims)
        while split > 0:
            bigger = dim_ops.mul(inner, dims[split - 1])  # type: ignore[arg-type]
            if split < len(dims) and not (isinstance(bigger, int) and bigger * cost <= WORK_PER_GROUP):
                break
            inner = bigger
            split -= 1
        if split == len(dims) - 1 and self._shares_last(step, cost):
            return self._single_by_blocks(step, step.loops, self._block(cost))
        outer = list(step.loops[:split])
        if not outer:
            work = inner if isinstance(inner, int) else 0
            if work == 0 or work * cost > 2 * WORK_PER_GROUP:
                if self._shares_last(step, cost):
                    return self._single_by_blocks(step, step.loops, self._block(cost))
                outer = [step.loops[0]]
                inner = dim_ops.total(dims[1:])  # type: ignore[arg-type]
            else:
                self._only_first(lambda: self._steps(Group([], [step]), Bindings(self.kernel), {}))
                return 1
        size = inner if isinstance(inner, int) else 1024
        tile = max(1, WORK_PER_GROUP // max(size * cost, 1))
        total = dim_ops.total([v.extent for v in outer])  # type: ignore[misc]
        group = Group(outer, [step])
        return self._share(total, tile, lambda i: self._outer_index(group, i))

    def _single_sequential(self, group: Group) -> Dim:
        """Workgroups share the dims that are not walked along, the last one in blocks."""
        step = group.steps[0]
        if not group.outer:
            self._only_first(lambda: self._steps(group, Bindings(self.kernel), {}))
            return 1
        walked = walked_extent(step.values[0].defining_op, self.dispatch)
        cost = 4 * walked if isinstance(walked, int) else WORK_PER_GROUP
        block = max(1, WORK_PER_GROUP // max(cost, 1))
        last = group.outer[-1]
        if last is not step.loops[-1]:
            total = dim_ops.total([v.extent for v in group.outer])  # type: ignore[misc]
            return self._share(total, block, lambda i: self._outer_index(group, i))
        # Elements along the last dim lie side by side: they are done together.
        return self._single_by_blocks(step, group.outer, max(SHARED_LINES, block))

    def _block(self, cost: int) -> int:
        return max(self.lanes.count, WORK_PER_GROUP // cost // 64 * 64)

    def _shares_last(self, step: Step, cost: int) -> bool:
        last = step.loops[-1].extent
        return not isinstance(last, int) or last * cost > 2 * WORK_PER_GROUP

    def _single_by_blocks(self, step: Step, shared: Sequence[Var], block: int) -> Dim:
        """Workgroups share (outer index, block of the last dim): all ``shared`` loops."""
        k = self.kernel
        last = step.loops[-1].extent
        assert last is not None
        outer = list(shared[:-1])
        blocks = dim_ops.ceildiv(last, block)
        total = dim_ops.mul(dim_ops.total([v.extent for v in outer]), blocks)  # type: ignore[misc]

        def body(i: Index) -> None:
            number = k.mod(i, k.dim(blocks)) if outer else i
            rest = k.floordiv(i, k.dim(blocks)) if outer else i
            at = Bindings(k)
            if outer:
                at = at.child(dict(zip(outer, self._split(rest, [v.extent for v in outer]), strict=True)))  # type: ignore[misc]
            low = k.mul(number, block)
            high = k.min(k.add(low, block), k.dim(last))
            self.aligned.add(step.loops[-1])
            self._emit_step(step, at, set(outer), {step.loops[-1]: (low, high)})

        return self._share(total, 1, body)

    def _cost(self, step: Step) -> int:
        """Rough operations per element: the ops of all bodies, times the reduction loops."""
        cost = 1
        for op in step.walk.ops:
            if isinstance(op, StructuredOp):
                own = sum(8 if o.name.startswith("math.") else 1 for o in op.body)
                for extent, kind in zip(self.dispatch.loop_dims(op), op.iterator_types, strict=True):
                    if kind != "parallel":
                        own *= extent if isinstance(extent, int) else 64
                cost += own
        return cost

    def _step_work(self, step: Step) -> int:
        inner = dim_ops.total([step.dims[i] for i in step.slab_dims])
        return self._cost(step) * (inner if isinstance(inner, int) else 1024)

    # -- steps ------------------------------------------------------------------------------------------

    def _steps(self, group: Group, at: Bindings, ranges: dict[Var, tuple[Index, Index]]) -> None:
        outer = set(group.outer)
        for step in group.steps:
            self._emit_step(step, at, outer, ranges)

    def _emit_step(
        self, step: Step, at: Bindings, outer: set[Var], ranges: dict[Var, tuple[Index, Index]]
    ) -> None:
        """Loops over the inner dims of ``step`` that compute and store its values."""
        inner = [v for v in step.loops if v not in outer]
        if is_sequential(step.values[0]):
            self._sequential(step, at, outer, ranges)
            return
        if not inner and step.destinations[0] is None:
            for value, scalar in zip(step.values, self._scalar_values(step, at), strict=True):
                self.elements.registers[value] = scalar
            return
        memories = [self._memory(step, n, outer) for n in range(len(step.values))]
        if self.lanes.count > 1 and not ranges:
            self._collapse(step, memories, outer)
            inner = [v for v in step.loops if v not in outer]
        if not inner:
            values = self._scalar_values(step, at)
            point = Point(at)
            for value, memory in zip(values, memories, strict=True):
                self.elements.store(value, memory, step.forms, point)
        else:
            self._nest(step, inner, at, memories, ranges)
        for value, memory in zip(step.values, memories, strict=True):
            self.elements.memory[value] = memory

    def _sequential(
        self, step: Step, at: Bindings, outer: Collection[Var], ranges: dict[Var, tuple[Index, Index]]
    ) -> None:
        """An op that walks along a dim: scalar loops over the other dims around it."""
        if self.lanes.count > 1 and len(self.plan.groups) == len(self.plan.groups[0].steps) == 1:
            raise NotVectorizable("nothing here runs over lanes")
        k = self.kernel
        memories = [self._memory(step, n, set(outer)) for n in range(len(step.values))]
        serial = {step.vars[axis] for axis in serial_axes(step.values[0])}
        loops = [v for v in step.loops if v not in outer and v not in serial]
        by_value = dict(zip(step.values, memories, strict=True))
        emitter = SequentialEmitter(self.elements, step.values[0].defining_op, by_value)
        bounds = {v: ranges.get(v, (0, k.dim(v.extent))) for v in loops}  # type: ignore[arg-type]

        def nest(depth: int, at: Bindings) -> None:
            if depth == len(loops):
                emitter.emit(at, step.forms)
                return
            low, high = bounds[loops[depth]]
            k.loop(low, high, 1, (), lambda i: nest(depth + 1, at.child({loops[depth]: i})))

        if emitter.loops_inside:
            emitter.emit(at, step.forms, [(v, *bounds[v]) for v in loops])
        else:
            nest(0, at)
        for value, memory in zip(step.values, memories, strict=True):
            self.elements.memory[value] = memory

    def _destinations(self, step: Step) -> list[Memory]:
        return [self.frame.binding_memory(d) for d in step.destinations if d is not None]

    def _addresses(self, step: Step, memories: Sequence[Memory]) -> list[Affine]:
        """Every address that one element of ``step`` touches."""
        found = [m.address(step.forms) for m in memories]
        for access in step.walk.accesses:
            memory = self.elements.memory.get(access.value)
            if memory is not None:
                found.append(memory.address(access.forms))
        return found

    def _collapse(self, step: Step, memories: Sequence[Memory], outer: Collection[Var]) -> None:
        """Merge loops of ``step`` where its memory allows."""
        fixed = {*outer, *step.walk.index_vars}
        loops, replaced = merge(step.loops, self._addresses(step, memories), fixed, self.lanes.count)
        if not replaced:
            return
        step.loops = tuple(loops)
        step.forms = tuple(form.substituted(replaced) for form in step.forms)
        stored = set(self.elements.memory) | set(self.elements.registers)
        step.walk = AccessWalker(self.dispatch, stored).walk(step.values[0], step.forms, through=True)

    def _scalar_values(self, step: Step, at: Bindings) -> list[Value]:
        """Values of which one element remains: a row reduction over lanes where possible."""
        if self.lanes.count > 1 and step.reduces:
            rows = RowReduction(self.elements, step, self.lanes.count, self.lanes.masks)
            found = rows.emit(at)
            if found is not None:
                return found
        point = Point(at)
        return [self.elements.element_through(v, step.forms, point) for v in step.values]

    def _memory(self, step: Step, number: int, outer: set[Var]) -> Memory:
        destination = step.destinations[number]
        if destination is not None:
            return self.frame.binding_memory(destination)
        kept = [i for i, v in enumerate(step.vars) if v not in outer]
        inner = dim_ops.strides([step.dims[i] for i in kept])
        strides: list[Dim] = [0] * len(step.dims)
        for i, stride in zip(kept, inner, strict=True):
            strides[i] = stride
        count = dim_ops.total([step.dims[i] for i in kept])
        assert isinstance(count, int)
        value = step.values[number]
        offset = step.slab_offsets[number]
        return Memory(self._slab(offset, count, element_of(value.type)), tuple(strides))

    def _slab(self, offset: int, count: int, element: Any) -> Value:
        """Memory of an intermediate at one outer index: ``count`` elements, ``offset`` bytes into scratch."""
        return self.kernel.view(self.frame.scratch, offset, count, element)

    def _nest(
        self,
        step: Step,
        inner: list[Var],
        at: Bindings,
        memories: list[Memory],
        ranges: dict[Var, tuple[Index, Index]],
    ) -> None:
        if self.lanes.count > 1:
            lane_var = self._lane_var(step, inner, memories)
            if lane_var is None:
                if step.reduces:
                    self._rows(step, inner, at, memories, ranges)
                    return
                raise NotVectorizable("no contiguous loop")
            order = [v for v in inner if v is not lane_var] + [lane_var]
        else:
            order = inner
        k = self.kernel

        def nest(depth: int, at: Bindings) -> None:
            var = order[depth]
            low, high = ranges.get(var, (0, k.dim(var.extent)))  # type: ignore[arg-type]
            if depth == len(order) - 1:
                self._innermost(step, var, low, high, at, memories)
                return
            k.loop(low, high, 1, (), lambda i: nest(depth + 1, at.child({var: i})))

        nest(0, at)

    def _innermost(
        self, step: Step, var: Var, low: Index, high: Index, at: Bindings, memories: list[Memory]
    ) -> None:
        k, width = self.kernel, self.lanes.count

        def once(i: Index, lanes: int, mask: Value | None = None) -> None:
            aligned = low == 0 or var in self.aligned
            point = Point(at.child({var: i}, var if lanes > 1 else None, lanes, aligned), mask)
            values = [self.elements.element_through(v, step.forms, point) for v in step.values]
            for value, memory in zip(values, memories, strict=True):
                self.elements.store(value, memory, step.forms, point)

        if width == 1:
            k.loop(low, high, 1, (), lambda i: once(i, 1))
            return
        vector_loop(k, low, high, width, self.lanes.masks, once)

    def _rows(
        self,
        step: Step,
        inner: list[Var],
        at: Bindings,
        memories: list[Memory],
        ranges: dict[Var, tuple[Index, Index]],
    ) -> None:
        """A reduction whose reduced loop is the contiguous one: scalar results, lanes along the reduction."""
        k = self.kernel

        def nest(depth: int, at: Bindings) -> None:
            if depth == len(inner):
                point = Point(at)
                for value, memory in zip(self._scalar_values(step, at), memories, strict=True):
                    self.elements.store(value, memory, step.forms, point)
                return
            var = inner[depth]
            low, high = ranges.get(var, (0, k.dim(var.extent)))  # type: ignore[arg-type]
            k.loop(low, high, 1, (), lambda i: nest(depth + 1, at.child({var: i})))

        nest(0, at)

    # -- choosing the lanes ---------------------------------------------------------------------------

    def _lane_var(self, step: Step, inner: list[Var], memories: list[Memory]) -> Var | None:
        """The loop to run over lanes: stores contiguous, most loads contiguous or uniform."""
        var = inner[-1]
        for memory in memories:
            if step_of(memory.address(step.forms), var) != 1:
                return None
        bad = good = 0
        for access in step.walk.accesses:
            own = self.elements.memory.get(access.value)
            if own is None:
                continue
            stride = step_of(own.address(access.forms), var)
            if stride in (0, 1, 2):
                good += 1
            elif step.reduces and access.loops and not self._is_short(access.loops[-1]):
                # Contiguous along the reduction instead: rows are better.
                address = own.address(access.forms)
                if step_of(address, access.loops[-1]) == 1:
                    bad += 1
        return None if bad and bad >= good else var

    def _is_short(self, var: Var) -> bool:
        return isinstance(var.extent, int) and var.extent < self.lanes.count


def vector_loop(
    k: KernelBuilder,
    low: Index,
    high: Index,
    width: int,
    masks: bool,
    once: Callable[..., None],
    *,
    unroll: int = 1,
) -> None:
    """Full vectors, then the rest under a mask or one by one: ``once(i, lanes, mask)``.

    ``unroll``: up to this many vectors of a static extent are written out.
    """
    extent = k.sub(high, low)
    if isinstance(extent, int):
        full = extent // width * width
        rest = extent - full
        stop = k.add(low, full)
        if full // width <= unroll:
            for number in range(full // width):
                once(k.add(low, number * width), width)
        else:
            k.loop(low, stop, width, (), lambda i: once(i, width))
        if rest == 0:
            return
        if masks:
            once(stop, width, k.mask_below(rest, width))
        else:
            k.loop(stop, high, 1, (), lambda i: once(i, 1))
        return
    stop = k.add(low, k.mul(k.floordiv(extent, width), width))
    k.loop(low, stop, width, (), lambda i: once(i, width))
    if masks:
        rest_value = k.sub(high, stop)
        k.if_(
            k.compare("sgt", rest_value, 0),
            lambda: once(stop, width, k.mask_below(rest_value, width)),
        )
    else:
        k.loop(stop, high, 1, (), lambda i: once(i, 1))


def step_of(form: Affine, var: Var) -> Dim | None:
    """How ``form`` moves with ``var``; None when in no even steps."""
    step: Dim = 0
    for own, coefficient in form.terms:
        if own is var:
            step = dim_ops.add(step, coefficient)
        elif own.definition is not None and step_of(own.definition[1], var) != 0:
            return None
    return step


__all__ = ["Lanes", "LoopEmitter", "step_of"]
