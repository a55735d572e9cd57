"""What every target of kernel IR does alike: a request -> its function -> kernel IR -> legal for the target.

What is left to a target is to print the kernel. Nothing heavy is imported before a dispatch is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iree_codegen.kernel import Kernel
    from iree_codegen.workgroup_description import KernelDescription
    from iree_core_ir.dialects.func import FuncOp
    from iree_core_ir.target import DispatchRequest


def requested_function(request: DispatchRequest) -> FuncOp:
    """The dispatch function that ``request`` holds as text."""
    from iree_core_ir.dialects.func import FuncOp
    from iree_core_ir.text.parser import parse_module

    module = parse_module(request.text, name=request.name)
    return next(op for op in module.walk() if isinstance(op, FuncOp) and op.sym_name.value == request.name)


def kernel_of(function: Any, description: KernelDescription) -> Kernel:
    """The kernel IR of a dispatch function, before legalization; shown at ``IREE_DEBUG=4``."""
    from iree_base import debug
    from iree_codegen.select_strategy import generate

    kernel = generate(function, description)
    if debug.at(debug.IR):
        debug.log(debug.IR, f"// kernel IR, strategy {kernel.strategy}\n{kernel.module}")
    return kernel


def legalize_kernel(kernel: Kernel, description: KernelDescription) -> None:
    """Legalize in place; with ``IREE_VERIFY=1`` the IR and its form are checked before and after."""
    from iree_base import debug
    from iree_codegen.legalize.kernel import legalize
    from iree_codegen.verify import verify_form
    from iree_core_ir.verifier import verify

    def check() -> None:
        if debug.verifying():
            verify(kernel.module)
            verify_form(kernel.module)

    check()
    legalize(kernel.module, description)
    check()
