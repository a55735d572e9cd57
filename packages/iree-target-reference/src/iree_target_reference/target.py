"""Compile target ``reference``: an executable is the dispatch's own IR, and nothing is refused.

It proves the seams and is the template for new targets: describe, query, compile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dispatch_function import argument_attributes
from iree_core_ir.ir.types import IndexType, TensorType
from iree_core_ir.target import (
    ConstantLayout,
    DispatchRequest,
    ExecutableObject,
    ExportObject,
    Support,
    TargetDescription,
)
from iree_target_reference.errors import UNKNOWN_OPTION, ReferenceError

FORMAT = "iree-ir"


class ReferenceTarget:
    """See ``iree_core_ir.target.Target``."""

    name = "reference"
    driver = "reference"
    format = FORMAT
    option_names = ()

    def describe(self, options: Mapping[str, str]) -> TargetDescription:
        """There is nothing to choose. Raises ReferenceError for any option."""
        if options:
            raise ReferenceError(UNKNOWN_OPTION, ", ".join(sorted(options)), hint="leave it out")
        return TargetDescription(self.name)

    def query_support(self, op: Any, description: TargetDescription) -> Support:
        """Whatever has a numpy meaning runs."""
        return Support.yes()

    def constant_layout(self, dispatch: Any, description: TargetDescription) -> Sequence[ConstantLayout]:
        """Constants stay as they are."""
        return ()

    def channel_block(self, description: TargetDescription) -> int | None:
        """Images stay as they are."""
        return None

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        """The object is the module's text; one workgroup does all."""
        from iree_core_ir.text.parser import parse_module

        module = parse_module(request.text, request.name)
        function = next(op for op in module.regions[0].block if isinstance(op, FuncOp))
        bindings: list[str] = []
        words = 0
        for arg, facts in zip(function.regions[0].block.args, argument_attributes(function), strict=True):
            if isinstance(arg.type, TensorType):
                access: Any = facts.get("iree.access")
                bindings.append(access.value)
            else:
                words += scalar_words(arg.type)
        one = ["const", 1]
        export = ExportObject(request.name, tuple(bindings), words, (one, one, one))
        report = {"strategy": "interpret", "why": "the reference target runs the numpy meaning"}
        return ExecutableObject(request.text.encode(), (export,), (), report)


def scalar_words(type: Any) -> int:
    """32-bit constants that carry a scalar argument."""
    return 2 if isinstance(type, IndexType) or type.width == 64 else 1
