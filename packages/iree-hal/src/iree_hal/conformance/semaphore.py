"""Semaphores: growth, waiting, failure."""

from __future__ import annotations

import threading

import pytest

from iree_hal.conformance.backend import Context
from iree_hal.errors import OUT_OF_MEMORY, HalError


def test_semaphore_starts_where_told(context: Context) -> None:
    assert context.device.create_semaphore(7).query() == 7


def test_semaphore_only_grows(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    semaphore.signal(3)
    for value in (3, 2, -1, 1 << 63):
        with pytest.raises(HalError, match="IREE-HAL-023"):
            semaphore.signal(value)
    assert semaphore.query() == 3


def test_semaphore_wait_times_out(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-016"):
        context.device.create_semaphore().wait(1, timeout=0.001)


def test_semaphore_wakes_waiters_of_reached_values(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    woken: list[int] = []

    def wait(value: int) -> None:
        semaphore.wait(value, timeout=30)
        woken.append(value)

    threads = [threading.Thread(target=wait, args=(value,)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    semaphore.signal(2)
    threads[0].join()
    threads[1].join()
    assert sorted(woken) == [1, 2]
    semaphore.signal(5)
    threads[2].join()
    assert sorted(woken) == [1, 2, 3]


def test_failed_semaphore_gives_its_error_to_everyone(context: Context) -> None:
    semaphore = context.device.create_semaphore(4)
    seen: list[BaseException | None] = []
    semaphore.on_reached(5, seen.append)
    failure = HalError(OUT_OF_MEMORY, "on purpose")
    semaphore.fail(failure)
    semaphore.fail(ValueError("too late"))
    assert seen == [failure]
    semaphore.wait(4)
    for call in (lambda: semaphore.wait(5), semaphore.query, lambda: semaphore.signal(6)):
        with pytest.raises(HalError, match=r"IREE-HAL-011.*on purpose"):
            call()


def test_foreign_failures_are_wrapped(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    semaphore.fail(ValueError("on purpose"))
    with pytest.raises(HalError, match=r"IREE-HAL-015.*on purpose"):
        semaphore.wait(1)


def test_callbacks_run_once(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    seen: list[str] = []
    semaphore.on_reached(0, lambda error: seen.append("now"))
    semaphore.on_reached(2, lambda error: seen.append("later"))
    semaphore.signal(1)
    assert seen == ["now"]
    semaphore.signal(2)
    semaphore.signal(3)
    assert seen == ["now", "later"]
