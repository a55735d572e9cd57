"""Devices: asynchronous work, Ctrl-C, threads, profiles, loss, other devices' buffers."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handwritten import conformance_executable

import iree_hal
from iree_base.errors import IreeError
from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import Recorder, add_recording, count_recording, in_threads, ramp
from iree_hal.errors import HalError
from iree_hal.fence import Fence

TIMEOUT = 120.0


@pytest.fixture
def executable(device: Any) -> Any:
    return device.load_executable(conformance_executable())


def test_many_executions_are_in_flight_in_order(device: Any, executable: Any) -> None:
    counting = device.create_command_buffer(count_recording(100), [executable])
    counter = device.allocator.allocate(400)
    counter.array[:] = 0
    fences = [Fence.create() for _ in range(50)]
    done: Fence | tuple[()] = ()
    for fence in fences:
        device.queue_execute(counting, [counter], wait=done, signal=fence)
        done = fence
    fences[-1].wait(TIMEOUT)
    assert (counter.array.view(np.uint32) == 50).all()


def test_independent_executions_from_threads(device: Any, executable: Any) -> None:
    adding = device.create_command_buffer(add_recording(1000), [executable])

    def call() -> None:
        outs = [np.empty(1000, np.float32) for _ in range(10)]
        fences = [Fence.create() for _ in outs]
        for out, fence in zip(outs, fences, strict=True):
            device.queue_execute(adding, [ramp(1000), ramp(1000), out], signal=fence)
        for out, fence in zip(outs, fences, strict=True):
            fence.wait(TIMEOUT)
            assert np.array_equal(out, 2 * ramp(1000))

    in_threads(*[call] * 4)


def test_failures_reach_the_signal_fence(device: Any, executable: Any) -> None:
    recorder = Recorder(1, 0)
    recorder.call("check_index", (9, 1, 1), constants=[3])
    failing = device.create_command_buffer(recorder.finish(), [executable])
    adding = device.create_command_buffer(add_recording(10), [executable])
    first, second = Fence.create(), Fence.create()
    device.queue_execute(failing, [], signal=first)
    device.queue_execute(adding, [ramp(9), ramp(10), np.empty(10, np.float32)], signal=second)
    with pytest.raises(HalError, match=r"IREE-HAL-010.*check_index"):
        first.wait(TIMEOUT)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        second.wait(TIMEOUT)
    broken, after = Fence.create(), Fence.create()
    device.queue_execute(adding, [ramp(10), ramp(10), np.empty(10, np.float32)], wait=broken, signal=after)
    broken.fail(HalError(20, "on purpose"))
    with pytest.raises(HalError, match="on purpose"):
        after.wait(TIMEOUT)


def test_host_calls_see_results_and_change_inputs(device: Any, executable: Any) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", (8, 1, 1), [recorder.ref(1, 32)])
    recorder.host_call(0)
    recorder.call("count", (8, 1, 1), [recorder.ref(1, 32)])
    out = np.zeros(8, np.uint32)

    def change() -> None:
        assert (out == 1).all()
        out[:] = 10

    changing = device.create_command_buffer(recorder.finish(), [executable], [change])
    for _ in range(2):
        out[:] = 0
        device.execute(changing, [out])
        assert (out == 11).all()
    fence = Fence.create()
    out[:] = 0
    device.queue_execute(changing, [out], signal=fence)
    fence.wait(TIMEOUT)
    assert (out == 11).all()


def test_buffers_of_other_devices_are_read_through_the_host(device: Any, executable: Any) -> None:
    other = iree_hal.create_device("local-sync")
    given = other.allocator.allocate(40)
    given.array[:] = ramp(10).view(np.uint8)
    out = Buffer.wrap(np.zeros(10, np.float32))
    device.execute(device.create_command_buffer(add_recording(10), [executable]), [given, given, out])
    assert np.array_equal(out.array.view(np.float32), 2 * ramp(10))
    fence = Fence.create()
    target = device.allocator.allocate(40)
    device.queue_copy(given, 0, target, 0, 40, signal=fence)
    fence.wait(TIMEOUT)
    assert np.array_equal(target.array.view(np.float32), ramp(10))


def test_profiles_have_a_row_per_command(device: Any, executable: Any) -> None:
    if not device.logical.physical.timestamp_bits:
        pytest.skip("the device has no timestamps")
    recorder = Recorder(4, 0)
    refs = [recorder.ref(slot, 400) for slot in (1, 2, 3)]
    recorder.fill(refs[0], b"\0")
    recorder.barrier()
    recorder.call("add", (2, 1, 1), refs, [100])
    command_buffer = device.create_command_buffer(recorder.finish(), [executable])
    rows = [np.empty(100, np.float32), ramp(100), np.empty(100, np.float32)]
    with device.profiling() as profile:
        for _ in range(2):
            device.execute(command_buffer, rows)
    assert np.array_equal(rows[2], ramp(100))
    kernels = [row for row in profile.rows if row.command_index >= 0]
    assert [(r.execution, r.command_index, r.executable, r.export) for r in kernels] == [
        (0, 0, "", "fill"), (0, 2, "conformance", "add"),
        (1, 0, "", "fill"), (1, 2, "conformance", "add"),
    ]  # fmt: skip
    assert kernels[1].workgroups == (2, 1, 1)
    assert all(row.nanoseconds >= 0 for row in profile.rows)
    with device.profiling(per_dispatch=False) as profile:
        device.execute(command_buffer, rows)
    assert len(profile.totals) == 1
    assert profile.totals[0] > 0
    assert not profile.rows
    device.execute(command_buffer, rows)
    assert len(profile.totals) == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of another kind here")
def test_ctrl_c_ends_a_long_call(device: Any) -> None:
    code = """
    import os, signal, sys, threading, time
    sys.path.insert(0, {tests!r})
    import iree_hal
    from handwritten import conformance_executable
    from iree_hal.conformance.backend import Recorder
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of shells start with it ignored
    device = iree_hal.create_device("vulkan")
    executable = device.load_executable(conformance_executable())
    recorder = Recorder(1, 0)
    recorder.call("spin", (4, 1, 1), (), [10])
    quick = device.create_command_buffer(recorder.finish(), [executable])
    device.execute(quick, [])
    rows = [device.allocator.allocate(240_000)]
    main = threading.main_thread().ident
    length = 12
    while length < 100_000:  # longer and longer, until the signal comes before the end
        recorder = Recorder(2, 0)
        for _ in range(length):
            recorder.call("use_scratch", (60_000, 1, 1), [recorder.ref(1, 240_000)])
            recorder.barrier()
        command_buffer = device.create_command_buffer(recorder.finish(), [executable])
        timer = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
        timer.start()
        try:
            device.execute(command_buffer, rows)
            timer.cancel()
            timer.join()
        except KeyboardInterrupt:
            print("interrupted")
            break
        length *= 3
    del rows
    device.execute(quick, [])
    print("usable", device.validation_messages())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code).format(tests=str(Path(__file__).parent))],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["interrupted", "usable []"]


