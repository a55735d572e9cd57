"""Fences: several timepoints as one."""

from __future__ import annotations

from typing import Any

import pytest

from iree_hal.conformance.backend import Context
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
