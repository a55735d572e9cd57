"""Coded errors of the runtime: ``IREE-HAL-nnn``, exit code 3 (4 when the artefact is at fault)."""

from __future__ import annotations

from typing import Any

from iree_base.errors import EXIT_ARTIFACT, EXIT_RUNTIME, EXIT_USAGE, IreeError

UNSUPPORTED_PLATFORM = 1
BAD_OBJECT = 2
BAD_RELOCATION = 3
UNRESOLVED_SYMBOL = 4
NO_LOADER = 5
MISSING_FEATURE = 6
BAD_RECORDING = 7
BAD_ARGUMENTS = 8
OUT_OF_RANGE = 9
KERNEL = 10
OUT_OF_MEMORY = 11
ACCESS = 12
SHAPE = 13
ELEMENT_TYPE = 14
FAILED_FENCE = 15
TIMEOUT = 16
EXECUTABLE_MISMATCH = 17
REDZONE = 18
CLOSED = 19
OS_CALL = 20
OPTION = 21
UNSUPPORTED = 22
SEMAPHORE = 23
PROGRAM = 24
HAZARD = 25
NO_DEVICE = 26


class HalError(IreeError):
    """A failure of the runtime; ``number`` is one of this module's constants."""

    package = "HAL"
    exit_code = EXIT_RUNTIME
    exit_codes = {
        BAD_OBJECT: EXIT_ARTIFACT,
        BAD_RELOCATION: EXIT_ARTIFACT,
        UNRESOLVED_SYMBOL: EXIT_ARTIFACT,
        MISSING_FEATURE: EXIT_ARTIFACT,
        BAD_RECORDING: EXIT_ARTIFACT,
        EXECUTABLE_MISMATCH: EXIT_ARTIFACT,
        OPTION: EXIT_USAGE,
        NO_DEVICE: EXIT_USAGE,
    }
    table = {
        UNSUPPORTED_PLATFORM: "this platform cannot run native executables",
        BAD_OBJECT: "the object file is damaged or of a kind that cannot be loaded",
        BAD_RELOCATION: "the object file needs a relocation that cannot be applied",
        UNRESOLVED_SYMBOL: "the object file imports a symbol the runtime does not provide",
        NO_LOADER: "no loader for this executable format on this device",
        MISSING_FEATURE: "the device lacks a feature the executable was compiled for",
        BAD_RECORDING: "the command buffer recording is damaged or inconsistent",
        BAD_ARGUMENTS: "wrong number or kind of bindings or parameters",
        OUT_OF_RANGE: "a command reaches outside of its buffer",
        KERNEL: "a kernel reported an error",
        OUT_OF_MEMORY: "out of device memory",
        ACCESS: "the buffer does not allow this access",
        SHAPE: "shape and buffer do not fit together",
        ELEMENT_TYPE: "unsupported element type",
        FAILED_FENCE: "the work waited for has failed",
        TIMEOUT: "the wait timed out",
        EXECUTABLE_MISMATCH: "the recording does not fit the executable",
        REDZONE: "memory outside of a buffer was overwritten",
        CLOSED: "the object was already closed",
        OS_CALL: "an operating system call failed",
        OPTION: "invalid option",
        UNSUPPORTED: "the device does not support this operation",
        SEMAPHORE: "a semaphore was moved backwards",
        HAZARD: "commands that run together touch the same bytes",
        NO_DEVICE: "no such device",
        PROGRAM: "a workgroup count or size computed for this call is out of range",
    }


class KernelError(HalError):
    """A workgroup returned a non-zero code; the frame was stopped, outputs are undefined.

    ``kernel_code`` is the value returned, split into ``kind`` (:data:`iree_hal.abi.ERROR_KINDS`) and
    ``assert_index``; ``export_name`` is the kernel, ``command_index`` its place in the recording.
    """

    def __init__(
        self,
        kernel_code: int,
        export_name: str,
        kind: int,
        assert_index: int,
        command_index: int = -1,
        **more: Any,
    ) -> None:
        from iree_hal.abi import ERROR_KINDS

        text = f"{ERROR_KINDS.get(kind, f'kind {kind}')} in '{export_name}', assertion {assert_index}"
        super().__init__(KERNEL, text, **more)
        self.kernel_code = kernel_code
        self.export_name = export_name
        self.kind = kind
        self.assert_index = assert_index
        self.command_index = command_index

    def __reduce__(self) -> tuple[object, ...]:
        more = {"source": self.source, "cause": self.cause, "hint": self.hint}
        arguments = (self.kernel_code, self.export_name, self.kind, self.assert_index, self.command_index)
        return _rebuild_kernel_error, (arguments, more)


def _rebuild_kernel_error(arguments: tuple[Any, ...], more: dict[str, Any]) -> KernelError:
    return KernelError(*arguments, **more)


__all__ = ["HalError", "KernelError"]
