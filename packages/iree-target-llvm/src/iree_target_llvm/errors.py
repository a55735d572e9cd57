"""Coded errors of the llvm-cpu target: ``IREE-LLVM-nnn``."""

from __future__ import annotations

from iree_base.errors import EXIT_USAGE, IreeError

OPTION = 1
TRIPLE = 2
INVALID_TEXT = 3
OBJECT = 4
IMPORTS = 5


class LlvmError(IreeError):
    """The target cannot do what was asked; ``number`` is one of this module's constants."""

    package = "LLVM"
    exit_codes = {OPTION: EXIT_USAGE, TRIPLE: EXIT_USAGE}
    table = {
        OPTION: "invalid option of target llvm-cpu",
        TRIPLE: "LLVM cannot generate code for this machine",
        INVALID_TEXT: "internal error: LLVM rejects the generated code",
        OBJECT: "internal error: LLVM cannot write the object",
        IMPORTS: "internal error: the generated code calls a function the runtime does not provide",
    }


__all__ = ["LlvmError"]
