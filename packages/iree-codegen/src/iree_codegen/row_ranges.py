"""The flat inner ranges of steps that share rows, cut into vectors for the members of a team.

A step's inner loops (or the reduction loops of a step that leaves one element) become one range; steps of one
extent get the same one, so that members stand at the same places in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.accesses import Access, AccessWalker
from iree_codegen.dims import Dim
from iree_codegen.gpu_frame import VECTOR_BYTES, GpuFrame
from iree_codegen.indexing import Affine, Var
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import is_aligned, lane_step
from iree_codegen.plan import Group, Plan, Step, element_bytes
from iree_core_ir.ir.operation import Value

REGISTER_ELEMENTS = 32
LARGEST = 1024
"""Invocations of the largest workgroups, which have half the registers each."""


def register_elements(description: InvocationDescription, invocations: int) -> int:
    """Elements of one range that a member keeps in registers; longer ranges are walked by loops."""
    if not description.prefers_barriers:
        return 2 * REGISTER_ELEMENTS  # loops need barriers where steps read each other's elements
    return REGISTER_ELEMENTS if invocations < LARGEST else REGISTER_ELEMENTS // 2


@record
class Range:
    """The flat inner range of some steps: ``lanes`` elements at a time."""

    extent: Dim
    var: Var
    lanes: int = 1
    vectors: int | None = None
    """Vectors per member where the range is walked in registers."""


@record
class Inner:
    """A step on its range: what it reads, in terms of the range's variable."""

    step: Step
    range: Range | None
    forms: tuple[Affine, ...]
    reduced: tuple[Affine, ...] = ()
    """The indices of the reduction loops, when those are the range."""
    reads: list[Access] = field(default_factory=list)
    awkward: bool = False
    """Something is computed under a condition or at computed places: no vectors."""


class Ranges:
    """Makes the ranges of one group after the other, for teams of ``size``."""

    def __init__(self, frame: GpuFrame, plan: Plan, size: int, max_lanes: int) -> None:
        self.frame = frame
        self.plan = plan
        self.size = size
        self.max_lanes = max_lanes
        self.ranges: dict[Dim, Range] = {}

    def of(self, group: Group) -> list[Inner]:
        """The steps of ``group`` on their ranges."""
        self.ranges = {}
        steps = [self._inner(step, group) for step in group.steps]
        self._cut(steps)
        return steps

    def _inner(self, step: Step, group: Group) -> Inner:
        outer = set(group.outer)
        op: Any = step.values[0].defining_op
        own = [v for v in step.loops if v not in outer]
        walker = AccessWalker(self.frame.dispatch, self.plan.stored)
        if own:
            extents = [v.extent for v in own]
            range = self._range(dim_ops.total(extents))  # type: ignore[arg-type]
            parts = indexing.delinearize(indexing.of(range.var), tuple(extents))  # type: ignore[arg-type]
            by_var = dict(zip(own, parts, strict=True))
            forms = tuple(
                indexing.ZERO if d == 1 else by_var.get(v, indexing.of(v))
                for v, d in zip(step.vars, step.dims, strict=True)
            )
            inner = Inner(step, range, forms)
        elif step.reduces:
            all_extents = self.frame.dispatch.loop_dims(op)
            loops = self.frame.elements.loop_forms(op, step.values[0].index, step.forms)
            extents = [e for e, form in zip(all_extents, loops, strict=True) if form is None]
            range = self._range(dim_ops.total(extents))  # type: ignore[arg-type]
            parts = indexing.delinearize(indexing.of(range.var), tuple(extents))  # type: ignore[arg-type]
            inner = Inner(step, range, step.forms, tuple(parts))
        else:
            inner = Inner(step, None, step.forms)
        seen: set[Any] = set()
        for value in step.values:
            walk = walker.walk(value, inner.forms, through=True, reduced=inner.reduced)
            inner.awkward |= walk.guarded or any(o.name == "linalg_ext.gather" for o in walk.ops)
            for access in walk.accesses:
                if (access.value, access.forms) not in seen:
                    seen.add((access.value, access.forms))
                    inner.reads.append(access)
        return inner

    def _range(self, extent: Dim) -> Range:
        found = self.ranges.get(extent)
        if found is None:
            found = self.ranges[extent] = Range(extent, Var("i", extent))
        return found

    def _cut(self, steps: Sequence[Inner]) -> None:
        """Choose lanes and vectors of the ranges."""
        for range in {id(s.range): s.range for s in steps if s.range is not None}.values():
            extent, size = range.extent, self.size
            if not isinstance(extent, int):
                continue
            own = [s for s in steps if s.range is range]
            lanes = self.max_lanes
            while lanes > 1 and not (
                extent % lanes == 0
                and extent >= lanes * min(size, 32)
                and all(self._takes_vectors(s, lanes) for s in own)
            ):
                lanes //= 2
            vectors = -(-extent // (lanes * size))
            range.lanes = lanes
            most = register_elements(self.frame.description, self.frame.n_invocations)
            range.vectors = vectors if vectors * lanes <= most else None

    def _takes_vectors(self, inner: Inner, lanes: int) -> bool:
        if inner.awkward or inner.range is None:
            return False
        var = inner.range.var
        addresses: list[tuple[Value, Affine]] = []
        for access in inner.reads:
            memory = self.frame.elements.memory.get(access.value)
            if memory is not None:
                addresses.append((access.value, memory.address(access.forms)))
        if not inner.reduced:
            for value, destination in zip(inner.step.values, inner.step.destinations, strict=True):
                if destination is not None:
                    memory = self.frame.binding_memory(destination)
                    address = memory.address(inner.forms)
                    if lane_step(address, var, lanes) != 1 or not is_aligned(address, var, lanes):
                        return False
                    addresses.append((value, address))
        good = 0
        for value, address in addresses:
            if lanes * element_bytes(value) > VECTOR_BYTES:
                return False
            step = lane_step(address, var, lanes)
            whole = step == 1 and is_aligned(address, var, lanes)
            good += 1 if whole or step == 0 else -1
        return good > 0 or not addresses


__all__ = ["Inner", "Range", "Ranges", "register_elements"]
