"""Coded errors of code generation: ``IREE-CODEGEN-nnn``."""

from __future__ import annotations

from iree_base.errors import IreeError

INVALID_DISPATCH = 1
UNSUPPORTED_OP = 2
UNSUPPORTED_TYPE = 3
INVALID_KERNEL = 4
WORKER_CRASHED = 5
WORKER_FAILED = 6
INTERNAL = 7
CACHE = 8
CONSTANT_LAYOUT = 9


class CodegenError(IreeError):
    """A dispatch that cannot become a kernel; ``number`` is one of this module's constants."""

    package = "CODEGEN"
    table = {
        INVALID_DISPATCH: "the dispatch function breaks the contract between compiler and target",
        UNSUPPORTED_OP: "this operation cannot be compiled inside a dispatch",
        UNSUPPORTED_TYPE: "this element type cannot be compiled",
        INVALID_KERNEL: "a kernel breaks the rules of its normal form",
        WORKER_CRASHED: "the compile worker died while compiling",
        WORKER_FAILED: "the compile worker reported an error",
        INTERNAL: "internal error while generating code",
        CACHE: "the compile cache cannot be used",
        CONSTANT_LAYOUT: "a constant cannot be brought into the layout a kernel asked for",
    }


__all__ = ["CodegenError"]
