"""``rows``: a team of invocations per outer index, for reductions and for steps that share their rows.

Softmax, normalizations, reductions with epilogues. Short rows are a subgroup's, long ones a workgroup's.
"""

from __future__ import annotations

from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.dispatch import READWRITE, Dispatch
from iree_codegen.elements import Memory
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_loops import InvocationPlanner
from iree_codegen.kernel import Kernel
from iree_codegen.loop_emitter import step_of
from iree_codegen.plan import Group, Plan, Step
from iree_codegen.row_elements import RowElements
from iree_codegen.row_emitter import NoRows, RowEmitter
from iree_codegen.row_ranges import register_elements
from iree_codegen.row_reduction import combiner
from iree_codegen.scalars import NotVectorizable
from iree_codegen.sequential import is_sequential
from iree_codegen.strategies.gpu.global_ids import CPU_SUBGROUPS
from iree_codegen.team import COLUMNS, SUBGROUP, WORKGROUP, Team, combines_in_subgroup
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import element_of

NAME = "rows"
SHORT = 16
"""Reductions below so many elements are done by one invocation."""
PER_MEMBER = 8
"""Elements of a row that one member of a workgroup has at least, where it keeps them (H100, softmax of 4096:
2,490 GB/s with 8, 2,430 with 16, 2,230 with 32)."""
PER_SUMMAND = 64
"""The same where it only adds them up (sums of 4096: 2,300 GB/s with 64, 2,140 with 16)."""
SUBGROUP_VECTORS = 8
"""A row of up to so many vectors per lane is a subgroup's."""
INVOCATIONS = 256
MOST_INVOCATIONS = 512
COLUMN_MEMBERS = 32
PER_COLUMN_MEMBER = 16
"""Elements of a row that one member of a column should have."""
FEW = 128
"""Rows that leave a large device idle unless each has as many invocations as there can be."""
MANY = 1 << 18
"""So many results keep a device busy with one invocation each."""
KEPT_BYTES = 16 << 10
"""Intermediates of longer rows are kept up to this size: every device has so much shared memory."""
PLACES = {WORKGROUP: "a workgroup each", SUBGROUP: "a subgroup each", COLUMNS: "apart along y"}


class RowPlanner(InvocationPlanner):
    """Keeps every long reduction as a step of its own, so that a team can share it."""

    def __init__(self, dispatch: Dispatch, description: InvocationDescription) -> None:
        super().__init__(dispatch)
        most = MOST_INVOCATIONS if description.prefers_barriers else description.subgroup_size
        self.in_registers = most * register_elements(description, most)
        """Elements of a row that registers hold."""
        self.kept_bytes = KEPT_BYTES if description.prefers_barriers else 0

    def _read_once(self, op: Any, value: Value) -> bool:
        return _reduction_size(self.dispatch, op) < SHORT and super()._read_once(op, value)

    def _slab_limit(self, step: Step, count: int, shared: bool) -> int:
        """What neither registers nor shared memory hold is computed again, unless that takes a reduction."""
        limit = super()._slab_limit(step, count, shared)
        if step.reduces or not shared or is_sequential(step.values[0]):
            return limit
        return limit if count <= self.in_registers else min(limit, self.kept_bytes)


def rows(dispatch: Dispatch, description: InvocationDescription) -> Kernel | None:
    for max_lanes in (4, 1):
        plan = _plan(dispatch, description)
        if plan is None:
            return None
        extent = max(_known(e) for group in plan.groups for e in _extents(dispatch, group))
        try:
            return _kernel(dispatch, description, plan, extent, max_lanes)
        except NotVectorizable:
            continue
        except NoRows:
            return None
    return None


def _kernel(
    dispatch: Dispatch, description: InvocationDescription, plan: Plan, extent: int, max_lanes: int
) -> Kernel:
    kinds = [WORKGROUP]
    if description.prefers_barriers and all(_runs_across(dispatch, group) for group in plan.groups):
        kinds = [COLUMNS, WORKGROUP]
    elif _suits_subgroup(description, plan, extent, max_lanes):
        kinds = [SUBGROUP, WORKGROUP]
    for kind in kinds:
        shape, size = _shape(description, plan, kind, extent)
        frame = GpuFrame(dispatch, description, shape, elements=RowElements)
        emitter = RowEmitter(frame, plan, Team(frame, size, kind), max_lanes=max_lanes)
        try:
            count = emitter.run()
        except NoRows:
            if kind == WORKGROUP:
                raise
            continue
        if any(op.name == "cf.assert" for op in frame.kernel.func.walk()):
            raise NoRows("checks inside")
        why = f"{size} invocations per row, {PLACES[kind]}"
        return frame.finish(frame.folded(count), emitter.scratch_bytes, NAME, why)
    raise NoRows("no team")


