"""Allocators: aligned memory, reuse, statistics, refusal."""

from __future__ import annotations

import pytest

from iree_hal.conformance.backend import Context
from iree_hal.errors import HalError


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 100_000])
def test_allocation_is_aligned_and_large_enough(context: Context, nbytes: int) -> None:
    buffer = context.device.allocator.allocate(nbytes)
    assert buffer.nbytes == nbytes
    assert buffer.address % 64 == 0
    assert len(buffer.map("rw")) == nbytes


def test_allocations_do_not_overlap(context: Context) -> None:
    buffers = [context.device.allocator.allocate(100) for _ in range(20)]
    for i, buffer in enumerate(buffers):
        buffer.array[:] = i
    assert all((buffer.array == i).all() for i, buffer in enumerate(buffers))


def test_negative_allocation_is_refused(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-011"):
        context.device.allocator.allocate(-1)


def test_absurd_allocation_is_refused(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-011"):
        context.device.allocator.allocate(1 << 60)


def test_live_bytes_follow_release_and_garbage_collection(context: Context) -> None:
    allocator = context.device.allocator
    before = allocator.statistics.live_bytes
    released, dropped = allocator.allocate(1000), allocator.allocate(2000)
    assert allocator.statistics.live_bytes >= before + 3000
    allocator.release(released)
    del dropped
    assert allocator.statistics.live_bytes == before


def test_released_buffer_is_closed(context: Context) -> None:
    buffer = context.device.allocator.allocate(10)
    context.device.allocator.release(buffer)
    with pytest.raises(HalError, match="IREE-HAL-019"):
        buffer.map("r")


def test_pool_is_bounded(context: Context) -> None:
    allocator = context.device.allocator
    for _ in range(10):
        allocator.release(allocator.allocate(1 << 16))
    assert allocator.statistics.pooled_bytes <= allocator.pool_bytes
    allocator.trim()
    assert allocator.statistics.pooled_bytes == 0