def test_a_wait_lets_other_threads_run(device: Any, executable: Any) -> None:
    recorder = Recorder(2, 0)
    for _ in range(2):
        recorder.call("use_scratch", (30_000, 1, 1), [recorder.ref(1, 240_000)])
        recorder.barrier()
    long = device.create_command_buffer(recorder.finish(), [executable])
    rows = [device.allocator.allocate(240_000)]
    device.execute(long, rows)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.0005)

    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    device.execute(long, rows)
    during = len(ticks) - before
    stop.set()
    thread.join()
    assert during >= 1


def test_a_lost_device_says_so_from_then_on(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from iree_target_vulkan.device import VulkanDevice
    from iree_target_vulkan.logical_device import LogicalDevice

    logical = LogicalDevice(device.logical.physical)
    try:
        lost = VulkanDevice(logical)
        executable = lost.load_executable(conformance_executable())
        adding = lost.create_command_buffer(add_recording(10), [executable])
        rows = [ramp(10), ramp(10), np.empty(10, np.float32)]
        lost.execute(adding, rows)

        class Broken:
            def __getattr__(self, name: str) -> Any:
                if name == "vkQueueSubmit":
                    return lambda *arguments: -4
                return getattr(real, name)

        from iree_target_vulkan.binding import lib as real

        monkeypatch.setattr("iree_target_vulkan.logical_device.lib", Broken())
        with pytest.raises(IreeError, match=r"IREE-VK-023.*VK_ERROR_DEVICE_LOST"):
            lost.execute(adding, rows)
        monkeypatch.undo()
        with pytest.raises(IreeError, match="IREE-VK-023"):
            lost.execute(adding, rows)
        with pytest.raises(IreeError, match="IREE-VK-023"):
            lost.allocator.allocate(1 << 20)
    finally:
        del lost, executable, adding
        gc.collect()
        logical.close()


def test_closing_a_logical_device_destroys_everything(device: Any) -> None:
    from iree_target_vulkan.device import VulkanDevice
    from iree_target_vulkan.logical_device import LogicalDevice

    logical = LogicalDevice(device.logical.physical)
    own = VulkanDevice(logical)
    executable = own.load_executable(conformance_executable())
    adding = own.create_command_buffer(add_recording(10), [executable])
    own.execute(adding, [ramp(10), ramp(10), np.empty(10, np.float32)])
    logical.close()
    assert logical.handles.live() == {}
    assert logical.handles.created == logical.handles.destroyed
    with pytest.raises(IreeError, match="it is closed"):
        own.execute(adding, [ramp(10), ramp(10), np.empty(10, np.float32)])
    del own, executable, adding  # must not touch what is gone
    gc.collect()


def test_two_logical_devices_at_once(device: Any, executable: Any) -> None:
    from iree_target_vulkan.device import VulkanDevice
    from iree_target_vulkan.logical_device import LogicalDevice

    logical = LogicalDevice(device.logical.physical)
    try:
        second = VulkanDevice(logical)
        theirs = second.load_executable(conformance_executable())
        out = second.allocator.allocate(40)
        second.execute(
            second.create_command_buffer(add_recording(10), [theirs]),
            [device.import_constants(ramp(10)), ramp(10), out],
        )
        assert np.array_equal(out.array.view(np.float32), 2 * ramp(10))
        with pytest.raises(HalError, match="IREE-HAL-017"):
            device.create_command_buffer(add_recording(10), [theirs])
    finally:
        del second, theirs, out
        gc.collect()
        logical.close()


def test_threads_go_with_their_device(device: Any) -> None:
    from iree_target_vulkan.device import VulkanDevice

    before = set(threading.enumerate())
    own = VulkanDevice(device.logical)
    executable = own.load_executable(conformance_executable())
    adding = own.create_command_buffer(add_recording(10), [executable])
    fence, out = Fence.create(), np.empty(10, np.float32)
    own.queue_execute(adding, [ramp(10), ramp(10), out], signal=fence)
    fence.wait(TIMEOUT)
    started = [thread for thread in threading.enumerate() if thread not in before]
    assert started
    del own, executable, adding
    gc.collect()
    for thread in started:
        if "pipelines" not in thread.name:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
    assert np.array_equal(out, 2 * ramp(10))


def test_loading_again_finds_the_pipelines(device: Any) -> None:
    first = device.load_executable(conformance_executable())
    pipelines = [first.pipeline(i) for i in range(len(first.exports))]
    second = device.load_executable(conformance_executable())
    assert all(second.pipeline(i) is made for i, made in enumerate(pipelines))
    device.logical.pipelines.trim()
    del first, second, pipelines
    gc.collect()
    third = device.load_executable(conformance_executable())
    assert third.pipeline(0).handle is not None


def test_the_process_may_end_with_work_under_way(device: Any) -> None:
    code = """
    import sys, threading
    sys.path.insert(0, {tests!r})
    import numpy as np
    import iree_hal
    from handwritten import conformance_executable
    from iree_hal.conformance.backend import Recorder
    from iree_hal.fence import Fence
    device = iree_hal.create_device("vulkan")
    executable = device.load_executable(conformance_executable())
    recorder = Recorder(2, 0)
    recorder.call("use_scratch", (20_000, 1, 1), [recorder.ref(1, 80_000)])
    command_buffer = device.create_command_buffer(recorder.finish(), [executable])
    rows = [np.zeros(20_000, np.uint32)]
    for _ in range(5):
        device.queue_execute(command_buffer, rows, signal=Fence.create())

    def calls():
        while True:
            device.execute(command_buffer, [np.zeros(20_000, np.uint32)])

    for _ in range(2):
        threading.Thread(target=calls, daemon=True).start()
    device.execute(command_buffer, rows)
    print("end", device.validation_messages())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code).format(tests=str(Path(__file__).parent))],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "end []"), done.stderr[-2000:]
