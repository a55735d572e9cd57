"""One compilation: options, targets, constants and report, handed from phase to phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iree_core_ir.constants import ConstantStore
from iree_core_ir.pass_manager import Pass, PassContext, PassManager
from iree_core_ir.plugins import find_target
from iree_flow.options import CompileOptions
from iree_flow.report import CompileReport


@dataclass
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

    def load_targets(self) -> None:
        """Find the requested targets. Raises PluginError 3 (not installed) or the target's own errors."""
        for name in self.options.target:
            target = find_target(name)
            self.targets[name] = target
            self.descriptions[name] = target.describe(dict(self.options.target_options))

    @property
    def target(self) -> Any:
        """The one target of the variant."""
        return self.targets[self.options.target[0]]

    @property
    def description(self) -> Any:
        return self.descriptions[self.options.target[0]]

    def context(self) -> PassContext:
        return PassContext(
            constants=self.constants,
            options={"report": self.report, "target": self.target, "description": self.description},
        )

    def run(self, module: Any, *passes: Pass) -> None:
        """Run passes over the module."""
        PassManager(list(passes)).run(module, self.context())

    def progress(self, event: str, done: int, total: int, text: str) -> None:
        if self.options.progress is not None:
            self.options.progress(event, done, total, text)
