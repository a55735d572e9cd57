"""``transpose``: elementwise dispatches whose input runs along another loop than their result, on tiles.

A workgroup reads square tiles along the input's contiguous loop into shared memory and works on them along
the result's: both sides touch whole lines of memory. A row of a tile is followed by one unused element, so
that a column lies in different banks.
"""

from __future__ import annotations

import functools

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings, Var
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import InvocationElements
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.scalars import NotVectorizable
from iree_codegen.strategies.gpu.products import extent
from iree_codegen.strategies.transpose import TransposePlan, plan_transpose
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import element_of, i1

NAME = "transpose"
TILE = 32
ROWS = 8
"""Rows of invocations: each brings and stores ``TILE / ROWS`` elements of a tile."""
LEAST = 16
"""Extents below leave most of a tile empty."""


def transpose(dispatch: Dispatch, description: InvocationDescription) -> Kernel | None:
    """The kernel; None for other dispatches and for devices that gain nothing from sharing."""
    limits = (description.max_workgroup_invocations, description.max_workgroup_size[0])
    if not description.prefers_barriers or limits[0] < TILE * ROWS or limits[1] < TILE:
        return None
    plan = plan_transpose(dispatch, LEAST)
    if plan is None or any(element_of(a.value.type) is i1 for a in plan.transposed):
        return None
    elements = sum(element_type(str(element_of(a.value.type))).bytes for a in plan.transposed)
    if TILE * (TILE + 1) * elements > description.shared_memory_bytes:
        return None
    frame = GpuFrame(dispatch, description, (TILE, ROWS), elements=InvocationElements)
    try:
        total = _Emitter(frame, plan).run()
    except NotVectorizable:
        return None
    return frame.finish(frame.folded(total), 0, NAME, f"tiles of {TILE}x{TILE} in shared memory")


class _Emitter:
    def __init__(self, frame: GpuFrame, plan: TransposePlan) -> None:
        self.frame, self.plan, self.kernel = frame, plan, frame.kernel
        self.pitch = TILE + 1
        self.tiles = [
            frame.shared_memory(TILE * self.pitch, element_of(a.value.type)) for a in plan.transposed
        ]

    def run(self) -> dim_ops.Dim:
        """Emit the kernel; the number of workgroups."""
        plan, k, frame = self.plan, self.kernel, self.frame
        outer = [v for v in plan.step.loops if v not in (plan.p, plan.q)]
        counts = [dim_ops.ceildiv(extent(v), TILE) for v in (plan.p, plan.q)]
        tiles = dim_ops.mul(counts[0], counts[1])
        total = dim_ops.mul(dim_ops.total([extent(v) for v in outer]), tiles)
        number = frame.workgroup_index(total)

        def work() -> None:
            places: list[Index] = []
            rest = number
            for count in counts:
                places.append(k.mul(k.mod(rest, k.dim(count)), TILE))
                rest = k.floordiv(rest, k.dim(count))
            values: dict[Var, Index] = {}
            for var in reversed(outer):
                size = k.dim(extent(var))
                values[var] = rest if var is outer[0] else k.mod(rest, size)
                rest = k.floordiv(rest, size)
            self._tile(Bindings(k).child(values), *places)

        frame.unless_surplus(number, total, work)
        return total

    def _tile(self, at: Bindings, p0: Index, q0: Index) -> None:
        plan, k, frame = self.plan, self.kernel, self.frame
        x, y = frame.thread_id(0), frame.thread_id(1)
        limits = {v: k.dim(extent(v)) for v in (plan.p, plan.q)}
        exact = {v: dim_ops.mod(extent(v), TILE) == 0 for v in (plan.p, plan.q)}

        def clamped(var: Var, place: Index) -> Index:
            # What lies beyond the end repeats the last element; it is not stored.
            return place if exact[var] else k.min(place, k.sub(limits[var], 1))

        for row in range(0, TILE, ROWS):
            own = k.add(y, row)
            here = at.child({plan.p: clamped(plan.p, k.add(p0, own)), plan.q: clamped(plan.q, k.add(q0, x))})
            for access, tile in zip(plan.transposed, self.tiles, strict=True):
                value = frame.elements.load(frame.elements.memory[access.value], access.forms, Point(here))
                k.store(value, tile, k.add(k.mul(own, self.pitch), x))
        frame.barrier()
        for row in range(0, TILE, ROWS):
            own = k.add(y, row)
            p, q = k.add(p0, x), k.add(q0, own)
            condition: Value | None = None
            for var, place in ((plan.p, p), (plan.q, q)):
                if not exact[var]:
                    inside = k.compare("ult", place, limits[var])
                    condition = inside if condition is None else k.binary("arith.andi", condition, inside)
            here = at.child({plan.p: p, plan.q: q})
            column = k.add(k.mul(x, self.pitch), own)
            if condition is None:
                self._element(here, column)
            else:
                k.if_(condition, functools.partial(self._element, here, column))

    def _element(self, at: Bindings, place: Index) -> None:
        """One element of every result; the transposed inputs from ``place`` of their tiles."""
        frame, step = self.frame, self.plan.step
        for access, tile in zip(self.plan.transposed, self.tiles, strict=True):
            held = self.kernel.load(tile, place)
            frame.elements.overrides[access.value] = lambda forms, point, v=held: v  # type: ignore[misc]
        point = Point(at)
        values = [frame.elements.element_through(v, step.forms, point) for v in step.values]
        for value, binding in zip(values, step.destinations, strict=True):
            assert binding is not None
            frame.elements.store(value, frame.binding_memory(binding), step.forms, point)
        for access in self.plan.transposed:
            del frame.elements.overrides[access.value]
