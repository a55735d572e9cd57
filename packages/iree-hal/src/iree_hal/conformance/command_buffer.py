"""Command buffers: reuse with other bindings and parameters, host calls, numbers, determinism."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import (
    Context,
    Recorder,
    add_recording,
    contents,
    count_recording,
    float_bits,
    in_threads,
    ramp,
    scale_recording,
)


def test_reuse_with_the_same_bindings(context: Context) -> None:
    out = context.buffer(np.zeros(10, np.uint32))
    command_buffer = context.command_buffer(count_recording(10))
    for _ in range(200):
        context.device.execute(command_buffer, [out])
    assert (contents(out, np.uint32) == 200).all()


def test_reuse_with_other_bindings(context: Context) -> None:
    command_buffer = context.command_buffer(add_recording(100))
    for factor in range(8):
        left, right, out = factor * ramp(100), ramp(100), np.full(100, np.nan, np.float32)
        rows: list[Any] = [left, right, out]
        if factor % 2:
            rows[0] = context.buffer(left)
        if factor % 3 == 0:
            rows[1] = Buffer.wrap(right)
        if factor % 4 == 2:
            rows[2] = context.buffer(out)
        context.device.execute(command_buffer, rows)
        found = contents(rows[2], np.float32) if isinstance(rows[2], Buffer) else rows[2]
        assert np.array_equal(found, (factor + 1) * ramp(100))


def test_reuse_with_longer_bindings(context: Context) -> None:
    command_buffer = context.command_buffer(scale_recording(10, 2.0))
    for n in (10, 1000, 11, 10):
        out = np.zeros(n, np.float32)
        context.device.execute(command_buffer, [ramp(n), out])
        assert np.array_equal(out[:10], 2 * ramp(10))
        assert not out[10:].any()


def test_reuse_with_bindings_that_are_gone(context: Context) -> None:
    """Memory of an earlier call may come back at the same address with another size and contents."""
    command_buffer = context.command_buffer(add_recording(64))
    for i in range(100):
        rows = [context.buffer(np.full(64, v, np.float32)) for v in (i, 1, 0)]
        context.device.execute(command_buffer, rows)
        assert (contents(rows[2], np.float32) == i + 1).all()
        for row in rows[: i % 4]:
            context.device.allocator.release(row)


def test_bindings_may_change_places(context: Context) -> None:
    command_buffer = context.command_buffer(scale_recording(50, 2.0))
    a, b = context.buffer(ramp(50)), context.buffer(np.zeros(50, np.float32))
    for _ in range(3):
        context.device.execute(command_buffer, [a, b])
        context.device.execute(command_buffer, [b, a])
    assert np.array_equal(contents(a, np.float32), 64 * ramp(50))


def test_command_buffers_share_executables_and_buffers(context: Context) -> None:
    double, triple = (context.command_buffer(scale_recording(20, f)) for f in (2.0, 3.0))
    a, b = context.buffer(ramp(20)), context.buffer(np.zeros(20, np.float32))
    context.device.execute(double, [a, b])
    context.device.execute(triple, [b, a])
    context.device.execute(double, [a, b])
    assert np.array_equal(contents(b, np.float32), 12 * ramp(20))


def test_one_recording_makes_many_command_buffers(context: Context) -> None:
    recording = add_recording(10)
    for command_buffer in [context.command_buffer(recording) for _ in range(20)]:
        out = np.full(10, np.nan, np.float32)
        context.device.execute(command_buffer, [ramp(10), ramp(10), out])
        assert np.array_equal(out, 2 * ramp(10))


def test_reuse_from_many_threads(context: Context) -> None:
    command_buffer = context.command_buffer(add_recording(200))

    def work(factor: int) -> None:
        for _ in range(20):
            out = context.buffer(np.zeros(200, np.float32))
            context.device.execute(command_buffer, [factor * ramp(200), ramp(200), out])
            assert np.array_equal(contents(out, np.float32), (factor + 1) * ramp(200))

    in_threads(*(lambda n=n: work(n) for n in range(4)))


def test_many_commands_in_one_buffer(context: Context) -> None:
    recorder = Recorder(2, 0)
    for _ in range(500):
        recorder.call("count", (2, 1, 1), [recorder.ref(1, 8)])
        recorder.barrier()
    out = np.zeros(2, np.uint32)
    context.run(recorder.finish(), [out])
    assert out.tolist() == [500, 500]


def test_host_calls_run_between_waves(context: Context) -> None:
    recorder = Recorder(2, 1)
    ref = recorder.ref(1, 4)
    out = context.buffer(np.zeros(1, np.uint32))
    seen: list[tuple[int, ...]] = []
    recorder.call("count", (1, 1, 1), [ref])
    recorder.host_call(0, [0, recorder.const(-3)])
    recorder.call("count", (1, 1, 1), [ref])
    recorder.host_call(1)
    command_buffer = context.command_buffer(
        recorder.finish(),
        lambda a, b: seen.append((int(contents(out, np.uint32)[0]), a, b)),
        lambda: seen.append((int(contents(out, np.uint32)[0]),)),
    )
    context.device.execute(command_buffer, [out], [77])
    assert seen == [(1, 77, -3), (2,)]


def test_kernels_see_what_host_calls_wrote(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", (4, 1, 1), [recorder.ref(1, 16)])
    recorder.host_call(0)
    recorder.call("count", (4, 1, 1), [recorder.ref(1, 16)])
    out = context.buffer(np.zeros(4, np.uint32))

    def set_to_100() -> None:
        out.map("w")[:] = np.full(4, 100, np.uint32).tobytes()

    context.device.execute(context.command_buffer(recorder.finish(), set_to_100), [out])
    assert (contents(out, np.uint32) == 101).all()


def test_errors_of_host_calls_come_through(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.host_call(0)

    def fails() -> None:
        raise ZeroDivisionError("on purpose")

    command_buffer = context.command_buffer(recorder.finish(), fails)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            context.device.execute(command_buffer, [])


def test_denormals_are_flushed(context: Context) -> None:
    n = context.workgroups(3000)
    tiny = np.full(n, 1e-40, np.float32)
    out = np.full(n, np.nan, np.float32)
    context.run(scale_recording(n, 1.0), [tiny, out])
    assert (out == 0).all()


def test_callers_denormals_survive(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.call("spin", (2, 1, 1), constants=[1])
    context.run(recorder.finish())
    assert np.float32(1e-40) * np.float32(0.5) != 0


@pytest.mark.parametrize("factor", [1.0, -0.0, float("inf"), float("nan"), 1.5])
def test_special_numbers_pass_through(context: Context, factor: float) -> None:
    given = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 3e38, 1e-30], np.float32)
    recorder = Recorder(3, 0)
    n = given.size
    refs = [recorder.ref(1, 4 * n), recorder.ref(2, 4 * n)]
    recorder.call("scale", (n, 1, 1), refs, [float_bits(factor)])
    out = np.zeros(n, np.float32)
    context.run(recorder.finish(), [given, out])
    with np.errstate(all="ignore"):
        want = given * np.float32(factor)
    assert np.array_equal(out, want, equal_nan=True)
    finite = ~np.isnan(want)
    assert np.array_equal(np.signbit(out[finite]), np.signbit(want[finite]))


def test_results_do_not_depend_on_the_run(context: Context) -> None:
    n = min(10_000, 64 * context.workgroups(1000))
    command_buffer = context.command_buffer(add_recording(n))
    results = []
    for _ in range(3):
        out = np.full(n, np.nan, np.float32)
        context.device.execute(command_buffer, [ramp(n) / 7, ramp(n) / 3, out])
        results.append(out.tobytes())
    assert len(set(results)) == 1
