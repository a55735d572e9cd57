"""Target ``llvm-cpu``: dispatch -> kernel IR -> LLVM text -> ELF object."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iree_codegen.kernel_target import kernel_of, legalize_kernel, requested_function
from iree_core_ir.target import (
    ConstantLayout,
    DispatchRequest,
    ExecutableObject,
    Support,
    TargetDescription,
)
from iree_target_llvm.description import OPTIONS, CpuDescription, describe

if TYPE_CHECKING:
    from iree_codegen.kernel import Kernel
    from iree_core_ir.ir.attributes import Type

FORMATS = {"x86_64": "elf-x86_64", "aarch64": "elf-aarch64", "riscv64": "elf-riscv64"}


class LlvmCpuTarget:
    """The target object behind ``--target=llvm-cpu``; stateless and picklable."""

    name = "llvm-cpu"
    driver = "local-task"
    option_names = OPTIONS
    distributions = ("iree-target-llvm", "llvmlite")
    """Distributions whose versions decide what objects look like."""

    @property
    def format(self) -> str:
        """The format for this machine; see :meth:`format_of` for others."""
        import platform

        from iree_target_llvm.description import ARCHITECTURES

        return FORMATS.get(ARCHITECTURES.get(platform.machine().lower(), ""), "elf-x86_64")

    def format_of(self, description: TargetDescription) -> str:
        assert isinstance(description, CpuDescription)
        return FORMATS[description.architecture]

    def describe(self, options: Mapping[str, str]) -> TargetDescription:
        return describe(options)

    def integer_products(self, description: TargetDescription) -> bool:
        """Products of 8-bit integers are faster than of f32."""
        assert isinstance(description, CpuDescription)
        return description.integer_dots

    def remarks(self, description: TargetDescription) -> Sequence[str]:
        """What the options ask for and this CPU does not have."""
        assert isinstance(description, CpuDescription)
        precision = description.matmul_precision
        if precision == "highest" or "bf16" in description.matrix_tiles:
            return ()
        return (f"matmul-precision={precision}: products stay f32, the CPU has no bf16 tiles (amx-bf16)",)

    def needs_worker(self, description: TargetDescription) -> bool:
        """Foreign machines compile in a process of their own: LLVM may abort."""
        import platform

        from iree_target_llvm.description import ARCHITECTURES

        assert isinstance(description, CpuDescription)
        return ARCHITECTURES.get(platform.machine().lower()) != description.architecture

    def query_support(self, op: Any, description: TargetDescription) -> Support:
        from iree_codegen.support import query_support

        return query_support(op)

    def constant_layout(self, dispatch: Any, description: TargetDescription) -> Sequence[ConstantLayout]:
        from iree_codegen.layouts import constant_layout

        assert isinstance(description, CpuDescription)
        return constant_layout(dispatch, description)

    def rounded_arguments(self, dispatch: Any, description: TargetDescription) -> Mapping[int, Type]:
        """Rows of products on matrix tiles, where one bf16 stands for an f32."""
        from iree_codegen.rounded_arguments import rounded_arguments

        assert isinstance(description, CpuDescription)
        return rounded_arguments(dispatch, description)

    def replaced_arguments(self, dispatch: Any, description: TargetDescription) -> Sequence[int]:
        """Images that convolutions add to their sums."""
        from iree_codegen.replaced_arguments import replaced_arguments

        assert isinstance(description, CpuDescription)
        return replaced_arguments(dispatch, description)

    def fused_ops(self, description: TargetDescription) -> Collection[str]:
        """Attention, where there are vectors."""
        assert isinstance(description, CpuDescription)
        return ("linalg_ext.attention",) if description.vector_bits >= 128 else ()

    def masks_along_keys(self, description: TargetDescription) -> bool:
        """On matrix tiles queries are rows, elsewhere they run along lanes."""
        from iree_codegen.tile_attention_plan import parts_of

        assert isinstance(description, CpuDescription)
        return parts_of(description) is not None

    def channel_block(self, description: TargetDescription) -> int | None:
        """A vector of channels, where images are stored in blocks of them."""
        assert isinstance(description, CpuDescription)
        return description.channel_block or None

    def tuning_variants(self, description: TargetDescription) -> Mapping[str, TargetDescription]:
        """Descriptions that ``--tune`` tries beside ``description``."""
        from iree_target_llvm.tuning import tuning_variants

        assert isinstance(description, CpuDescription)
        return tuning_variants(description)

    def kernel_form(self, function: Any, description: TargetDescription) -> Kernel:
        """The kernel IR of a dispatch function, before legalization, for self-checks."""
        assert isinstance(description, CpuDescription)
        return kernel_of(function, description)

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        return compile_function(requested_function(request), request.description)


def compile_function(func: Any, description: TargetDescription) -> ExecutableObject:
    """Compile a dispatch function in this process."""
    from iree_codegen.errors import INTERNAL, CodegenError
    from iree_target_llvm.llvm_object import compile_text
    from iree_target_llvm.module_printer import module_text

    assert isinstance(description, CpuDescription)
    kernel = kernel_of(func, description)
    legalize_kernel(kernel, description)
    text = module_text(kernel.module, function_attributes(description), description.architecture)
    data = compile_text(text, description, optimize=kernel.optimize, name=kernel.name)
    if not data:
        raise CodegenError(INTERNAL, f"no code for '{kernel.name}'")
    report = {"strategy": kernel.strategy, "why": kernel.why, **kernel.notes}
    return ExecutableObject(data, (kernel.export,), required_features(text, description), report)


def function_attributes(description: CpuDescription) -> str:
    """What LLVM is told of every function, beside the machine's features."""
    if description.vector_bits < 512:
        return ""
    # Without a machine to schedule for, tiles that fill all 32 registers are spilled.
    return '"prefer-vector-width"="512" "tune-cpu"="sapphirerapids"'


def required_features(text: str, description: CpuDescription) -> tuple[str, ...]:
    """What a machine must have to run the kernel: all that LLVM was free to use, and the tiles where the
    kernel uses them (the operating system grants them for the asking, which only those who need them do)."""
    from iree_target_llvm.description import TILE
    from iree_target_llvm.tile_text import CONFIGURATION

    tiles = CONFIGURATION in text
    return tuple(f for f in description.features if tiles or not f.startswith(TILE))
