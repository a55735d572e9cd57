"""Recordings on a device: parameters, sizes known before running, waves, ranges."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.conformance import kernels
from iree_hal.conformance.backend import Context, Recorder, float_bits, ramp
from iree_hal.errors import HalError
from iree_hal.recording import BindingRef, Recording


def test_recording_survives_serialization(context: Context) -> None:
    recorder = Recorder(3, 0)
    recorder.call("scale", (8, 1, 1), [recorder.ref(1, 32), recorder.ref(2, 32)], [float_bits(3.0)])
    out = np.full(8, np.nan, np.float32)
    context.run(Recording.deserialize(recorder.finish().serialize()), [ramp(8), out])
    assert np.array_equal(out, 3 * ramp(8))


def test_exported_parameters_are_known_before_running(context: Context) -> None:
    recorder = Recorder(1, 1)
    recorder.export_param("arena_bytes", recorder.align(0, 64))
    recorder.export_param("fixed", recorder.const(-7))
    command_buffer = context.command_buffer(recorder.finish())
    assert [command_buffer.param("arena_bytes", [n]) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]
    assert command_buffer.param(1, [0]) == -7
    with pytest.raises(HalError, match="IREE-HAL-008"):
        command_buffer.param("missing", [0])
    with pytest.raises(HalError, match="IREE-HAL-008"):
        command_buffer.param("fixed", [])


def test_one_recording_serves_every_size(context: Context) -> None:
    recorder = Recorder(3, 1)
    zero, one = recorder.const(0), recorder.const(1)
    nbytes = recorder.op("mul", 0, recorder.const(4))
    refs = [BindingRef(slot, zero, nbytes) for slot in (1, 2)]
    factor = recorder.const(float_bits(0.5))
    recorder.dispatch(0, kernels.ORDINALS["scale"], (0, one, one), [(factor, "lo")], refs)
    command_buffer = context.command_buffer(recorder.finish())
    for n in (1, 0, context.workgroups(500), 3):
        out = np.full(n, np.nan, np.float32)
        context.device.execute(command_buffer, [ramp(n), out], [n])
        assert np.array_equal(out, ramp(n) / 2)


@pytest.mark.parametrize(("offset", "length"), [(0, 17), (16, 1), (-4, 4), (0, -1), (1 << 62, 1 << 62)])
def test_ranges_outside_of_a_binding_are_refused(context: Context, offset: int, length: int) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", (1, 1, 1), [recorder.ref(1, length, offset)])
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(recorder.finish(), [np.zeros(4, np.uint32)])


def test_arena_grows_with_the_shape(context: Context) -> None:
    recorder = Recorder(3, 1)
    zero, one = recorder.const(0), recorder.const(1)
    nbytes = recorder.op("mul", 0, recorder.const(4))
    source, arena, target = (BindingRef(slot, zero, nbytes) for slot in (1, 0, 2))
    scale = kernels.ORDINALS["scale"]
    recorder.dispatch(0, scale, (0, one, one), [(recorder.const(float_bits(2.0)), "lo")], [source, arena])
    recorder.barrier()
    recorder.dispatch(0, scale, (0, one, one), [(recorder.const(float_bits(5.0)), "lo")], [arena, target])
    recorder.export_param("arena_bytes", recorder.align(nbytes, 64))
    command_buffer = context.command_buffer(recorder.finish())
    for n in (10, context.workgroups(1000), 3):
        out = np.full(n, np.nan, np.float32)
        context.device.execute(command_buffer, [ramp(n), out], [n])
        assert np.array_equal(out, 10 * ramp(n))


def test_absurd_arena_is_refused(context: Context) -> None:
    recorder = Recorder(1, 1)
    recorder.export_param("arena_bytes", 0)
    command_buffer = context.command_buffer(recorder.finish())
    for nbytes in (1 << 60, (1 << 63) - 1, -1):
        with pytest.raises(HalError, match=r"IREE-HAL-0(11|24)"):
            context.device.execute(command_buffer, [], [nbytes])
    context.device.execute(command_buffer, [], [64])
