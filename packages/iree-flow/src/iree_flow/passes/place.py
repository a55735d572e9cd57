"""``place``: asks the targets which ops they support and writes the placement report.

Every op goes to every target: each makes a variant of the whole program. What a target refuses is an error
that lists *all* refused ops with their source nodes; partial support is noted with its reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.operation import Op
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.errors import FlowError
from iree_flow.report import PlacementRow


@record
class Place(Pass):
    name: ClassVar[str] = "place"

    def run(self, module: Op, context: PassContext) -> bool:
        report = context.options.get("report")
        refused: list[str] = []
        for target, description in context.options["targets"]:
            found, rows = _ask(target, description, module)
            refused += found
            if report is not None:
                report.placement += rows
        if refused:
            raise FlowError(
                7,
                "; ".join(refused),
                cause=f"targets refuse {len(refused)} op(s)",
                hint="choose another target with --target, or install one that supports them",
            )
        return False


def _ask(target: Any, description: Any, module: Op) -> tuple[list[str], list[PlacementRow]]:
    """What one target refuses, and a row for every op."""
    refused: list[str] = []
    rows: list[PlacementRow] = []
    for op in _ops(module):
        support = target.query_support(op, description)
        source = op.location.user_text()
        if not support:
            why = "; ".join(support.reasons)
            refused.append(f"'{op.name}' by {target.name} ({why}) at {source}")
        rows.append(PlacementRow(op.name, target.name, "; ".join(support.reasons) or "supported", [source]))
    return refused, rows


def _ops(module: Op) -> Iterator[Op]:
    """The dense ops of all functions, in order."""
    for function in module.regions[0].block:
        if isinstance(function, FuncOp):
            for block in function.regions[0].blocks:
                yield from (op for op in block if fusion.kind_of(op) is not None)
