"""Timed runs: what a command's time holds, and what it leaves out."""

from __future__ import annotations

import time

import numpy as np
import pytest

from iree_hal.conformance.backend import Backend, Context, Recorder
from iree_hal.errors import HalError
from iree_hal.executor import structs
from iree_hal.profile import Profile

PAUSE = 0.05


def _context(threads: int, *, verify: bool = False) -> Context:
    driver = "local-sync" if threads == 1 else "local-task"
    options = {} if threads == 1 else {"threads": threads}
    return Context(Backend(driver, {**options, "verify": verify}))


def _recording(tiles: int, *, host_call: bool = False):  # type: ignore[no-untyped-def]
    """Two counts that could run together, a host call where wanted, and one more count."""
    recorder = Recorder(3, 0)
    recorder.call("count", (tiles, 1, 1), [recorder.ref(1, 4 * tiles)])
    recorder.call("count", (tiles, 1, 1), [recorder.ref(2, 4 * tiles)])
    recorder.barrier()
    if host_call:
        recorder.host_call(0, [])
    recorder.call("count", (tiles, 1, 1), [recorder.ref(1, 4 * tiles)])
    return recorder.finish()


def _profile(context: Context, command_buffer, tiles: int, runs: int = 1) -> tuple[Profile, list]:  # type: ignore
    arrays = [np.zeros(tiles, np.uint32) for _ in range(2)]
    with context.device.profiling() as profile:
        for _ in range(runs):
            context.device.execute(command_buffer, arrays)
    return profile, arrays


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("threads", [1, 4])
def test_times_of_commands_make_up_the_whole(threads: int, verify: bool) -> None:
    context = _context(threads, verify=verify)
    profile, arrays = _profile(context, context.command_buffer(_recording(500)), 500, runs=3)
    assert [row.command_index for row in profile.rows] == [0, 1, 3] * 3
    for number, total in enumerate(profile.totals):
        assert total == sum(row.nanoseconds for row in profile.rows if row.execution == number)
    assert (arrays[0] == 6).all()
    assert (arrays[1] == 3).all()


@pytest.mark.parametrize("verify", [False, True])
def test_what_the_host_does_is_no_commands_time(verify: bool) -> None:
    context = _context(1, verify=verify)
    seen = []

    def wait() -> None:
        time.sleep(PAUSE)
        seen.append(True)

    command_buffer = context.device.create_command_buffer(
        _recording(10, host_call=True), [context.executable], [wait]
    )
    profile, _ = _profile(context, command_buffer, 10)
    assert seen == [True]
    assert len(profile.rows) == 3
    assert profile.totals[0] < PAUSE * 1e9


def test_what_has_no_workgroups_has_no_row() -> None:
    context = _context(1)
    profile, _ = _profile(context, context.command_buffer(_recording(0)), 0)
    assert profile.rows == []
    assert len(profile.totals) == 1


def test_a_mistake_is_the_same_error_as_without() -> None:
    context = _context(1)
    command_buffer = context.command_buffer(_recording(10))
    with context.device.profiling() as profile:
        for bindings in ([], [np.zeros(10, np.uint32), np.zeros(1, np.uint32)]):
            with pytest.raises(HalError):
                context.device.execute(command_buffer, bindings)
        out = [np.zeros(10, np.uint32), np.zeros(10, np.uint32)]
        context.device.execute(command_buffer, out)
    assert len(profile.totals) == 1


def test_a_plain_frame_takes_no_times() -> None:
    context = _context(1)
    frame = context.command_buffer(_recording(1)).new_frame()  # type: ignore[attr-defined]
    assert not frame.state.flags & structs.FLAG_TIME
    assert frame.times is None


@pytest.mark.parametrize("host_call", [False, True])
def test_processor_time_leaves_out_what_others_do(host_call: bool) -> None:
    context = _context(1)

    def wait() -> None:
        time.sleep(PAUSE)

    command_buffer = context.device.create_command_buffer(
        _recording(300, host_call=host_call), [context.executable], [wait]
    )
    arrays = [np.zeros(300, np.uint32) for _ in range(2)]
    for _ in range(2):
        before = time.thread_time_ns()
        with context.device.profiling(cpu_time=True) as profile:
            context.device.execute(command_buffer, arrays)
        spent = time.thread_time_ns() - before
        assert len(profile.rows) == 3
        assert 0 < profile.totals[0] == sum(row.nanoseconds for row in profile.rows) <= spent
    with context.device.profiling() as profile:
        context.device.execute(command_buffer, arrays)
    assert len(profile.rows) == 3
    assert (arrays[0] == 6).all()
    with context.device.profiling(per_dispatch=False, cpu_time=True) as profile:
        context.device.execute(command_buffer, arrays)
    assert profile.totals[0] > 0


def test_processor_time_is_that_of_one_thread() -> None:
    for context in (_context(2), _context(1, verify=True)):
        with pytest.raises(HalError), context.device.profiling(cpu_time=True):
            pass
