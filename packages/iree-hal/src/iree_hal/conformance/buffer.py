"""Buffers: mapping, subspans, access and ranges."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import Context, ramp
from iree_hal.errors import HalError


def test_buffer_maps_what_was_written(context: Context) -> None:
    buffer = context.device.allocator.allocate(8)
    buffer.map("w")[:] = b"abcdefgh"
    assert bytes(buffer.map("r", 2, 3)) == b"cde"


def test_buffer_map_for_reading_is_read_only(context: Context) -> None:
    assert context.device.allocator.allocate(8).map("r").readonly


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, 9), (9, 0), (4, 5), (0, -1)])
def test_buffer_range_is_checked(context: Context, offset: int, length: int) -> None:
    buffer = context.device.allocator.allocate(8)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        buffer.map("r", offset, length)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        buffer.subspan(offset, length)


def test_buffer_access_mode_is_checked(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.device.allocator.allocate(8).map("x")


def test_subspan_shares_memory(context: Context) -> None:
    buffer = context.device.allocator.allocate(8)
    buffer.array[:] = 0
    buffer.subspan(4, 2).map("w")[:] = b"\x01\x02"
    assert bytes(buffer.map("r")) == b"\0\0\0\0\x01\x02\0\0"


def test_subspan_keeps_memory_alive(context: Context) -> None:
    buffer = context.device.allocator.allocate(64)
    buffer.array[:] = 9
    part = buffer.subspan(8, 8)
    del buffer
    gc.collect()
    assert bytes(part.map("r")) == bytes([9] * 8)


def test_wrapped_array_is_borrowed_and_kept_alive(context: Context) -> None:
    array = ramp(4)
    buffer = Buffer.wrap(array)
    array[0] = 42
    assert buffer.array.view(np.float32)[0] == 42
    reference = weakref.ref(array)
    del array
    gc.collect()
    assert reference() is not None
    assert buffer.array.view(np.float32)[0] == 42


def test_wrapped_read_only_memory_refuses_writing(context: Context) -> None:
    buffer = Buffer.wrap(b"abc")
    assert buffer.readonly
    with pytest.raises(HalError, match="IREE-HAL-012"):
        buffer.map("w")
    assert buffer.subspan(0, 1).readonly


def test_strided_memory_cannot_be_wrapped(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        Buffer.wrap(ramp(8)[::2])
