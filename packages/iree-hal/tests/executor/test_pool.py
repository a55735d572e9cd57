"""The pool: leases, workers, threads that share one frame."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.conformance.backend import Backend, Context, Recorder
from iree_hal.executor import structs
from iree_hal.executor.native import native
from iree_hal.executor.pool import default_threads, pool


def _workers(context: Context, tiles: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    recorder = Recorder(2, 0)
    recorder.call("worker_ids", (tiles, 1, 1), [recorder.ref(1, 4 * tiles)])
    command_buffer = context.command_buffer(recorder.finish())
    frame = command_buffer.new_frame()  # type: ignore[attr-defined]
    frame.state.threshold = 1
    command_buffer.frames.append(frame)  # type: ignore[attr-defined]
    out = np.full(tiles, 99, np.uint32)
    context.device.execute(command_buffer, [out])
    return out


def test_default_is_at_least_one_thread() -> None:
    assert default_threads() >= 1


def test_there_is_one_pool() -> None:
    assert pool() is pool()


def test_lease_is_exclusive() -> None:
    address = pool().address
    assert native().lease(address) == 1
    try:
        assert native().lease(address) == 0
    finally:
        native().release(address)


def test_who_finds_the_pool_leased_runs_alone() -> None:
    context = Context(Backend("local-task", {"threads": 3, "verify": False}))
    _workers(context, 10)
    address = pool().address
    assert native().lease(address) == 1
    try:
        assert (_workers(context, 5000) == 0).all()
    finally:
        native().release(address)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_worker_beyond_the_limit_takes_part(threads: int) -> None:
    pool().ensure(4)
    context = Context(Backend("local-task", {"threads": threads, "verify": False}))
    for _ in range(10):
        assert _workers(context, 3000).max() < threads


def test_small_work_stays_on_the_caller() -> None:
    context = Context(Backend("local-task", {"threads": 4, "verify": False}))
    recorder = Recorder(2, 0)
    recorder.call("worker_ids", (1, 1, 1), [recorder.ref(1, 4)])
    out = np.full(1, 99, np.uint32)
    context.run(recorder.finish(), [out])
    assert out[0] == 0


def test_workers_are_started_once() -> None:
    pool().ensure(2)
    before = pool().n_workers
    pool().ensure(1)
    assert pool().n_workers == before >= 2


@pytest.mark.parametrize("tiles", [2, 3, 64, 5001])
def test_threads_work_on_neighbouring_tiles(tiles: int) -> None:
    context = Context(Backend("local-task", {"threads": 2, "verify": False}))
    for _ in range(20):
        # Each has its half, begins at the front of it, and helps the other at the back.
        changes = np.flatnonzero(np.diff(_workers(context, tiles)))
        assert len(changes) <= 3


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("tiles", [9, 1000, 20_000])
def test_a_wave_stopped_half_way_goes_on(threads: int, leased: bool, tiles: int) -> None:
    context = Context(Backend("local-task", {"threads": threads, "verify": False}))
    pool().ensure(threads - 1)
    recorder = Recorder(2, 0)
    recorder.call("count", (tiles, 1, 1), [recorder.ref(1, 4 * tiles)])
    frame = context.command_buffer(recorder.finish()).new_frame()  # type: ignore[attr-defined]
    out = np.zeros(tiles, np.uint32)
    frame.pack(frame.view, frame.inputs_at, out.ctypes.data, out.nbytes)
    frame.state.threshold = frame.state.budget = 1
    for run in range(1, 6):
        turn, status = 0, structs.YIELD
        while status != structs.DONE:
            # Every other turn somebody else has the pool.
            taken = leased and turn % 2 == 1 and native().lease(pool().address)
            status = native().run(frame.pointer)
            if taken:
                native().release(pool().address)
            assert status in (structs.YIELD, structs.WAIT, structs.DONE)
            turn += 1
        assert (out == run).all()


def test_more_tiles_than_a_range_holds_stay_on_the_caller() -> None:
    context = Context(Backend("local-task", {"threads": 2, "verify": False}))
    assert (_workers(context, structs.RANGE_MASK + 1) == 0).all()
