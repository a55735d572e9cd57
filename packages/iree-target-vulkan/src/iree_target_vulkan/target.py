"""Target ``vulkan-spirv``: dispatch -> kernel IR in invocation form -> SPIR-V."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iree_codegen.kernel_target import kernel_of, legalize_kernel, requested_function
from iree_core_ir.ir.types import element_of
from iree_core_ir.target import (
    ConstantLayout,
    DispatchRequest,
    ExecutableObject,
    Support,
    TargetDescription,
)
from iree_target_vulkan.description import OPTIONS, TARGET, VulkanDescription, describe
from iree_target_vulkan.executable_format import FEATURE_PREFIX, FORMAT

if TYPE_CHECKING:
    from iree_codegen.kernel import Kernel


_COMPUTE = {"f64": "shaderFloat64", "i64": "shaderInt64"}
_STORE = dict.fromkeys(
    ("i1", "i8", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ"), "storageBuffer8BitAccess"
) | dict.fromkeys(("i16", "f16", "bf16"), "storageBuffer16BitAccess")
"""Element type -> the feature without which kernels cannot compute with it, load or store it."""


def _lacks(element: str, features: Mapping[str, str], description: VulkanDescription) -> bool:
    return element in features and features[element] not in description.features


class VulkanSpirvTarget:
    """The target object behind ``--target=vulkan-spirv``; stateless and picklable."""

    name = TARGET
    driver = "vulkan"
    format = FORMAT
    distributions = ("iree-target-vulkan",)
    """Distributions whose versions decide what objects look like."""
    option_names = OPTIONS

    def describe(self, options: Mapping[str, str]) -> TargetDescription:
        return describe(options)

    def query_support(self, op: Any, description: TargetDescription) -> Support:
        """No for what the device cannot compute with; partly for what it cannot load or store: an op that is
        fused with those around it may not have to."""
        from iree_codegen.support import query_support

        assert isinstance(description, VulkanDescription)
        support = query_support(op)
        if not support:
            return support
        elements = sorted({str(element_of(v.type)) for v in (*op.operands, *op.results)})
        missing = [f"{e} needs {_COMPUTE[e]}" for e in elements if _lacks(e, _COMPUTE, description)]
        if missing:
            return Support.no(f"{op.name}: {', '.join(missing)}")
        stored = [f"{e} in memory needs {_STORE[e]}" for e in elements if _lacks(e, _STORE, description)]
        return Support.partly(*stored) if stored else support

    def constant_layout(self, dispatch: Any, description: TargetDescription) -> Sequence[ConstantLayout]:
        from iree_codegen.gpu_layouts import constant_layout

        assert isinstance(description, VulkanDescription)
        return constant_layout(dispatch, description)

    def channel_block(self, description: TargetDescription) -> int | None:
        """Images stay as they are."""
        return None

    def kernel_form(self, function: Any, description: TargetDescription) -> Kernel:
        """The kernel IR of a dispatch function, before legalization, for self-checks."""
        assert isinstance(description, VulkanDescription)
        return kernel_of(function, description)

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        return compile_function(requested_function(request), request.description)


def compile_function(func: Any, description: TargetDescription) -> ExecutableObject:
    """Compile a dispatch function in this process."""
    assert isinstance(description, VulkanDescription)
    return compile_kernel(kernel_of(func, description), description)


def compile_kernel(kernel: Kernel, description: VulkanDescription) -> ExecutableObject:
    """Legalize and print a kernel in invocation form; its module is changed in place."""
    from iree_base import debug
    from iree_target_vulkan.printer.kernel_printer import KernelPrinter

    legalize_kernel(kernel, description)
    function = kernel.module.regions[0].block.first
    executable = KernelPrinter(function, description, kernel.export.scratch_bytes).print()
    if debug.at(debug.TARGET_TEXT):
        from iree_target_vulkan.spirv.disassembler import disassemble

        debug.log(debug.TARGET_TEXT, f"; SPIR-V of '{kernel.name}'\n{disassemble(executable.words)}")
    report = {"strategy": kernel.strategy, "why": kernel.why, "profile": description.profile, **kernel.notes}
    features = tuple(FEATURE_PREFIX + name for name in executable.features)
    return ExecutableObject(executable.serialize(), (kernel.export,), features, report)
