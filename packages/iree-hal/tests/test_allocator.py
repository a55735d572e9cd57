"""Allocators beyond the conformance suite: limits, guards, threads."""

from __future__ import annotations

import threading

import pytest

from iree_hal.allocator import GUARD_BYTES, POISON, Allocator, check_guards, guarded_buffer
from iree_hal.errors import HalError


def test_limit_counts_what_is_live() -> None:
    allocator = Allocator(limit_bytes=1000)
    first = allocator.allocate(600)
    with pytest.raises(HalError, match="IREE-HAL-011"):
        allocator.allocate(600)
    allocator.release(first)
    allocator.allocate(600)


def test_released_blocks_come_back() -> None:
    allocator = Allocator()
    first = allocator.allocate(5000)
    address = first.address
    allocator.release(first)
    assert allocator.allocate(5000).address == address
    assert allocator.statistics.reused == 1


def test_pool_keeps_no_more_than_allowed() -> None:
    allocator = Allocator(pool_bytes=1000)
    buffers = [allocator.allocate(512) for _ in range(4)]
    for buffer in buffers:
        allocator.release(buffer)
    assert allocator.statistics.pooled_bytes == 512


def test_verified_blocks_are_poisoned() -> None:
    buffer = Allocator(verify=True).allocate(100)
    assert set(bytes(buffer.map("r"))) == {POISON}


@pytest.mark.parametrize("distance", [1, 7, GUARD_BYTES])
@pytest.mark.parametrize("side", ["before", "after"])
def test_guards_notice_a_byte(side: str, distance: int) -> None:
    allocator = Allocator(verify=True)
    buffer = allocator.allocate(100)
    allocator.check()
    assert buffer.guards is not None
    before, after = buffer.guards
    if side == "before":
        before[-distance] ^= 1
    else:
        after[distance - 1] ^= 1
    for look in (allocator.check, lambda: check_guards(buffer, "it"), lambda: allocator.release(buffer)):
        with pytest.raises(HalError, match=rf"IREE-HAL-018.*byte {distance} {side}"):
            look()


@pytest.mark.parametrize("misalignment", [0, 1, 4, 63])
def test_guarded_buffers_keep_their_misalignment(misalignment: int) -> None:
    assert guarded_buffer(10, misalignment).address % 64 == misalignment


def test_statistics_hold_under_threads() -> None:
    allocator = Allocator()

    def work() -> None:
        for i in range(200):
            buffer = allocator.allocate(64 * (i % 7 + 1))
            if i % 2:
                allocator.release(buffer)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allocator.statistics.live_bytes == 0
    assert allocator.statistics.allocations == 800
