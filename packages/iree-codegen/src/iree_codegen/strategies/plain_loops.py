"""``plain-loops``: scalar loops over the iteration space, for every dispatch; LLVM's vectorizer follows."""

from __future__ import annotations

from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.loop_emitter import Lanes, LoopEmitter
from iree_codegen.plan import Planner
from iree_codegen.workgroup_description import WorkgroupDescription

NAME = "plain-loops"


def plain_loops(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    plan = Planner(dispatch).plan()
    frame = KernelFrame(dispatch, fma=description.fma)
    count = LoopEmitter(frame, plan, Lanes()).run()
    return frame.finish([count], plan.scratch, NAME, "accepts everything", optimize=True)
