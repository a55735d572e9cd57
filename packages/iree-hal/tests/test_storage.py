"""Storage: alignment, and numpy's own idea of where an array is."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from iree_hal import storage
from iree_hal.errors import HalError


@pytest.mark.parametrize("n", [1, 100, 1 << 20])
def test_blocks_are_aligned(n: int) -> None:
    block = storage.aligned_bytes(n, zeroed_bytes=n // 2)
    assert (block.nbytes, block.ctypes.data % 64) == (n, 0)
    assert not block[: n // 2].any()


@pytest.mark.parametrize("n", [1 << 60, 1 << 62, 1 << 70])
def test_absurd_sizes_are_a_coded_error(n: int) -> None:
    with pytest.raises(HalError, match="IREE-HAL-011"):
        storage.aligned_bytes(n)


def test_array_objects_hold_their_address_and_flags() -> None:
    assert storage.ARRAY_DATA_OFFSET
    arrays = [
        np.zeros(3),
        np.zeros((4, 4))[1:, ::2],
        np.array(5),
        np.zeros(0),
        np.zeros(3).view(np.uint8)[1:],
    ]
    for array in arrays:
        at = id(array)
        assert ctypes.c_uint64.from_address(at + storage.ARRAY_DATA_OFFSET).value == array.ctypes.data
        flags = ctypes.c_uint32.from_address(at + storage.ARRAY_FLAGS_OFFSET).value
        assert bool(flags & 1) == array.flags.c_contiguous
        assert bool(flags & 0x400) == array.flags.writeable
        array.flags.writeable = False
        assert not ctypes.c_uint32.from_address(at + storage.ARRAY_FLAGS_OFFSET).value & 0x400
