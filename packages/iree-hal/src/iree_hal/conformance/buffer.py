"""Buffers: mapping, subspans, access, ranges, borrowed memory, constants; kernels see what hosts write."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import Context, add_recording, contents, ramp, scale_recording
from iree_hal.errors import HalError


def test_buffer_maps_what_was_written(context: Context) -> None:
    buffer = context.device.allocator.allocate(8)
    buffer.map("w")[:] = b"abcdefgh"
    assert bytes(buffer.map("r", 2, 3)) == b"cde"


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (1, 3), (7, 1), (3, 0), (8, 0), (5, None)])
def test_odd_ranges_map(context: Context, offset: int, length: int | None) -> None:
    buffer = context.buffer(np.arange(8, dtype=np.uint8))
    want = bytes(range(8))[offset : None if length is None else offset + length]
    assert bytes(buffer.map("r", offset, length)) == want
    buffer.map("w", offset, length)[:] = bytes(len(want))
    changed = bytearray(range(8))
    changed[offset : offset + len(want)] = bytes(len(want))
    assert bytes(buffer.map("r")) == bytes(changed)


def test_buffer_map_for_reading_is_read_only(context: Context) -> None:
    assert context.device.allocator.allocate(8).map("r").readonly


def test_mappings_share_memory(context: Context) -> None:
    buffer = context.device.allocator.allocate(4)
    one, other = buffer.map("rw"), buffer.map("r", 1, 2)
    one[:] = b"wxyz"
    assert bytes(other) == b"xy"


def test_mapping_outlives_the_name_of_its_buffer(context: Context) -> None:
    mapping = context.buffer(ramp(100)).map("r")
    gc.collect()
    others = [context.buffer(np.full(100, 7, np.float32)) for _ in range(5)]
    assert np.array_equal(np.frombuffer(mapping, np.float32), ramp(100))
    assert len(others) == 5


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


def test_closing_twice_is_allowed(context: Context) -> None:
    buffer = context.device.allocator.allocate(8)
    buffer.close()
    buffer.close()
    with pytest.raises(HalError, match="IREE-HAL-019"):
        buffer.map("r")


def test_subspan_shares_memory(context: Context) -> None:
    buffer = context.device.allocator.allocate(8)
    buffer.map("w")[:] = bytes(8)
    buffer.subspan(4, 2).map("w")[:] = b"\x01\x02"
    assert bytes(buffer.map("r")) == b"\0\0\0\0\x01\x02\0\0"


def test_subspan_of_a_subspan(context: Context) -> None:
    buffer = context.buffer(np.arange(100, dtype=np.uint8))
    assert bytes(buffer.subspan(10, 50).subspan(5, 3).map("r")) == bytes((15, 16, 17))


def test_subspan_keeps_memory_alive(context: Context) -> None:
    buffer = context.device.allocator.allocate(64)
    buffer.map("w")[:] = bytes([9] * 64)
    part = buffer.subspan(8, 8)
    del buffer
    gc.collect()
    assert bytes(part.map("r")) == bytes([9] * 8)


def test_kernels_read_what_a_mapping_wrote(context: Context) -> None:
    source, out = context.device.allocator.allocate(400), context.device.allocator.allocate(400)
    command_buffer = context.command_buffer(scale_recording(100, 2.0))
    for factor in (1, 5):
        source.map("w")[:] = (factor * ramp(100)).tobytes()
        context.device.execute(command_buffer, [source, out])
        assert np.array_equal(contents(out, np.float32), 2 * factor * ramp(100))


def test_a_mapping_made_before_shows_what_kernels_wrote(context: Context) -> None:
    out = context.device.allocator.allocate(400)
    mapping = out.map("r")
    for factor in (1.0, 3.0):
        context.run(scale_recording(100, factor), [ramp(100), out])
        assert np.array_equal(np.frombuffer(mapping, np.float32), factor * ramp(100))


def test_subspans_are_bindings(context: Context) -> None:
    block = context.buffer(np.zeros(3 * 1024, np.uint8))
    parts = [block.subspan(start, 400) for start in (0, 1024, 2048)]
    parts[0].map("w")[:] = ramp(100).tobytes()
    parts[1].map("w")[:] = ramp(100).tobytes()
    context.run(add_recording(100), parts)
    whole = contents(block)
    assert np.array_equal(whole[2048:2448].view(np.float32), 2 * ramp(100))
    assert not whole[2448:].any()
    assert not whole[400:1024].any()


def test_wrapped_array_is_borrowed_and_kept_alive(context: Context) -> None:
    array = ramp(4)
    buffer = Buffer.wrap(array)
    array[0] = 42
    assert contents(buffer, np.float32)[0] == 42
    reference = weakref.ref(array)
    del array
    gc.collect()
    assert reference() is not None
    assert contents(buffer, np.float32)[0] == 42


def test_wrapped_memory_is_a_binding(context: Context) -> None:
    given, out = ramp(100), np.zeros(100, np.float32)
    context.run(scale_recording(100, 3.0), [Buffer.wrap(given), Buffer.wrap(out)])
    assert np.array_equal(out, 3 * ramp(100))


def test_wrapped_read_only_memory_refuses_writing(context: Context) -> None:
    buffer = Buffer.wrap(b"abc")
    assert buffer.readonly
    with pytest.raises(HalError, match="IREE-HAL-012"):
        buffer.map("w")
    assert buffer.subspan(0, 1).readonly


def test_strided_memory_cannot_be_wrapped(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        Buffer.wrap(ramp(8)[::2])


def test_imported_constants_are_read_by_kernels(context: Context) -> None:
    constants = context.device.import_constants(ramp(1000).tobytes())
    assert constants.nbytes == 4000
    command_buffer = context.command_buffer(scale_recording(1000, 2.0))
    for _ in range(2):
        out = np.zeros(1000, np.float32)
        context.device.execute(command_buffer, [constants, out])
        assert np.array_equal(out, 2 * ramp(1000))


def test_imported_constants_are_not_written(context: Context) -> None:
    constants = context.device.import_constants(bytes(400))
    assert constants.readonly
    with pytest.raises(HalError, match="IREE-HAL-012"):
        context.device.queue_fill(constants, 0, 4, b"\1")
    with pytest.raises(HalError, match="IREE-HAL-012"):
        constants.map("w")
