"""One compilation: options, targets, constants and report, handed from phase to phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iree_base.records import field, record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.pass_manager import SETTLED, Pass, PassContext, PassManager
from iree_core_ir.plugins import find_target
from iree_flow.errors import FlowError
from iree_flow.options import CompileOptions
from iree_flow.report import CompileReport

PRECISION = "matmul-precision"
"""The option of targets that can multiply in less than f32."""
CONV_ALGORITHM = "conv-algorithm"
"""The option of targets that know more than the direct form of a convolution."""


@record
class Session:
    """State that outlives a phase. The IR itself is passed separately."""

    options: CompileOptions
    constants: ConstantStore = field(default_factory=ConstantStore)
    report: CompileReport = field(default_factory=CompileReport)
    targets: dict[str, Any] = field(default_factory=dict)
    """Target name -> target object, loaded by entry point."""
    descriptions: dict[str, Any] = field(default_factory=dict)
    """Target name -> what it said about the hardware to compile for."""
    name: str = "module"
    memory: dict[str, Any] = field(default_factory=dict)
    """What passes remember from run to run; see ``PassContext``."""
    current: str = ""
    """The target whose variant is compiled; empty while the phases are common to all."""

    def load_targets(self) -> None:
        """Find the requested targets. Raises PluginError 3 (not installed), FlowError 3 for an option that
        none of them has, or the targets' own errors.
        """
        for name in self.options.target:
            self.targets[name] = find_target(name)
        routed = route_options(self.options.target_options, self.targets)
        for name, target in self.targets.items():
            precision = self.options.matmul_precision
            if precision != "highest" and PRECISION in target.option_names:
                routed[name].setdefault(PRECISION, precision)
            elif precision != "highest":
                self.report.remarks.append(f"{name}: {PRECISION}={precision} has no effect")
            if self.options.conv_algorithm != "auto" and CONV_ALGORITHM in target.option_names:
                routed[name].setdefault(CONV_ALGORITHM, self.options.conv_algorithm)
            description = self.descriptions[name] = target.describe(routed[name])
            remarks = getattr(target, "remarks", None)
            if remarks is not None:
                self.report.remarks += [f"{name}: {line}" for line in remarks(description)]

    def view(self, target: str) -> Session:
        """This compilation as the variant of ``target`` sees it; constants and report are the same."""
        return replace(self, current=target)

    @property
    def target(self) -> Any:
        """The target of the variant; in common phases the first."""
        return self.targets[self.current or self.options.target[0]]

    @property
    def description(self) -> Any:
        return self.descriptions[self.current or self.options.target[0]]

    def context(self) -> PassContext:
        """What passes get: ``targets`` are (target, description) pairs, all in common phases."""
        names = [self.current] if self.current else self.options.target
        return PassContext(
            constants=self.constants,
            memory=self.memory,
            options={
                "report": self.report,
                "tune": self.options.tune,
                "jobs": self.options.jobs,
                "cache": self.options.cache,
                "target": self.target,
                "description": self.description,
                "targets": [(self.targets[name], self.descriptions[name]) for name in names],
            },
        )

    def run(self, module: Any, *passes: Pass) -> None:
        """Run passes over the module; it is verified at the end of a phase (always, with IREE_VERIFY)."""
        PassManager(list(passes), verify_end=False).run(module, self.context())

    def changed(self) -> None:
        """Something else than a pass changed modules: passes that would have left them alone may not now."""
        self.memory.pop(SETTLED, None)

    def progress(self, event: str, done: int, total: int, text: str) -> None:
        if self.options.progress is not None:
            self.options.progress(event, done, total, text)


def route_options(options: Mapping[str, str], targets: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Each option to the targets that have it (``option_names``), under the name the target gives it.

    Raises FlowError 3 for an option that none has.
    """
    routed: dict[str, dict[str, str]] = {name: {} for name in targets}
    for option, value in options.items():
        owners = 0
        for name, target in targets.items():
            for known in target.option_names:
                if _same_option(known, option):
                    routed[name][known] = value
                    owners += 1
        if not owners:
            names = sorted({f"target_{o}" for target in targets.values() for o in target.option_names})
            raise FlowError(
                3,
                f"target_{option}",
                cause=f"{', '.join(targets)} has no such option",
                hint="one of " + ", ".join(name.replace("-", "_") for name in names)
                if names
                else "leave it out",
            )
    return routed


def _same_option(a: str, b: str) -> bool:
    return a.replace("-", "_") == b.replace("-", "_")
