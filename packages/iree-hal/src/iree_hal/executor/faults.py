"""The error word of a stopped frame -> the exception the user sees."""

from __future__ import annotations

from iree_hal import abi
from iree_hal.errors import ACCESS, BAD_ARGUMENTS, OUT_OF_RANGE, PROGRAM, HalError, KernelError
from iree_hal.executor import structs
from iree_hal.executor.plan import Plan

_FAULTS: dict[int, tuple[int, str, str]] = {
    structs.FAULT_RANGE: (OUT_OF_RANGE, "binding {detail} of {where} does not fit its buffer", ""),
    structs.FAULT_ALIGN: (
        BAD_ARGUMENTS,
        "binding {detail} of {where} is not aligned",
        "pass arrays aligned to their elements",
    ),
    structs.FAULT_COUNT: (PROGRAM, "workgroup count of {where}", ""),
    structs.FAULT_OVERLAP: (OUT_OF_RANGE, "source and target of {where} overlap", ""),
    structs.FAULT_LENGTH: (OUT_OF_RANGE, "source and target of {where} differ in length", ""),
    structs.FAULT_LAYOUT: (
        BAD_ARGUMENTS,
        "the array in binding slot {detail} is not C-contiguous",
        "pass numpy.ascontiguousarray(array)",
    ),
    structs.FAULT_READ_ONLY: (
        ACCESS,
        "binding slot {detail} is written but read-only",
        "pass a writeable array",
    ),
}


def fault(plan: Plan, error: int, detail: int) -> HalError:
    """``error`` is Frame.error (command << 32 | code), ``detail`` Frame.detail."""
    command, code = error >> 32, error & 0xFFFFFFFF
    if code >> 31:
        number, text, hint = _FAULTS[code - (1 << 32)]
        where = f"command {command} ('{plan.names.get(command, '?')}')"
        return HalError(number, text.format(detail=detail, where=where), hint=hint or None)
    kind, assert_index = abi.split_error(code)
    return KernelError(code, plan.names.get(command, "?"), kind, assert_index, command)
