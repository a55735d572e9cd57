"""A target like a GPU without a GPU: kernels in invocation form as text, run by the ``reference`` driver.

Its workgroups and subgroups are small, so that a network's kernels can be interpreted in a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.legalize.kernel import legalize
from iree_codegen.select_strategy import generate
from iree_codegen.support import query_support
from iree_codegen.verify import verify_invocation_form
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.target import ConstantLayout, DispatchRequest, ExecutableObject, Support
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify

NAME = "invocations"
TYPES = ("f16", "f64", "i8", "i16", "i64")
DESCRIPTION = InvocationDescription(
    NAME, subgroup_size=4, subgroup_ops=("arithmetic", "shuffle"), max_workgroup_invocations=8,
    max_workgroup_size=(8, 8, 1), max_workgroup_count=(50, 65535, 65535), fma=True, arithmetic=TYPES,
    storage=TYPES,
)  # fmt: skip


class InvocationTarget:
    """See ``iree_core_ir.target.Target``."""

    name = NAME
    driver = "reference"
    format = "iree-ir"
    option_names: tuple[str, ...] = ()

    def describe(self, options: Mapping[str, str]) -> InvocationDescription:
        return DESCRIPTION

    def query_support(self, op: Any, description: Any) -> Support:
        return query_support(op)

    def constant_layout(self, dispatch: Any, description: Any) -> Sequence[ConstantLayout]:
        return ()

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        module = parse_module(request.text, request.name)
        function = next(op for op in module.walk() if isinstance(op, FuncOp))
        kernel = generate(function, request.description)
        legalize(kernel.module, request.description)
        verify(kernel.module)
        verify_invocation_form(kernel.module)
        report = {"strategy": kernel.strategy, "why": kernel.why}
        return ExecutableObject(print_op(kernel.module).encode(), (kernel.export,), (), report)
