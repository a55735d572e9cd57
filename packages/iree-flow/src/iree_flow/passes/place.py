"""``place``: asks the targets which ops they support and writes the placement report.

With one target every op goes to it. An op it refuses is an error that lists *all* refused ops with their
source nodes; partial support is noted with its reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.operation import Op
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.errors import FlowError
from iree_flow.report import PlacementRow


@dataclass
class Place(Pass):
    name: ClassVar[str] = "place"

    def run(self, module: Op, context: PassContext) -> None:
        target = context.options["target"]
        description = context.options["description"]
        report = context.options.get("report")
        refused: list[str] = []
        for function in module.regions[0].block:
            if not isinstance(function, FuncOp) or not function.regions[0].blocks:
                continue
            for block in function.regions[0].blocks:
                for op in block:
                    if fusion.kind_of(op) is None:
                        continue
                    support = target.query_support(op, description)
                    source = op.location.user_text()
                    if not support:
                        refused.append(f"'{op.name}' ({'; '.join(support.reasons)}) at {source}")
                    if report is not None:
                        why = "; ".join(support.reasons) or "supported"
                        report.placement.append(PlacementRow(op.name, target.name, why, [source]))
        if refused:
            raise FlowError(
                7,
                "; ".join(refused),
                cause=f"target {target.name} refuses {len(refused)} op(s)",
                hint="choose another target with --target, or install one that supports them",
            )
