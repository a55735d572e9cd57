"""``tune-dispatches``: executables that another description of the machine makes faster are marked with it.

Nothing happens unless tuning is asked for; see :mod:`iree_flow.tuning`.
"""

from __future__ import annotations

from typing import ClassVar

from iree_base.records import record
from iree_core_ir.ir.attributes import StringAttr
from iree_core_ir.ir.operation import Op
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.chosen_description import OWN, TUNED
from iree_flow.dialects import flow
from iree_flow.report import CompileReport, TuningRow


@record
class TuneDispatches(Pass):
    name: ClassVar[str] = "tune-dispatches"

    def run(self, module: Op, context: PassContext) -> None:
        if not context.options.get("tune"):
            return
        from iree_flow.tuning import Tuner

        tuner = Tuner(
            context.options["target"],
            context.options["description"],
            jobs=context.options.get("jobs"),
            cache=context.options.get("cache", True),
        )
        report = context.options.get("report") or CompileReport()
        executables = [op for op in module.regions[0].block if isinstance(op, flow.Executable)]
        for executable, choice in tuner.choose(executables).items():
            if choice.label != OWN:
                executable.attributes[TUNED] = StringAttr(choice.label)
            if choice.seconds:
                name = executable.sym_name.value
                report.tuning.append(TuningRow(name, choice.label, dict(choice.seconds)))
