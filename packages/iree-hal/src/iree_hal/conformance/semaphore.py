"""Semaphores: growth, waiting in threads and by the device, failure."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from iree_hal.conformance.backend import TIMEOUT, Context, contents, count_recording, in_threads
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


def test_two_threads_take_turns(context: Context) -> None:
    ping, pong = context.device.create_semaphore(), context.device.create_semaphore()
    order: list[str] = []

    def first() -> None:
        for i in range(1, 201):
            order.append("ping")
            ping.signal(i)
            pong.wait(i, TIMEOUT)

    def second() -> None:
        for i in range(1, 201):
            ping.wait(i, TIMEOUT)
            order.append("pong")
            pong.signal(i)

    in_threads(first, second)
    assert order == ["ping", "pong"] * 200


def test_threads_wait_for_work_of_the_device(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    out = context.buffer(np.zeros(8, np.uint32))
    command_buffer = context.command_buffer(count_recording(8))
    seen: list[int] = []

    def await_value(value: int) -> None:
        semaphore.wait(value, TIMEOUT)
        seen.append(int(contents(out, np.uint32)[0]) - value)

    def submit() -> None:
        for i in range(20):
            context.device.queue_execute(
                command_buffer, [out], wait=(semaphore, i), signal=(semaphore, i + 1)
            )

    in_threads(submit, *(lambda v=v: await_value(v) for v in (1, 5, 10, 20)))
    assert len(seen) == 4
    assert min(seen) >= 0


def test_device_waits_for_a_thread(context: Context) -> None:
    semaphore, done = context.device.create_semaphore(), context.device.create_semaphore()
    out = context.buffer(np.zeros(8, np.uint32))
    command_buffer = context.command_buffer(count_recording(8))
    context.device.queue_execute(command_buffer, [out], wait=(semaphore, 1), signal=(done, 1))
    thread = threading.Thread(target=semaphore.signal, args=(1,))
    assert not contents(out).any()
    thread.start()
    done.wait(1, TIMEOUT)
    thread.join()
    assert (contents(out, np.uint32) == 1).all()


def test_failing_wakes_threads_that_wait(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    started = threading.Barrier(4)
    texts: list[str] = []

    def wait() -> None:
        started.wait()
        with pytest.raises(HalError) as caught:
            semaphore.wait(1, TIMEOUT)
        texts.append(str(caught.value))

    def fail() -> None:
        started.wait()
        semaphore.fail(HalError(OUT_OF_MEMORY, "on purpose"))

    in_threads(wait, wait, wait, fail)
    assert len(texts) == 3
    assert all("on purpose" in text for text in texts)


def test_large_values_are_values(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    semaphore.signal(1 << 40)
    semaphore.wait(1 << 40, 0)
    context.device.queue_host_call(lambda: None, wait=(semaphore, 1 << 39), signal=(semaphore, (1 << 62) + 1))
    semaphore.wait((1 << 62) + 1, TIMEOUT)
    assert semaphore.query() == (1 << 62) + 1


def test_only_one_of_two_signals_of_a_value_succeeds(context: Context) -> None:
    semaphore = context.device.create_semaphore()
    refused: list[int] = []

    def signal() -> None:
        for value in range(1, 200):
            try:
                semaphore.signal(value)
            except HalError as error:
                assert error.code == "IREE-HAL-023"
                refused.append(value)

    in_threads(signal, signal)
    assert semaphore.query() == 199
    assert len(refused) >= 199
