"""Executables: loading, exports, and recordings that do not fit them."""

from __future__ import annotations

import dataclasses
import gc

import numpy as np
import pytest

from iree_base.errors import EXIT_ARTIFACT, IreeError
from iree_hal.conformance import kernels
from iree_hal.conformance.backend import Context, Recorder
from iree_hal.errors import HalError
from iree_hal.executable import ExportSpec


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
        with pytest.raises(IreeError) as caught:
            context.device.load_executable(dataclasses.replace(spec, data=data))
        assert caught.value.status == EXIT_ARTIFACT


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


def test_command_buffer_keeps_its_executable_loaded(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", (4, 1, 1), [recorder.ref(1, 16)])
    executable = context.device.load_executable(context.backend.executable())
    command_buffer = context.device.create_command_buffer(recorder.finish(), [executable])
    del executable
    gc.collect()
    out = np.zeros(4, np.uint32)
    context.device.execute(command_buffer, [out])
    assert (out == 1).all()


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
