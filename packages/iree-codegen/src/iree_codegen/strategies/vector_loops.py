"""``vector-loops``: fused elementwise chains and row reductions with one loop of each step over vectors."""

from __future__ import annotations

from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.lanes import lane_count
from iree_codegen.loop_emitter import Lanes, LoopEmitter
from iree_codegen.plan import Planner
from iree_codegen.scalars import NotVectorizable
from iree_codegen.workgroup_description import WorkgroupDescription

NAME = "vector-loops"


def vector_loops(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    lanes = lane_count(dispatch, description.vector_bits)
    if lanes <= 1:
        return None
    plan = Planner(dispatch).plan()
    frame = KernelFrame(dispatch, fma=description.fma)
    try:
        count = LoopEmitter(frame, plan, Lanes(lanes, description.masks)).run()
    except NotVectorizable:
        return None
    return frame.finish([count], plan.scratch, NAME, f"{lanes} lanes")
