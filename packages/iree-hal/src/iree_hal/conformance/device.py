"""Devices: identity, formats, synchronous execution and its errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from iree_hal.conformance import kernels
from iree_hal.conformance.backend import Context, Recorder, ramp
from iree_hal.errors import HalError
from iree_hal.executable import ExecutableSpec
from iree_hal.recording import Recording


def _add(n: int) -> Recording:
    recorder = Recorder(4, 0)
    bindings = [recorder.ref(slot, 4 * n) for slot in (1, 2, 3)]
    recorder.call("add", (-(-n // 64), 1, 1), bindings, [n])
    return recorder.finish()


def test_device_has_a_queue(context: Context) -> None:
    assert context.device.queue_affinity & 1


def test_device_names_the_formats_it_loads(context: Context) -> None:
    own = context.backend.executable().format
    assert context.device.loaders(["no-such-format", own]) == (own,)


def test_device_refuses_unknown_format(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-005"):
        context.device.load_executable(ExecutableSpec("no-such-format", b"", ()))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_execute_adds(context: Context, n: int) -> None:
    out = np.full(n, np.nan, np.float32)
    context.run(_add(n), [ramp(n), 2 * ramp(n), out])
    assert np.array_equal(out, 3 * ramp(n))


def test_execute_reuses_a_command_buffer(context: Context) -> None:
    command_buffer = context.command_buffer(_add(100))
    for factor in range(5):
        out = np.empty(100, np.float32)
        context.device.execute(command_buffer, [factor * ramp(100), ramp(100), out])
        assert np.array_equal(out, (factor + 1) * ramp(100))


def test_execute_from_many_threads(context: Context) -> None:
    command_buffer = context.command_buffer(_add(1000))
    wrong: list[int] = []

    def call(factor: int) -> None:
        for _ in range(20):
            out = np.empty(1000, np.float32)
            context.device.execute(command_buffer, [factor * ramp(1000), ramp(1000), out])
            if not np.array_equal(out, (factor + 1) * ramp(1000)):
                wrong.append(factor)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_execute_accepts_buffers(context: Context) -> None:
    device = context.device
    buffers = [device.allocator.allocate(400) for _ in range(3)]
    for buffer in buffers[:2]:
        buffer.array[:] = ramp(100).view(np.uint8)
    context.run(_add(100), buffers)
    assert np.array_equal(buffers[2].array.view(np.float32), 2 * ramp(100))


def test_execute_refuses_wrong_number_of_bindings(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(_add(4), [ramp(4)])


def test_execute_refuses_wrong_number_of_params(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(_add(4), [ramp(4), ramp(4), ramp(4)], [1])


def test_execute_refuses_params_that_are_no_integers(context: Context) -> None:
    recorder = Recorder(1, 1)
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(recorder.finish(), [], ["three"])  # type: ignore[list-item]


def test_execute_refuses_strided_arrays(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(_add(4), [ramp(8)[::2], ramp(4), ramp(4)])


def test_execute_refuses_read_only_results(context: Context) -> None:
    out = ramp(4)
    out.flags.writeable = False
    with pytest.raises(HalError, match="IREE-HAL-012"):
        context.run(_add(4), [ramp(4), ramp(4), out])


def test_execute_accepts_read_only_inputs(context: Context) -> None:
    given, out = ramp(4), np.empty(4, np.float32)
    given.flags.writeable = False
    context.run(_add(4), [given, given, out])
    assert np.array_equal(out, 2 * ramp(4))


def test_execute_refuses_short_arrays(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(_add(4), [ramp(4), ramp(3), ramp(4)])


def test_misaligned_arrays_are_refused_or_copied(context: Context) -> None:
    block = np.zeros(17, np.uint8)
    start = 1 if block.ctypes.data % 2 == 0 else 0
    shifted = block[start : start + 16]
    shifted[:] = ramp(4).view(np.uint8)
    out = np.empty(4, np.float32)
    try:
        context.run(_add(4), [shifted, ramp(4), out])
    except HalError as error:
        assert error.code == "IREE-HAL-008"
    else:
        assert np.array_equal(out, 2 * ramp(4))


def test_kernel_error_names_export_and_assertion(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.call("check_index", (10, 1, 1), constants=[9])
    with pytest.raises(HalError, match="IREE-HAL-010") as caught:
        context.run(recorder.finish())
    error = caught.value
    assert (error.export_name, error.kind, error.assert_index) == ("check_index", 1, 1)  # type: ignore[attr-defined]
    assert error.kernel_code == kernels.CHECK_INDEX_CODE  # type: ignore[attr-defined]
    assert error.command_index == 0  # type: ignore[attr-defined]


def test_device_is_usable_after_a_kernel_error(context: Context) -> None:
    recorder = Recorder(1, 1)
    one = recorder.const(1)
    recorder.dispatch(0, kernels.ORDINALS["check_index"], (0, one, one), [(recorder.const(50), "lo")], [])
    command_buffer = context.command_buffer(recorder.finish())
    for count in (50, 51, 1000, 50):
        if count > 50:
            with pytest.raises(HalError, match="IREE-HAL-010"):
                context.device.execute(command_buffer, [], [count])
        else:
            context.device.execute(command_buffer, [], [count])
