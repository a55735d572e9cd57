"""The smallest target: it carries each dispatch's IR; and one that is as particular as a GPU."""

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
    driver = "fixture"
    format = "fixture-ir"
    option_names: tuple[str, ...] = ("colour",)

    def __init__(self, name: str = "", refuses: str = "") -> None:
        self.name = name or self.name
        self.refuses = refuses

    def describe(self, options: Mapping[str, str]) -> TargetDescription:
        return TargetDescription(self.name, options=tuple(sorted(options.items())))

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


class LatticeTarget(FixtureTarget):
    """Wants matrices turned, coarse alignment, and nothing bound in the middle of a buffer."""

    name = "lattice"
    option_names = ("colour", "lattice-profile")

    def describe(self, options: Mapping[str, str]) -> TargetDescription:
        given = tuple(sorted(options.items()))
        return TargetDescription(self.name, ("grid",), given, binding_alignment=256, slice_alignment=256)

    def constant_layout(self, dispatch: Any, description: TargetDescription) -> Sequence[ConstantLayout]:
        args = dispatch.regions[0].block.args
        facts = argument_attributes(dispatch)
        wishes = []
        for i, arg in enumerate(args):
            constant = facts[i].get("iree.constant") is not None
            if constant and isinstance(arg.type, TensorType) and arg.type.rank == 2:
                turned = arg.type.with_shape(arg.type.shape[::-1])
                wishes.append(ConstantLayout(i, "transpose", {"permutation": [1, 0]}, turned))
        return wishes

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        made = super().compile_dispatch(request)
        return ExecutableObject(made.data, made.exports, ("lattice:grid",), made.report)
