"""Profiles: what the device's clock says of each command, and what it does not disturb."""

from __future__ import annotations

import numpy as np

from iree_hal.conformance.backend import TIMEOUT, Context, Recorder, contents, count_recording, words
from iree_hal.fence import Fence


def test_rows_name_every_dispatch(context: Context) -> None:
    recorder = Recorder(3, 0)
    recorder.call("count", (5, 1, 1), [recorder.ref(1, 20)])
    recorder.barrier()
    recorder.fill(recorder.ref(2, 20), b"\1")
    recorder.call("store_ids", (2, 3, 4), [recorder.ref(1, 288)], [2, 3])
    command_buffer = context.command_buffer(recorder.finish())
    out, filled = context.buffer(np.zeros(72, np.uint32)), context.buffer(np.zeros(20, np.uint8))
    with context.device.profiling() as profile:
        for _ in range(2):
            context.device.execute(command_buffer, [out, filled])
    rows = [row for row in profile.rows if row.executable]
    assert [(r.execution, r.command_index, r.export, r.workgroups) for r in rows] == [
        (execution, *row)
        for execution in range(2)
        for row in ((0, "count", (5, 1, 1)), (3, "store_ids", (2, 3, 4)))
    ]
    assert all(row.executable == context.executable.name for row in rows)
    assert [(r.constants, r.lengths) for r in rows] == [((), (20,)), ((2, 3), (288,))] * 2
    assert [(r.export, r.lengths) for r in profile.rows if r.command_index == 2] == [("fill", (20,))] * 2
    assert all(row.nanoseconds >= 0 for row in profile.rows)
    assert len(profile.totals) == 2


def test_totals_leave_the_schedule_alone(context: Context) -> None:
    n = context.workgroups(1000)
    recorder = Recorder(3, 0)
    a, b = recorder.ref(1, 4 * n), recorder.ref(2, 4 * n)
    for step in range(6):
        recorder.call("reverse", (n, 1, 1), [(a, b)[step % 2], (b, a)[step % 2]], [n])
        recorder.barrier()
    command_buffer = context.command_buffer(recorder.finish())
    pair = [context.buffer(words(n)), context.buffer(np.zeros(n, np.uint32))]
    with context.device.profiling(per_dispatch=False) as profile:
        for _ in range(3):
            context.device.execute(command_buffer, pair)
    assert not profile.rows
    assert len(profile.totals) == 3
    assert all(total > 0 for total in profile.totals)
    assert np.array_equal(contents(pair[0], np.uint32), words(n) + np.uint32(18))


def test_only_what_runs_inside_is_timed(context: Context) -> None:
    command_buffer = context.command_buffer(count_recording(4))
    out = context.buffer(np.zeros(4, np.uint32))
    context.device.execute(command_buffer, [out])
    with context.device.profiling() as profile:
        context.device.execute(command_buffer, [out])
    context.device.execute(command_buffer, [out])
    assert len(profile.totals) == 1
    assert (contents(out, np.uint32) == 3).all()


def test_queued_work_is_timed(context: Context) -> None:
    command_buffer = context.command_buffer(count_recording(4))
    out = context.buffer(np.zeros(4, np.uint32))
    timeline = context.device.create_semaphore()
    with context.device.profiling() as profile:
        for i in range(5):
            wait, signal = (timeline, i), (timeline, i + 1)
            context.device.queue_execute(command_buffer, [out], wait=wait, signal=signal)
        timeline.wait(5, TIMEOUT)
    assert len(profile.totals) == 5
    assert (contents(out, np.uint32) == 5).all()


def test_profiles_follow_each_other(context: Context) -> None:
    command_buffer = context.command_buffer(count_recording(4))
    out = context.buffer(np.zeros(4, np.uint32))
    for per_dispatch in (True, False, True):
        with context.device.profiling(per_dispatch) as profile:
            done = Fence.create()
            context.device.queue_execute(command_buffer, [out], signal=done)
            done.wait(TIMEOUT)
        assert len(profile.totals) == 1
        assert bool(profile.rows) == per_dispatch
