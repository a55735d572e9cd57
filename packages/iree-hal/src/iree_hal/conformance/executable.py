"""Executables: loading, exports, and recordings that do not fit them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from iree_base.errors import EXIT_ARTIFACT, IreeError
from iree_hal.conformance import kernels
from iree_hal.conformance.backend import Context, Recorder, count_recording, in_threads
from iree_hal.errors import HalError
from iree_hal.executable import ExecutableSpec, ExportSpec


def test_executable_lists_its_exports(context: Context) -> None:
    names = [e.name for e in context.executable.exports]
    assert names[: len(kernels.EXPORTS)] == [e.name for e in kernels.EXPORTS]
    assert context.executable.export_ordinal("count") == kernels.ORDINALS["count"]
    with pytest.raises(HalError, match="IREE-HAL-017"):
        context.executable.export_ordinal("missing")


def test_missing_export_is_refused_at_load(context: Context) -> None:
    spec = context.backend.executable()
    spec = dataclasses.replace(spec, exports=(*spec.exports, ExportSpec("missing")))
    with pytest.raises(HalError, match="IREE-HAL-017"):
        context.device.load_executable(spec)


def test_missing_feature_is_named_at_load(context: Context) -> None:
    spec = dataclasses.replace(context.backend.executable(), features=("warp-drive",))
    with pytest.raises(HalError, match=r"IREE-HAL-006.*warp-drive"):
        context.device.load_executable(spec)


def test_damaged_executable_is_refused_at_load(context: Context) -> None:
    spec = context.backend.executable()
    for data in (b"", b"\x7fELF", bytes(spec.data)[:-1], bytes(len(spec.data))):
        _refused(context, dataclasses.replace(spec, data=data))


@pytest.mark.parametrize("tenths", range(10))
def test_truncated_executable_is_refused_at_load(context: Context, tenths: int) -> None:
    spec = context.backend.executable()
    data = bytes(spec.data)
    _refused(context, dataclasses.replace(spec, data=data[: len(data) * tenths // 10]))


def _refused(context: Context, spec: ExecutableSpec) -> None:
    """An error of any package that blames the artefact and names the executable."""
    with pytest.raises(IreeError) as caught:
        context.device.load_executable(spec)
    assert caught.value.status == EXIT_ARTIFACT
    assert spec.name in str(caught.value)


def test_another_devices_format_is_refused(context: Context) -> None:
    spec = dataclasses.replace(context.backend.executable(), format="elf-vax")
    with pytest.raises(HalError, match=r"IREE-HAL-005.*elf-vax"):
        context.device.load_executable(spec)


def test_exports_are_found_by_name(context: Context) -> None:
    spec = context.backend.executable()
    some = tuple(e for e in reversed(spec.exports) if e.name in ("add", "count", "constants_17"))
    executable = context.device.load_executable(dataclasses.replace(spec, exports=some))
    recorder = Recorder(2, 0)
    one = recorder.const(1)
    ordinal = executable.export_ordinal("count")
    recorder.dispatch(0, ordinal, (recorder.const(5), one, one), [], [recorder.ref(1, 20)])
    out = np.zeros(5, np.uint32)
    context.device.execute(context.device.create_command_buffer(recorder.finish(), [executable]), [out])
    assert (out == 1).all()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_data_is_not_needed_after_loading(context: Context, kind: Any) -> None:
    spec = context.backend.executable()
    data = bytearray(spec.data)
    given = kind(data) if kind is not bytearray else data
    executable = context.device.load_executable(dataclasses.replace(spec, data=given))
    data[:] = bytes(len(data))
    out = np.zeros(4, np.uint32)
    command_buffer = context.device.create_command_buffer(count_recording(4), [executable])
    context.device.execute(command_buffer, [out])
    assert (out == 1).all()


def test_a_recording_uses_several_executables(context: Context) -> None:
    executables = [context.device.load_executable(context.backend.executable()) for _ in range(3)]
    recorder = Recorder(2, 0)
    one = recorder.const(1)
    for number in (2, 0, 1, 2):
        recorder.dispatch(number, kernels.ORDINALS["count"], (one, one, one), [], [recorder.ref(1, 4)])
        recorder.barrier()
    out = np.zeros(1, np.uint32)
    context.device.execute(context.device.create_command_buffer(recorder.finish(), executables), [out])
    assert out[0] == 4


def test_loading_from_many_threads(context: Context) -> None:
    spec = context.backend.executable()

    def work() -> None:
        for _ in range(5):
            executable = context.device.load_executable(spec)
            out = np.zeros(3, np.uint32)
            command_buffer = context.device.create_command_buffer(count_recording(3), [executable])
            context.device.execute(command_buffer, [out])
            assert (out == 1).all()

    in_threads(work, work, work)


def test_recording_must_fit_the_executable(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", (1, 1, 1))
    one_too_few = recorder.finish()
    with pytest.raises(HalError, match="IREE-HAL-017"):
        context.command_buffer(one_too_few)
    recorder = Recorder(2, 0)
    one = recorder.const(1)
    recorder.dispatch(0, 999, (one, one, one), [], [])
    with pytest.raises(HalError, match="IREE-HAL-017"):
        context.command_buffer(recorder.finish())
    recorder = Recorder(2, 0)
    one = recorder.const(1)
    recorder.dispatch(1, 0, (one, one, one), [], [])
    with pytest.raises(HalError, match="IREE-HAL-017"):
        context.command_buffer(recorder.finish())
    recorder = Recorder(1, 0)
    recorder.host_call(0)
    with pytest.raises(HalError, match="IREE-HAL-017"):
        context.command_buffer(recorder.finish())


def test_inconsistent_export_description_is_refused() -> None:
    for bad in (
        {"bindings": ("read",), "alignments": (3,)},
        {"bindings": ("read",), "alignments": (4, 4)},
        {"bindings": ("peek",)},
        {"n_constants": -1},
        {"scratch_bytes": -1},
    ):
        with pytest.raises(HalError, match="IREE-HAL-017"):
            ExportSpec("k", **bad)
