"""Queues beyond the conformance suite: the thread of a queue, fork, what errors do to it."""

from __future__ import annotations

import os
import threading

import pytest

from iree_hal.fence import Fence
from iree_hal.queue import InlineQueue, ThreadQueue


def test_inline_queue_runs_on_the_submitter() -> None:
    seen: list[int] = []
    InlineQueue().submit(lambda: seen.append(threading.get_ident()), Fence(), Fence())
    assert seen == [threading.get_ident()]


def test_inline_queue_does_not_nest() -> None:
    queue, order = InlineQueue(), []

    def outer() -> None:
        queue.submit(lambda: order.append("inner"), Fence(), Fence())
        order.append("outer")

    queue.submit(outer, Fence(), Fence())
    assert order == ["outer", "inner"]


def test_inline_queue_survives_an_interrupt() -> None:
    queue, fence = InlineQueue(), Fence.create()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.submit(interrupted, Fence(), fence)
    seen: list[int] = []
    queue.submit(lambda: seen.append(1), Fence(), Fence())
    assert seen == [1]


def test_thread_queue_runs_elsewhere_and_survives_errors() -> None:
    queue, seen = ThreadQueue("test"), []
    failed, done = Fence.create(), Fence.create()

    def fails() -> None:
        raise ValueError("on purpose")

    queue.submit(fails, Fence(), failed)
    queue.submit(lambda: seen.append(threading.get_ident()), Fence(), done)
    done.wait(30)
    assert seen[0] != threading.get_ident()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_thread_queue_starts_again_in_a_forked_child() -> None:
    queue, before = ThreadQueue("test"), Fence.create()
    queue.submit(lambda: None, Fence(), before)
    before.wait(30)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            done = Fence.create()
            queue.submit(lambda: None, Fence(), done)
            done.wait(30)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_thread_queue_takes_its_thread_along() -> None:
    queue, seen, done = ThreadQueue("short-lived"), [], Fence.create()
    for i in range(10):
        queue.submit(lambda i=i: seen.append(i), Fence(), Fence())  # type: ignore[misc]
    queue.submit(lambda: None, Fence(), done)
    done.wait(30)
    thread = queue._thread
    assert thread is not None
    del queue
    thread.join(30)
    assert not thread.is_alive()
    assert seen == list(range(10))
