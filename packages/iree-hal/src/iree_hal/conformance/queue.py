"""Queue operations: order by fences and by nothing else, errors through fences, checks at submission."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.conformance.backend import (
    TIMEOUT,
    Context,
    Recorder,
    contents,
    count_recording,
    ramp,
    scale_recording,
    words,
)
from iree_hal.errors import HalError
from iree_hal.fence import Fence


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


def test_execute_waits_and_signals(context: Context) -> None:
    command_buffer = context.command_buffer(scale_recording(100, 2.0))
    start, middle, end = Fence.create(), Fence.create(), Fence.create()
    x, y, z = ramp(100), np.zeros(100, np.float32), np.zeros(100, np.float32)
    context.device.queue_execute(command_buffer, [y, z], wait=middle, signal=end)
    context.device.queue_execute(command_buffer, [x, y], wait=start, signal=middle)
    assert not y.any()
    start.signal()
    end.wait(TIMEOUT)
    assert np.array_equal(z, 4 * ramp(100))


def test_a_chain_on_device_memory(context: Context) -> None:
    """Thirty dependent executions, submitted last first."""
    n, steps = context.workgroups(500), 30
    recorder = Recorder(3, 0)
    recorder.call("reverse", (n, 1, 1), [recorder.ref(1, 4 * n), recorder.ref(2, 4 * n)], [n])
    command_buffer = context.command_buffer(recorder.finish())
    pair = [context.buffer(words(n)), context.buffer(np.zeros(n, np.uint32))]
    timeline = context.device.create_semaphore()
    for step in reversed(range(steps)):
        bindings = [pair[step % 2], pair[1 - step % 2]]
        wait, signal = (timeline, step + 1), (timeline, step + 2)
        context.device.queue_execute(command_buffer, bindings, wait=wait, signal=signal)
    timeline.signal(1)
    timeline.wait(steps + 1, TIMEOUT)
    assert np.array_equal(contents(pair[0], np.uint32), words(n) + np.uint32(steps))


def test_kinds_of_operations_order_each_other(context: Context) -> None:
    device = context.device
    a, b = context.buffer(np.zeros(10, np.uint32)), context.buffer(np.zeros(10, np.uint32))
    command_buffer = context.command_buffer(count_recording(10))
    timeline = device.create_semaphore()
    seen: list[int] = []
    at = iter(range(1, 100))

    def order() -> dict[str, tuple[object, int]]:
        value = next(at)
        return {"wait": (timeline, value), "signal": (timeline, value + 1)}

    device.queue_fill(a, 0, 40, b"\x05\0\0\0", **order())  # type: ignore[arg-type]
    device.queue_execute(command_buffer, [a], **order())  # type: ignore[arg-type]
    device.queue_copy(a, 0, b, 0, 40, **order())  # type: ignore[arg-type]
    device.queue_fill(a, 0, 40, b"\0", **order())  # type: ignore[arg-type]
    device.queue_execute(command_buffer, [b], **order())  # type: ignore[arg-type]
    device.queue_host_call(lambda: seen.extend(contents(b, np.uint32).tolist()), **order())  # type: ignore[arg-type]
    device.queue_execute(command_buffer, [b], **order())  # type: ignore[arg-type]
    last = next(at)
    assert not seen
    timeline.signal(1)
    timeline.wait(last, TIMEOUT)
    assert seen == [7] * 10
    assert (contents(b, np.uint32) == 8).all()
    assert not contents(a).any()


def test_one_fence_releases_many_operations(context: Context) -> None:
    start = Fence.create()
    command_buffer = context.command_buffer(count_recording(5))
    outs = [context.buffer(np.zeros(5, np.uint32)) for _ in range(20)]
    done = [Fence.create() for _ in outs]
    for out, fence in zip(outs, done, strict=True):
        context.device.queue_execute(command_buffer, [out], wait=start, signal=fence)
    assert not any(fence.query() for fence in done)
    start.signal()
    Fence.join(done).wait(TIMEOUT)
    assert all((contents(out, np.uint32) == 1).all() for out in outs)


def test_an_operation_waits_for_all_of_its_fences(context: Context) -> None:
    waits = [Fence.create() for _ in range(5)]
    done = Fence.create()
    out = context.buffer(np.zeros(3, np.uint32))
    context.device.queue_execute(context.command_buffer(count_recording(3)), [out], wait=waits, signal=done)
    for fence in waits:
        assert not contents(out).any()
        assert not done.query()
        fence.signal()
    done.wait(TIMEOUT)
    assert (contents(out, np.uint32) == 1).all()


def test_an_operation_may_signal_several_points(context: Context) -> None:
    first, second = context.device.create_semaphore(), context.device.create_semaphore(4)
    context.device.queue_host_call(lambda: None, signal=[(first, 3), (second, 9)])
    first.wait(3, TIMEOUT)
    second.wait(9, TIMEOUT)
    assert (first.query(), second.query()) == (3, 9)


def test_failed_waits_keep_operations_from_running(context: Context) -> None:
    start, done = Fence.create(), Fence.create()
    out = context.buffer(np.zeros(4, np.uint32))
    context.device.queue_execute(context.command_buffer(count_recording(4)), [out], wait=start, signal=done)
    start.fail(ValueError("on purpose"))
    with pytest.raises(HalError, match="on purpose"):
        done.wait(TIMEOUT)
    assert not contents(out).any()


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
    command_buffer = context.command_buffer(Recorder(2, 1).finish())
    for bindings, params in (([], []), ([buffer], []), ([], [1]), ([buffer], ["one"])):
        with pytest.raises(HalError, match="IREE-HAL-008"):
            device.queue_execute(command_buffer, bindings, params)  # type: ignore[arg-type]
