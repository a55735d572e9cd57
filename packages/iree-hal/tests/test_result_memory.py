"""Memory of results: written again when nothing refers to it, and never before."""

from __future__ import annotations

import gc
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

from iree_hal import result_memory
from iree_hal.result_memory import SMALLEST, ResultMemory

F32 = np.dtype(np.float32)
SIZE = SMALLEST // 4
counted = pytest.mark.skipif(not result_memory.ALONE, reason="reference counts say nothing here")


def address(array: Any) -> int:
    return int(array.ctypes.data)


@counted
def test_a_dropped_result_is_written_again() -> None:
    memory = ResultMemory()
    first = memory.empty((SIZE,), F32)
    place = address(first)
    assert place % 64 == 0
    del first
    again = memory.empty((2, SIZE // 2), F32)
    assert address(again) == place and again.shape == (2, SIZE // 2)


VIEWS = {
    "slice": lambda a: a[3:5],
    "transposed": lambda a: a.reshape(2, -1).T,
    "other type": lambda a: a.view(np.uint8)[1:],
    "memoryview": lambda a: memoryview(a),
    "memoryview of a slice": lambda a: memoryview(a[1:2]),
    "capsule": lambda a: a.__dlpack__(),
    "from_dlpack": lambda a: np.from_dlpack(a),
    "asarray": lambda a: np.asarray(a),
    "frombuffer": lambda a: np.frombuffer(a, np.uint16),
    "subclass": lambda a: a.view(np.matrix),
    "iterator": lambda a: a.flat,
    "broadcast": lambda a: np.broadcast_to(a[:1], (4, 4)),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_keeps_the_memory(view: str) -> None:
    memory = ResultMemory()
    result = memory.empty((SIZE,), F32)
    place = address(result)
    kept = VIEWS[view](result)
    del result
    gc.collect()
    others = [memory.empty((SIZE,), F32) for _ in range(3)]
    assert place not in map(address, others)
    del kept


def test_results_in_use_are_apart() -> None:
    memory = ResultMemory()
    held = [memory.empty((SIZE,), F32) for _ in range(20)]
    for number, array in enumerate(held):
        array[:] = number
    del held[::3]
    held += [memory.empty((SIZE,), F32) for _ in range(10)]
    places = [address(a) for a in held]
    assert len(set(places)) == len(places)
    assert [a[7] for a in held[:13]] == [n for n in range(20) if n % 3]


@counted
def test_all_that_a_call_dropped_is_found_again() -> None:
    memory = ResultMemory()
    places = {address(a) for a in [memory.empty((SIZE,), F32) for _ in range(24)]}
    assert {address(a) for a in [memory.empty((SIZE,), F32) for _ in range(24)]} == places


def test_what_is_kept_is_bounded() -> None:
    memory = ResultMemory(kept_bytes=4 * SMALLEST)
    held = [memory.empty((SIZE + 64 * n,), F32) for n in range(50)]
    assert memory._sum <= memory.kept_bytes
    assert sum(size * len(blocks) for size, blocks in memory._blocks.items()) == memory._sum
    assert len({address(a) for a in held}) == 50
    assert memory.empty((5 * SIZE,), F32).base is None


def test_small_results_and_bad_shapes_are_numpys() -> None:
    memory = ResultMemory()
    assert memory.empty((4,), F32).base is None
    assert memory.empty((0, SIZE), F32).shape == (0, SIZE)
    with pytest.raises(ValueError):
        memory.empty((-1, SIZE), F32)
    with pytest.raises(ValueError):
        memory.empty((-SIZE, -2), F32)


@counted
def test_who_asks_in_between_gets_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer or a handler of a signal that runs between the count and the use of a block."""
    memory = ResultMemory()
    place = address(memory.empty((SIZE,), F32))
    asked: list[Any] = []
    count = result_memory._Block.references

    def references(block: Any) -> int:
        found = count(block)
        if not asked:
            asked.append(None)
            asked[0] = memory.empty((SIZE,), F32)
        return found

    monkeypatch.setattr(result_memory._Block, "references", references)
    assert address(memory.empty((SIZE,), F32)) == place
    assert address(asked[0]) != place


def test_threads_never_share() -> None:
    memory = ResultMemory()
    wrong: list[float] = []

    def work(number: int) -> None:
        for _ in range(300):
            array = memory.empty((SIZE,), F32)
            array[:] = number
            wrong.extend(array[array != number][:1])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    """The fork comes while another thread looks for memory."""
    memory, held, done = result_memory._results, threading.Event(), threading.Event()

    def work() -> None:
        with memory._lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    held.wait(60)
    child = os.fork()
    if not child:
        signal.alarm(30)
        result_memory.empty((SIZE,), F32)
        os._exit(0)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
