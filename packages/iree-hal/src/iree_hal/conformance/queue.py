"""Queue operations: ordering by fences, errors through fences, argument checks at submission."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.conformance.backend import Context, Recorder, float_bits, ramp
from iree_hal.errors import HalError
from iree_hal.fence import Fence

TIMEOUT = 60.0


def test_host_calls_run_in_fence_order(context: Context) -> None:
    device = context.device
    seen: list[int] = []
    fences = [Fence.create() for _ in range(4)]
    for i in reversed(range(3)):
        device.queue_host_call(lambda i=i: seen.append(i), wait=fences[i], signal=fences[i + 1])  # type: ignore[misc]
    assert seen == []
    fences[0].signal()
    fences[3].wait(TIMEOUT)
    assert seen == [0, 1, 2]


def test_operation_without_fences_runs(context: Context) -> None:
    done = Fence.create()
    context.device.queue_host_call(done.signal)
    done.wait(TIMEOUT)


def test_long_chains_do_not_recurse(context: Context) -> None:
    device = context.device
    semaphore = device.create_semaphore()
    for i in range(1, 3000):
        device.queue_host_call(lambda: None, wait=(semaphore, i), signal=(semaphore, i + 1))
    semaphore.signal(1)
    semaphore.wait(3000, TIMEOUT)


def test_failed_operation_fails_its_signal_fence(context: Context) -> None:
    def fails() -> None:
        raise ValueError("on purpose")

    fence, after = Fence.create(), Fence.create()
    seen: list[int] = []
    context.device.queue_host_call(fails, signal=fence)
    context.device.queue_host_call(lambda: seen.append(1), wait=fence, signal=after)
    for waited in (fence, after):
        with pytest.raises(HalError, match=r"IREE-HAL-015.*on purpose"):
            waited.wait(TIMEOUT)
    assert not seen


def test_kernel_error_travels_through_fences(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.call("check_index", (10, 1, 1), constants=[9])
    fence, after = Fence.create(), Fence.create()
    context.device.queue_execute(context.command_buffer(recorder.finish()), [], signal=fence)
    context.device.queue_host_call(lambda: None, wait=fence, signal=after)
    with pytest.raises(HalError, match="IREE-HAL-010"):
        after.wait(TIMEOUT)


def test_execute_waits_and_signals(context: Context) -> None:
    recorder = Recorder(3, 0)
    recorder.call("scale", (100, 1, 1), [recorder.ref(1, 400), recorder.ref(2, 400)], [float_bits(2.0)])
    command_buffer = context.command_buffer(recorder.finish())
    start, middle, end = Fence.create(), Fence.create(), Fence.create()
    x, y, z = ramp(100), np.zeros(100, np.float32), np.zeros(100, np.float32)
    context.device.queue_execute(command_buffer, [y, z], wait=middle, signal=end)
    context.device.queue_execute(command_buffer, [x, y], wait=start, signal=middle)
    assert not y.any()
    start.signal()
    end.wait(TIMEOUT)
    assert np.array_equal(z, 4 * ramp(100))


def test_alloca_execute_dealloca(context: Context) -> None:
    device = context.device
    allocated, computed, freed = Fence.create(), Fence.create(), Fence.create()
    buffer = device.queue_alloca(64, signal=allocated)
    device.queue_fill(buffer, 0, 64, b"\x07", wait=allocated, signal=computed)
    computed.wait(TIMEOUT)
    assert bytes(buffer.map("r")) == b"\x07" * 64
    device.queue_dealloca(buffer, wait=computed, signal=freed)
    freed.wait(TIMEOUT)
    with pytest.raises(HalError, match="IREE-HAL-019"):
        buffer.map("r")


def test_queue_copy_and_fill(context: Context) -> None:
    device = context.device
    source, target = device.allocator.allocate(10), device.allocator.allocate(10)
    filled, zeroed, copied = Fence.create(), Fence.create(), Fence.create()
    device.queue_fill(source, 0, 10, b"abcd", signal=filled)
    device.queue_fill(target, 0, 10, b"\0", signal=zeroed)
    device.queue_copy(source, 1, target, 3, 6, wait=[filled, zeroed], signal=copied)
    copied.wait(TIMEOUT)
    assert bytes(target.map("r")) == b"\0\0\0bcdabc\0"


def test_queue_checks_arguments_at_submission(context: Context) -> None:
    device = context.device
    buffer = device.allocator.allocate(10)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        device.queue_fill(buffer, 5, 6, b"\0")
    with pytest.raises(HalError, match="IREE-HAL-008"):
        device.queue_fill(buffer, 0, 3, b"abc")
    with pytest.raises(HalError, match="IREE-HAL-009"):
        device.queue_copy(buffer, 0, buffer, 2, 4)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        device.queue_copy(buffer, 8, buffer, 0, 4)
    recorder = Recorder(2, 1)
    with pytest.raises(HalError, match="IREE-HAL-008"):
        device.queue_execute(context.command_buffer(recorder.finish()), [])
