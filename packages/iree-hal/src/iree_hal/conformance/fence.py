"""Fences: several timepoints as one; joins, failures that reach all who wait, timeouts."""

from __future__ import annotations

from typing import Any

import pytest

from iree_hal.conformance.backend import TIMEOUT, Context, in_threads
from iree_hal.errors import OUT_OF_MEMORY, HalError
from iree_hal.fence import Fence, as_fence


def test_empty_fence_is_reached(context: Context) -> None:
    fence = Fence()
    assert fence.query()
    fence.wait(0)
    fence.signal()


def test_fence_waits_for_all_points(context: Context) -> None:
    first, second = context.device.create_semaphore(), context.device.create_semaphore()
    fence = Fence([(first, 1), (second, 2)])
    first.signal(1)
    assert not fence.query()
    with pytest.raises(HalError, match="IREE-HAL-016"):
        fence.wait(0.001)
    second.signal(9)
    assert fence.query()
    fence.wait(0)


def test_fence_keeps_the_largest_point(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    fence = Fence([(semaphore, 1), (semaphore, 3), (semaphore, 2)])
    assert fence.points == ((semaphore, 3),)


def test_joined_fence_is_reached_last(context: Context) -> None:
    fences = [Fence.create() for _ in range(3)]
    joined = Fence.join(fences)
    for fence in fences:
        assert not joined.query()
        fence.signal()
    assert joined.query()


def test_signal_reaches_every_point_and_may_repeat(context: Context) -> None:
    semaphore = context.device.create_semaphore(5)
    fence = Fence([(semaphore, 3), (context.device.create_semaphore(), 2)])
    fence.signal()
    fence.signal()
    assert fence.query()
    assert semaphore.query() == 5


def test_failed_fence_carries_its_error(context: Context) -> None:
    fence = Fence.create()
    joined = Fence.join([Fence.create(), fence])
    fence.fail(HalError(OUT_OF_MEMORY, "on purpose"))
    with pytest.raises(HalError, match="on purpose"):
        fence.wait()
    with pytest.raises(HalError, match="on purpose"):
        joined.query()


def test_fences_come_in_many_forms(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    fence = Fence([(semaphore, 2)])
    assert as_fence(None).points == ()
    assert as_fence(fence) is fence
    forms: list[Any] = [(semaphore, 2), [(semaphore, 2)], [fence], [fence, (semaphore, 1)]]
    for form in forms:
        assert as_fence(form).points == ((semaphore, 2),)


def test_all_who_wait_for_a_fence_get_its_failure(context: Context) -> None:
    """Threads, joined fences, and operations on the queue behind them."""
    fence, other = Fence.create(), Fence.create()
    joined = Fence.join([other, fence])
    behind = [Fence.create() for _ in range(3)]
    context.device.queue_host_call(lambda: None, wait=fence, signal=behind[0])
    context.device.queue_host_call(lambda: None, wait=joined, signal=behind[1])
    context.device.queue_host_call(lambda: None, wait=behind[0], signal=behind[2])
    waited: list[Fence] = []

    def wait(target: Fence) -> None:
        with pytest.raises(HalError, match=r"IREE-HAL-011.*on purpose"):
            target.wait(TIMEOUT)
        waited.append(target)

    def fail() -> None:
        other.signal()
        fence.fail(HalError(OUT_OF_MEMORY, "on purpose"))

    targets = [fence, joined, *behind]
    in_threads(*(lambda t=t: wait(t) for t in targets), fail)
    assert len(waited) == len(targets)


def test_each_waiter_gets_an_error_of_its_own(context: Context) -> None:
    fence = Fence.create()
    fence.fail(HalError(OUT_OF_MEMORY, "on purpose"))
    errors = []
    for _ in range(2):
        with pytest.raises(HalError) as caught:
            fence.wait()
        errors.append(caught.value)
    assert errors[0] is not errors[1]


def test_a_failure_after_the_point_is_reached_changes_nothing_there(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    early, late = Fence([(semaphore, 1)]), Fence([(semaphore, 2)])
    early.signal()
    late.fail(ValueError("on purpose"))
    early.wait(0)
    with pytest.raises(HalError, match="on purpose"):
        late.wait(0)


def test_a_failed_fence_cannot_be_signalled(context: Context) -> None:
    fence = Fence.create()
    fence.fail(ValueError("on purpose"))
    with pytest.raises(HalError, match="on purpose"):
        fence.signal()


@pytest.mark.parametrize("points", [1, 2, 5])
def test_fence_wait_times_out(context: Context, points: int) -> None:
    fence = Fence([(context.device.create_semaphore(), 1) for _ in range(points)])
    for timeout in (0, 0.001):
        with pytest.raises(HalError, match="IREE-HAL-016"):
            fence.wait(timeout)
    fence.signal()
    fence.wait(0)


def test_a_timeout_fails_nothing(context: Context) -> None:
    start, done = Fence.create(), Fence.create()
    context.device.queue_host_call(lambda: None, wait=start, signal=done)
    with pytest.raises(HalError, match="IREE-HAL-016"):
        done.wait(0.001)
    start.signal()
    done.wait(TIMEOUT)
