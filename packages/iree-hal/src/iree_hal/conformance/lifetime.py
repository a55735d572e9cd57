"""Lifetimes: what is in use stays loaded; loading and dropping again and again leaves nothing behind."""

from __future__ import annotations

import gc

import numpy as np

from iree_hal.conformance.backend import (
    TIMEOUT,
    Context,
    add_recording,
    contents,
    count_recording,
    in_threads,
    ramp,
    scale_recording,
)
from iree_hal.fence import Fence


def test_command_buffer_keeps_its_executable_loaded(context: Context) -> None:
    executable = context.device.load_executable(context.backend.executable())
    command_buffer = context.device.create_command_buffer(count_recording(4), [executable])
    del executable
    gc.collect()
    out = np.zeros(4, np.uint32)
    context.device.execute(command_buffer, [out])
    assert (out == 1).all()


def test_submitted_work_keeps_what_it_needs(context: Context) -> None:
    """Executable, command buffer and bindings lose their names while the work waits."""
    start, done = Fence.create(), Fence.create()
    out = context.buffer(np.zeros(50, np.float32))

    def submit() -> None:
        executable = context.device.load_executable(context.backend.executable())
        command_buffer = context.device.create_command_buffer(scale_recording(50, 3.0), [executable])
        bindings = [context.buffer(ramp(50)), out]
        context.device.queue_execute(command_buffer, bindings, wait=start, signal=done)

    submit()
    gc.collect()
    others = [context.buffer(np.full(50, 9, np.float32)) for _ in range(10)]
    start.signal()
    done.wait(TIMEOUT)
    assert np.array_equal(contents(out, np.float32), 3 * ramp(50))
    assert len(others) == 10


def test_borrowed_arrays_outlive_their_names(context: Context) -> None:
    start, done = Fence.create(), Fence.create()
    out = np.zeros(50, np.float32)
    command_buffer = context.command_buffer(add_recording(50))
    context.device.queue_execute(command_buffer, [1 * ramp(50), 2 * ramp(50), out], wait=start, signal=done)
    gc.collect()
    others = [np.full(50, 9, np.float32) for _ in range(50)]
    start.signal()
    done.wait(TIMEOUT)
    assert np.array_equal(out, 3 * ramp(50))
    assert len(others) == 50


def test_unloading_while_others_run(context: Context) -> None:
    spec = context.backend.executable()
    held = context.command_buffer(count_recording(context.workgroups(200)))

    def run() -> None:
        out = context.buffer(np.zeros(context.workgroups(200), np.uint32))
        for _ in range(50):
            context.device.execute(held, [out])
        assert (contents(out, np.uint32) == 50).all()

    def churn() -> None:
        for i in range(15):
            executable = context.device.load_executable(spec)
            command_buffer = context.device.create_command_buffer(count_recording(3), [executable])
            out = np.zeros(3, np.uint32)
            context.device.execute(command_buffer, [out])
            assert (out == 1).all()
            del executable, command_buffer
            if i % 4 == 0:
                gc.collect()

    in_threads(run, churn, churn)


def test_freeing_a_buffer_behind_its_last_use(context: Context) -> None:
    command_buffer = context.command_buffer(count_recording(100))
    for _ in range(20):
        out = context.buffer(np.zeros(100, np.uint32))
        copied = context.device.allocator.allocate(400)
        ran, read, freed = Fence.create(), Fence.create(), Fence.create()
        context.device.queue_execute(command_buffer, [out], signal=ran)
        context.device.queue_copy(out, 0, copied, 0, 400, wait=ran, signal=read)
        context.device.queue_dealloca(out, wait=read, signal=freed)
        freed.wait(TIMEOUT)
        assert (contents(copied, np.uint32) == 1).all()


def test_a_device_goes_while_its_work_is_pending(context: Context) -> None:
    done = Fence.create()
    out = np.zeros(10, np.uint32)

    def submit() -> None:
        other = context.another()
        other.device.queue_execute(other.command_buffer(count_recording(10)), [out], signal=done)

    submit()
    gc.collect()
    done.wait(TIMEOUT)
    assert (out == 1).all()


def test_buffers_outlive_the_name_of_their_device(context: Context) -> None:
    buffer = context.another().buffer(ramp(100))
    gc.collect()
    assert np.array_equal(contents(buffer, np.float32), ramp(100))


def test_devices_come_and_go(context: Context) -> None:
    for _ in range(5):
        other = context.another()
        out = other.buffer(np.zeros(10, np.uint32))
        other.run(count_recording(10), [out])
        assert (contents(out, np.uint32) == 1).all()
        del other, out
        gc.collect()