def _shape(
    description: InvocationDescription, plan: Plan, kind: str, extent: int
) -> tuple[tuple[int, ...], int]:
    """(invocations of a workgroup, members of a team)."""
    subgroup = description.subgroup_size
    if kind == WORKGROUP:
        size = _members(description, plan, extent)
        return (size,), size
    if kind == SUBGROUP:
        return (subgroup * _subgroups(description),), subgroup
    limit = min(COLUMN_MEMBERS, description.max_workgroup_invocations // subgroup)
    size = 1
    while size * 2 <= limit and size * PER_COLUMN_MEMBER < extent:
        size *= 2
    return (subgroup, size), size


def _subgroups(description: InvocationDescription) -> int:
    """Subgroups in a workgroup whose subgroups have a row each."""
    if not description.prefers_barriers:
        return max(1, min(CPU_SUBGROUPS, description.max_workgroup_invocations // description.subgroup_size))
    return max(1, min(INVOCATIONS, description.max_workgroup_invocations) // description.subgroup_size)


def _suits_subgroup(description: InvocationDescription, plan: Plan, extent: int, max_lanes: int) -> bool:
    """Whether a subgroup is to do rows of ``extent`` elements."""
    if description.prefers_barriers and extent > description.subgroup_size * max_lanes * SUBGROUP_VECTORS:
        return False
    return all(
        _joins_in_subgroup(step.values[0].defining_op, description)
        for group in plan.groups
        for step in group.steps
        if step.reduces
    )


def _joins_in_subgroup(op: Any, description: InvocationDescription) -> bool:
    kinds = [combiner(op, i) for i in range(len(op.outputs))]
    return all(
        kind is not None and combines_in_subgroup(kind, element_of(v.type), description)
        for kind, v in zip(kinds, op.outputs, strict=True)
    )


def _members(description: InvocationDescription, plan: Plan, extent: int) -> int:
    """Invocations of a workgroup that does rows of ``extent`` elements."""
    if not description.prefers_barriers:
        return description.subgroup_size
    limit = min(description.max_workgroup_invocations, description.max_workgroup_size[0])
    keeps = any(step.slab_offsets or set(step.loops) - set(g.outer) for g in plan.groups for step in g.steps)
    results = min(_known(dim_ops.total([v.extent for v in g.outer])) for g in plan.groups)  # type: ignore[misc]
    each = PER_MEMBER if keeps or results < FEW else PER_SUMMAND
    most = min(limit, 1024 if results < FEW else MOST_INVOCATIONS)
    size = min(description.subgroup_size, limit)
    while size * 2 <= most and size * each < extent:
        size *= 2
    return size


# -- which dispatches --------------------------------------------------------------------------------


def _plan(dispatch: Dispatch, description: InvocationDescription) -> Plan | None:
    """The plan whose groups have outer loops for teams; None when invocations do better alone."""
    plan = RowPlanner(dispatch, description).plan()
    cooperative = False
    for group in plan.groups:
        if any(is_sequential(v) for step in group.steps for v in step.values):
            return None
        if len(group.steps) == 1 and not group.outer:
            step = group.steps[0]
            if not step.reduces or not _wants_team(dispatch, description, step):
                return None
            group.outer = list(step.loops)
            cooperative = True
        elif any(_known(e) >= SHORT for e in _extents(dispatch, group)):
            cooperative = True
    if any(b.access == READWRITE for b in dispatch.bindings):
        return None
    return plan if cooperative else None


def _extents(dispatch: Dispatch, group: Group) -> list[Dim]:
    """The inner ranges of a group's steps."""
    outer = set(group.outer)
    found: list[Dim] = [1]
    for step in group.steps:
        own = [v.extent for v in step.loops if v not in outer]
        if own:
            found.append(dim_ops.total(own))  # type: ignore[arg-type]
        elif step.reduces:
            found.append(_reduction_extent(dispatch, step.values[0].defining_op))
    return found


def _known(extent: Dim) -> int:
    return extent if isinstance(extent, int) else 4096


def _reduction_extent(dispatch: Dispatch, op: Any) -> Dim:
    extents = dispatch.loop_dims(op)
    return dim_ops.total([extents[i] for i in op.reduction_dims])


def _reduction_size(dispatch: Dispatch, op: Any) -> int:
    return _known(_reduction_extent(dispatch, op)) if isinstance(op, StructuredOp) else 1


def _wants_team(dispatch: Dispatch, description: InvocationDescription, step: Step) -> bool:
    """A reduction that stands alone: its memory runs along the reduction, or there are few results."""
    op: Any = step.values[0].defining_op
    size = _known(_reduction_extent(dispatch, op))
    if size < SHORT:
        return False
    results = _known(dim_ops.total(step.dims))
    if results <= 64:
        return True
    if not description.prefers_barriers and not _joins_in_subgroup(op, description):
        return False
    if _runs_across(dispatch, Group(list(step.loops), [step])):
        return description.prefers_barriers and results < MANY and size >= 2 * SHORT
    return True


def _runs_across(dispatch: Dispatch, group: Group) -> bool:
    """True when memory lies side by side along the last outer loop rather than along the rows."""
    if not group.outer:
        return False
    outer, last = set(group.outer), group.outer[-1]
    along = across = 0
    for step in group.steps:
        own = [v for v in step.loops if v not in outer]
        for access in step.walk.accesses:
            binding = dispatch.binding_of(access.value)
            inner = [*own, *access.loops]
            if binding is None or not inner:
                continue
            address = Memory(access.value, dim_ops.strides(binding.dims)).address(access.forms)
            if step_of(address, last) == 1:
                across += 1
            elif any(step_of(address, var) == 1 for var in inner):
                along += 1
    return across > along
