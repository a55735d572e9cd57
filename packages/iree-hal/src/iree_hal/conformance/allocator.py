"""Allocators: aligned memory, limits, out of memory, statistics, reuse, many threads."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import Context, add_recording, contents, in_threads, ramp
from iree_hal.errors import HalError


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 100_000])
def test_allocation_is_aligned_and_large_enough(context: Context, nbytes: int) -> None:
    buffer = context.device.allocator.allocate(nbytes)
    mapping = buffer.map("rw")
    assert buffer.nbytes == len(mapping) == nbytes
    if nbytes:
        assert np.frombuffer(mapping, np.uint8).ctypes.data % 64 == 0


def test_allocations_do_not_overlap(context: Context) -> None:
    buffers = [context.device.allocator.allocate(100) for _ in range(20)]
    for i, buffer in enumerate(buffers):
        buffer.map("w")[:] = bytes([i]) * 100
    assert all((contents(buffer) == i).all() for i, buffer in enumerate(buffers))


def test_random_allocations_keep_their_contents(context: Context) -> None:
    generator = np.random.default_rng(7)
    allocator = context.device.allocator
    live: list[tuple[Buffer, bytes]] = []
    for _ in range(300):
        if live and generator.random() < 0.45:
            buffer, want = live.pop(int(generator.integers(len(live))))
            assert bytes(buffer.map("r")) == want
            allocator.release(buffer)
        else:
            want = generator.bytes(int(generator.choice([0, 1, 63, 64, 65, 255, 256, 257, 5000, 70_000])))
            buffer = allocator.allocate(len(want))
            buffer.map("w")[:] = want
            live.append((buffer, want))
    assert all(bytes(buffer.map("r")) == want for buffer, want in live)


def test_negative_allocation_is_refused(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-011"):
        context.device.allocator.allocate(-1)


@pytest.mark.parametrize("bits", [50, 60, 62])
def test_absurd_allocation_is_refused(context: Context, bits: int) -> None:
    allocator = context.device.allocator
    before = allocator.statistics.live_bytes
    with pytest.raises(HalError, match="IREE-HAL-011"):
        allocator.allocate(1 << bits)
    assert allocator.statistics.live_bytes == before


def test_device_is_usable_after_out_of_memory(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-011"):
        context.device.queue_alloca(1 << 60)
    out = context.device.allocator.allocate(400)
    context.run(add_recording(100), [ramp(100), ramp(100), out])


def test_limit_bounds_what_is_live(context: Context) -> None:
    allocator = context.another().device.allocator
    allocator.limit_bytes = allocator.statistics.live_bytes + (1 << 20)
    first = allocator.allocate(900_000)
    with pytest.raises(HalError, match="IREE-HAL-011"):
        allocator.allocate(900_000)
    allocator.release(first)
    second = allocator.allocate(900_000)
    assert second.nbytes == 900_000
    allocator.limit_bytes = None
    assert allocator.allocate(900_000).nbytes == 900_000


def test_live_bytes_follow_release_and_garbage_collection(context: Context) -> None:
    allocator = context.another().device.allocator
    before = allocator.statistics.live_bytes
    released, dropped = allocator.allocate(1000), allocator.allocate(2000)
    assert allocator.statistics.live_bytes >= before + 3000
    assert allocator.statistics.peak_bytes >= allocator.statistics.live_bytes
    allocator.release(released)
    del dropped
    gc.collect()
    assert allocator.statistics.live_bytes == before
    assert allocator.statistics.peak_bytes >= before + 3000


def test_released_memory_is_used_again(context: Context) -> None:
    allocator = context.another().device.allocator
    allocator.release(allocator.allocate(10_000))
    before = allocator.statistics.reused
    for _ in range(10):
        allocator.release(allocator.allocate(10_000))
    assert allocator.statistics.reused >= before + 10
    assert allocator.statistics.allocations >= 11


def test_released_buffer_is_closed(context: Context) -> None:
    buffer = context.device.allocator.allocate(10)
    context.device.allocator.release(buffer)
    for call in (lambda: buffer.map("r"), lambda: context.run(add_recording(1), [buffer, ramp(1), ramp(1)])):
        with pytest.raises(HalError, match=r"IREE-HAL-0(19|09)"):
            call()


def test_releasing_twice_is_harmless(context: Context) -> None:
    allocator = context.another().device.allocator
    before = allocator.statistics.live_bytes
    buffer = allocator.allocate(1000)
    allocator.release(buffer)
    allocator.release(buffer)
    assert allocator.statistics.live_bytes == before
    first, second = allocator.allocate(1000), allocator.allocate(1000)
    first.map("w")[:] = b"1" * 1000
    second.map("w")[:] = b"2" * 1000
    assert bytes(first.map("r")) == b"1" * 1000


def test_pool_is_bounded(context: Context) -> None:
    allocator = context.another().device.allocator
    for _ in range(10):
        allocator.release(allocator.allocate(1 << 16))
    assert allocator.statistics.pooled_bytes <= allocator.pool_bytes
    allocator.trim()
    assert allocator.statistics.pooled_bytes == 0
    assert allocator.allocate(1 << 16).nbytes == 1 << 16


def test_allocations_from_many_threads(context: Context) -> None:
    allocator = context.another().device.allocator
    before = allocator.statistics.live_bytes

    def work(number: int) -> None:
        for i in range(200):
            nbytes = 1 + (i * 37 + number) % 3000
            buffer = allocator.allocate(nbytes)
            want = bytes([(number * 50 + i) % 256]) * nbytes
            buffer.map("w")[:] = want
            assert bytes(buffer.map("r")) == want
            allocator.release(buffer)

    in_threads(*(lambda n=n: work(n) for n in range(4)))
    assert allocator.statistics.live_bytes == before
