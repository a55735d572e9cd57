"""The smallest target: it carries each dispatch's IR."""

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
from iree_core_ir.text.parser import parse_module


class FixtureTarget:
    name = "fixture"
    driver = "null"
    format = "null"

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses

    def describe(self, options: Mapping[str, str]) -> TargetDescription:
        return TargetDescription(self.name)

    def query_support(self, op: Any, description: TargetDescription) -> Support:
        return Support.no("not today") if op.name == self.refuses else Support.yes()

    def constant_layout(self, dispatch: Any, description: TargetDescription) -> Sequence[ConstantLayout]:
        return ()

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        module = parse_module(request.text, request.name)
        function = next(op for op in module.regions[0].block if isinstance(op, FuncOp))
        args = function.regions[0].block.args
        bindings: list[str] = []
        words = 0
        for arg, facts in zip(args, argument_attributes(function), strict=True):
            if isinstance(arg.type, TensorType):
                access: Any = facts.get("iree.access")
                bindings.append(access.value)
            else:
                words += 2 if isinstance(arg.type, IndexType) or arg.type.width == 64 else 1
        one = ["const", 1]
        export = ExportObject(request.name, tuple(bindings), words, (one, one, one))
        return ExecutableObject(request.text.encode(), (export,), (), {"strategy": "none", "why": "fixture"})
