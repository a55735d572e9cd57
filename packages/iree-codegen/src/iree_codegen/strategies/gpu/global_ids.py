"""``global-ids``: every invocation computes its own elements, or all steps of its own outer index.

Accepts every dispatch. Scratch is cut into one slab per invocation, so nothing is shared and nothing waits.
"""

from __future__ import annotations

from iree_codegen.dispatch import Dispatch
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import InvocationElements
from iree_codegen.invocation_loops import (
    PRIVATE_LIMIT,
    SCRATCH_LIMIT,
    InvocationEmitter,
    InvocationPlanner,
)
from iree_codegen.kernel import Kernel
from iree_codegen.plan import Plan
from iree_codegen.scalars import NotVectorizable

NAME = "global-ids"
INVOCATIONS = 256
"""Per workgroup: eight subgroups of 32 hide each other's loads (H100: copies reach 97 % of its bandwidth)."""

CPU_SUBGROUPS = 8
"""Subgroups per workgroup on CPU devices (lavapipe: an addition takes a fifth of the time that it takes with
one, since a workgroup costs as much as the work of a subgroup)."""


def global_ids(dispatch: Dispatch, description: InvocationDescription) -> Kernel | None:
    for vectors in (True, False):
        plan = InvocationPlanner(dispatch).plan()
        size = workgroup_size(plan, description)
        frame = GpuFrame(dispatch, description, (size,), elements=InvocationElements)
        emitter = InvocationEmitter(frame, plan, vectors=vectors)
        try:
            count = emitter.run()
        except NotVectorizable:
            continue
        return frame.finish(frame.folded(count), emitter.scratch_bytes, NAME, "accepts everything")
    return None


def workgroup_size(plan: Plan, description: InvocationDescription) -> int:
    """Invocations per workgroup; fewer where each of them needs scratch."""
    wanted = INVOCATIONS if description.prefers_barriers else CPU_SUBGROUPS * description.subgroup_size
    limit = min(wanted, description.max_workgroup_invocations, description.max_workgroup_size[0])
    if plan.scratch > PRIVATE_LIMIT:
        limit = min(limit, max(1, SCRATCH_LIMIT // plan.scratch), description.subgroup_size)
    return max(1, limit)
