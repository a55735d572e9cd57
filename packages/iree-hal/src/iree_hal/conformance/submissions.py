"""Submissions: thousands of them, from several threads, with nothing lost, doubled or mixed up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from iree_hal.conformance.backend import TIMEOUT, Context, contents, count_recording, in_threads
from iree_hal.fence import Fence

EACH = 500


def test_thousands_of_submissions_from_several_threads(context: Context) -> None:
    command_buffer = context.command_buffer(count_recording(4))
    outs = [context.buffer(np.zeros(4, np.uint32)) for _ in range(4)]

    def work(number: int) -> None:
        timeline = context.device.create_semaphore()
        for i in range(EACH):
            wait, signal = (timeline, i), (timeline, i + 1)
            context.device.queue_execute(command_buffer, [outs[number]], wait=wait, signal=signal)
        timeline.wait(EACH, TIMEOUT)

    in_threads(*(lambda n=n: work(n) for n in range(4)))
    assert all((contents(out, np.uint32) == EACH).all() for out in outs)


def test_thousands_of_submissions_behind_one_fence(context: Context) -> None:
    command_buffer = context.command_buffer(count_recording(1))
    start = Fence.create()
    outs = [context.buffer(np.zeros(1, np.uint32)) for _ in range(1000)]
    done = [Fence.create() for _ in outs]
    for out, fence in zip(outs, done, strict=True):
        context.device.queue_execute(command_buffer, [out], wait=start, signal=fence)
    assert not any(fence.query() for fence in done)
    start.signal()
    Fence.join(done).wait(TIMEOUT)
    assert all(contents(out, np.uint32)[0] == 1 for out in outs)


def test_threads_share_one_timeline(context: Context) -> None:
    """Every thread submits every fourth step of one chain; the device puts them in order."""
    command_buffer = context.command_buffer(count_recording(8))
    out = context.buffer(np.zeros(8, np.uint32))
    timeline = context.device.create_semaphore()

    def work(number: int) -> None:
        for step in range(number, 4 * EACH, 4):
            wait, signal = (timeline, step + 1), (timeline, step + 2)
            context.device.queue_execute(command_buffer, [out], wait=wait, signal=signal)

    in_threads(*(lambda n=n: work(n) for n in range(4)))
    timeline.signal(1)
    timeline.wait(4 * EACH + 1, TIMEOUT)
    assert (contents(out, np.uint32) == 4 * EACH).all()


def test_mixed_submissions_from_several_threads(context: Context) -> None:
    device = context.device
    command_buffer = context.command_buffer(count_recording(16))

    def work(number: int) -> None:
        a, b = context.buffer(np.zeros(16, np.uint32)), context.buffer(np.zeros(16, np.uint32))
        timeline = device.create_semaphore()
        value = 0
        for _ in range(30):
            steps: tuple[Callable[..., None], ...] = (
                lambda **order: device.queue_fill(a, 0, 64, bytes([number]), **order),
                lambda **order: device.queue_execute(command_buffer, [a], **order),
                lambda **order: device.queue_copy(a, 0, b, 0, 64, **order),
                lambda **order: device.queue_execute(command_buffer, [b], **order),
            )
            for step in steps:
                step(wait=(timeline, value), signal=(timeline, value + 1))
                value += 1
        timeline.wait(value, TIMEOUT)
        assert (contents(b, np.uint32) == number * 0x01010101 + 2).all()

    in_threads(*(lambda n=n: work(n) for n in range(1, 5)))


def test_synchronous_and_queued_work_mix(context: Context) -> None:
    command_buffer = context.command_buffer(count_recording(4))

    def work(queued: bool) -> None:
        out = context.buffer(np.zeros(4, np.uint32))
        for _ in range(100):
            if queued:
                done = Fence.create()
                context.device.queue_execute(command_buffer, [out], signal=done)
                done.wait(TIMEOUT)
            else:
                context.device.execute(command_buffer, [out])
        assert (contents(out, np.uint32) == 100).all()

    in_threads(*(lambda n=n: work(bool(n % 2)) for n in range(4)))


def test_nothing_is_left_behind(context: Context) -> None:
    """A thousand submissions with buffers of their own leave the allocator as it was."""
    fresh = context.another()
    allocator = fresh.device.allocator
    command_buffer = fresh.command_buffer(count_recording(4))
    before = allocator.statistics.live_bytes
    for _ in range(1000):
        out = fresh.device.queue_alloca(16)
        done, freed = Fence.create(), Fence.create()
        fresh.device.queue_execute(command_buffer, [out], signal=done)
        fresh.device.queue_dealloca(out, wait=done, signal=freed)
        freed.wait(TIMEOUT)
    assert allocator.statistics.live_bytes == before
