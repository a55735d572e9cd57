"""Aligned host memory as numpy byte arrays, and where numpy keeps an array's address.

Asking numpy for an address in Python costs more than a small kernel; the executor reads it from the array
object instead. The two offsets are found by looking at an array whose address is known, so another layout
of the object (a debug or free-threaded build) is noticed, not trusted.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from iree_hal.errors import OUT_OF_MEMORY, HalError

ALIGNMENT = 64
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def _object_offsets() -> tuple[int, int]:
    """(offset of the data pointer, offset of the flags) in a numpy array object, (0, 0) if not found."""
    probes: list[np.ndarray[Any, np.dtype[Any]]] = [
        np.arange(6, dtype=np.uint16),
        np.zeros((3, 4), np.float32)[:, ::2],
        np.zeros((2, 3)).T,
    ]
    probes[0].flags.writeable = False
    size = np.ndarray.__basicsize__
    data = flags = set(range(ctypes.sizeof(ctypes.c_void_p), size - 7, 8))
    for probe in probes:
        address, bits = probe.ctypes.data, probe.flags.num
        data = {o for o in data if ctypes.c_uint64.from_address(id(probe) + o).value == address}
        flags = {o for o in flags if ctypes.c_uint32.from_address(id(probe) + o).value == bits}
    return (data.pop(), flags.pop()) if len(data) == len(flags) == 1 else (0, 0)


ARRAY_DATA_OFFSET, ARRAY_FLAGS_OFFSET = _object_offsets()


def aligned_bytes(n_bytes: int, *, zeroed_bytes: int = 0, alignment: int = ALIGNMENT) -> Bytes:
    """``n_bytes`` fresh bytes at a multiple of ``alignment``, the first ``zeroed_bytes`` zero.

    The array keeps its memory alive. Raises HalError OUT_OF_MEMORY.
    """
    try:
        block = np.empty(n_bytes + alignment, np.uint8)
    except (MemoryError, ValueError, OverflowError) as error:
        raise HalError(OUT_OF_MEMORY, f"{n_bytes} bytes", cause=str(error)) from None
    start = -int(block.ctypes.data) % alignment
    result = block[start : start + n_bytes]
    result[:zeroed_bytes] = 0
    return result
