"""Several devices of one driver at once: each with its own memory and code, ordered by shared fences."""

from __future__ import annotations

import numpy as np

from iree_hal.conformance.backend import (
    TIMEOUT,
    Context,
    add_recording,
    contents,
    count_recording,
    in_threads,
    ramp,
    scale_recording,
)
from iree_hal.fence import Fence


def test_two_devices_work_at_once(context: Context) -> None:
    pair = (context.another(), context.another())

    def work(own: Context, factor: int) -> None:
        command_buffer = own.command_buffer(add_recording(300))
        for _ in range(20):
            out = own.buffer(np.zeros(300, np.float32))
            own.device.execute(command_buffer, [own.buffer(factor * ramp(300)), ramp(300), out])
            assert np.array_equal(contents(out, np.float32), (factor + 1) * ramp(300))

    in_threads(*(lambda n=n: work(pair[n % 2], n) for n in range(4)))


def test_two_devices_take_turns(context: Context) -> None:
    other = context.another()
    first, second = (c.command_buffer(count_recording(4)) for c in (context, other))
    out = np.zeros(4, np.uint32)
    for _ in range(20):
        context.device.execute(first, [out])
        other.device.execute(second, [out])
    assert (out == 40).all()


def test_a_fence_orders_two_devices(context: Context) -> None:
    other = context.another()
    middle = np.zeros(100, np.float32)
    out = np.zeros(100, np.float32)
    start, ready, done = Fence.create(), Fence.create(), Fence.create()
    double = other.command_buffer(scale_recording(100, 2.0))
    triple = context.command_buffer(scale_recording(100, 3.0))
    other.device.queue_execute(double, [middle, out], wait=ready, signal=done)
    context.device.queue_execute(triple, [ramp(100), middle], wait=start, signal=ready)
    start.signal()
    done.wait(TIMEOUT)
    assert np.array_equal(out, 6 * ramp(100))


def test_devices_have_memory_of_their_own(context: Context) -> None:
    one, other = context.another(), context.another()
    before = other.device.allocator.statistics.live_bytes
    kept = [one.device.allocator.allocate(10_000) for _ in range(10)]
    assert other.device.allocator.statistics.live_bytes == before
    assert one.device.allocator.statistics.live_bytes >= sum(buffer.nbytes for buffer in kept)


def test_an_error_on_one_device_leaves_the_other_alone(context: Context) -> None:
    other = context.another()
    failed, done = Fence.create(), Fence.create()
    context.device.queue_host_call(lambda: 1 / 0, signal=failed)
    out = np.zeros(4, np.uint32)
    other.device.queue_execute(other.command_buffer(count_recording(4)), [out], signal=done)
    done.wait(TIMEOUT)
    assert (out == 1).all()


def test_a_recording_runs_on_every_device(context: Context) -> None:
    recording = add_recording(10)
    for own in (context, context.another(), context.another()):
        out = np.full(10, np.nan, np.float32)
        own.run(recording, [ramp(10), ramp(10), out])
        assert np.array_equal(out, 2 * ramp(10))
