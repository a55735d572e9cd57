"""Devices: identity, formats, synchronous execution and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_hal.conformance.backend import Context, Recorder, add_recording, contents, ramp
from iree_hal.errors import HalError
from iree_hal.executable import ExecutableSpec


def test_device_has_a_queue(context: Context) -> None:
    assert context.device.queue_affinity & 1


def test_device_names_the_formats_it_loads(context: Context) -> None:
    own = context.backend.executable().format
    assert context.device.loaders(["no-such-format", own]) == (own,)


def test_devices_have_ids_and_describe_themselves(context: Context) -> None:
    assert context.device.id.startswith(context.device.driver_name)
    assert context.device.id in repr(context.device)


def test_device_names_the_features_it_lacks(context: Context) -> None:
    needed = context.backend.executable().features
    assert context.device.missing_features([*needed, "warp-drive"]) == ["warp-drive"]
    assert context.device.missing_features([]) == []


def test_device_refuses_unknown_format(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-005"):
        context.device.load_executable(ExecutableSpec("no-such-format", b"", ()))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_execute_adds(context: Context, n: int) -> None:
    out = np.full(n, np.nan, np.float32)
    context.run(add_recording(n), [ramp(n), 2 * ramp(n), out])
    assert np.array_equal(out, 3 * ramp(n))


def test_execute_accepts_buffers(context: Context) -> None:
    rows = [context.buffer(a) for a in (ramp(100), ramp(100), np.zeros(100, np.float32))]
    context.run(add_recording(100), rows)
    assert np.array_equal(contents(rows[2], np.float32), 2 * ramp(100))


@pytest.mark.parametrize("dtype", ["uint8", "float64", "complex64"])
def test_execute_takes_the_bytes_of_any_array(context: Context, dtype: str) -> None:
    left, right, out = ramp(100), ramp(100), np.zeros(100, np.float32)
    rows = [array.view(dtype).reshape(2, -1) for array in (left, right, out)]
    context.run(add_recording(100), rows)
    assert np.array_equal(out, 2 * ramp(100))


@pytest.mark.parametrize("params", [[1.5], [None], [1 << 63], [-(1 << 63) - 1]])
def test_execute_refuses_params_that_do_not_fit(context: Context, params: list[Any]) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(Recorder(1, 1).finish(), [], params)


def test_execute_refuses_wrong_number_of_bindings(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(add_recording(4), [ramp(4)])


def test_execute_refuses_wrong_number_of_params(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(add_recording(4), [ramp(4), ramp(4), ramp(4)], [1])


def test_execute_refuses_params_that_are_no_integers(context: Context) -> None:
    recorder = Recorder(1, 1)
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(recorder.finish(), [], ["three"])  # type: ignore[list-item]


def test_execute_refuses_strided_arrays(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.run(add_recording(4), [ramp(8)[::2], ramp(4), ramp(4)])


def test_execute_refuses_read_only_results(context: Context) -> None:
    out = ramp(4)
    out.flags.writeable = False
    with pytest.raises(HalError, match="IREE-HAL-012"):
        context.run(add_recording(4), [ramp(4), ramp(4), out])


def test_execute_accepts_read_only_inputs(context: Context) -> None:
    given, out = ramp(4), np.full(4, np.nan, np.float32)
    given.flags.writeable = False
    context.run(add_recording(4), [given, given, out])
    assert np.array_equal(out, 2 * ramp(4))


def test_execute_refuses_short_arrays(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(add_recording(4), [ramp(4), ramp(3), ramp(4)])


def test_misaligned_arrays_are_refused_or_copied(context: Context) -> None:
    block = np.zeros(17, np.uint8)
    start = 1 if block.ctypes.data % 2 == 0 else 0
    shifted = block[start : start + 16]
    shifted[:] = ramp(4).view(np.uint8)
    out = np.full(4, np.nan, np.float32)
    try:
        context.run(add_recording(4), [shifted, ramp(4), out])
    except HalError as error:
        assert error.code == "IREE-HAL-008"
    else:
        assert np.array_equal(out, 2 * ramp(4))
