"""Workgroups: grids in three dimensions, large and empty ones, limits, scratch memory."""

from __future__ import annotations

import numpy as np
import pytest

from iree_base.errors import EXIT_RUNTIME, IreeError
from iree_hal.conformance import kernels
from iree_hal.conformance.backend import Context, Recorder, count_recording
from iree_hal.errors import HalError
from iree_hal.recording import BindingRef

GUARANTEED = 65_535
"""Workgroups in one dimension that every device takes."""


def _check_ids(context: Context, x: int, y: int, z: int) -> None:
    recorder = Recorder(2, 0)
    recorder.call("store_ids", (x, y, z), [recorder.ref(1, 12 * x * y * z)], [x, y])
    out = np.full((z, y, x, 3), 0xFFFF_FFFF, np.uint32)
    context.run(recorder.finish(), [out])
    want = np.stack(np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij")[::-1], axis=-1)
    assert np.array_equal(out, want)


@pytest.mark.parametrize("counts", [(1, 1, 1), (7, 1, 1), (1, 5, 1), (1, 1, 3), (4, 3, 2), (17, 13, 11)])
def test_every_workgroup_runs_once_with_its_ids(context: Context, counts: tuple[int, int, int]) -> None:
    _check_ids(context, *counts)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_many_workgroups_in_each_dimension(context: Context, axis: int) -> None:
    counts = [1, 1, 1]
    counts[axis] = context.workgroups(GUARANTEED)
    _check_ids(context, *counts)


@pytest.mark.parametrize("counts", [(300, 250, 2), (2, 300, 250), (250, 2, 300)])
def test_many_workgroups_in_all_dimensions(context: Context, counts: tuple[int, int, int]) -> None:
    total = context.workgroups(counts[0] * counts[1] * counts[2])
    x, y, z = (max(1, min(n, total // 40)) for n in counts)
    _check_ids(context, x, y, z)


def test_counts_above_the_guaranteed_are_refused_or_run(context: Context) -> None:
    n = GUARANTEED + 4465
    if context.workgroups(n) < n:
        pytest.skip(f"never: at most {context.backend.most_workgroups} workgroups on this backend")
    out = np.zeros(n, np.uint32)
    try:
        context.run(count_recording(n), [out])
    except IreeError as error:
        assert error.status == EXIT_RUNTIME
        assert not out.any()
    else:
        assert (out == 1).all()


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0), (1 << 31, 1 << 31, 0)])
def test_empty_dispatches_are_skipped(context: Context, counts: tuple[int, int, int]) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", counts, [recorder.ref(1, 1 << 40)])  # not even looked at
    out = np.zeros(1, np.uint32)
    context.run(recorder.finish(), [out])
    assert out[0] == 0


@pytest.mark.parametrize("wanted", [1, 2, 1000, 50_000])
def test_every_tile_exactly_once(context: Context, wanted: int) -> None:
    tiles = context.workgroups(wanted)
    out = np.zeros(tiles, np.uint32)
    command_buffer = context.command_buffer(count_recording(tiles))
    for _ in range(3):
        context.device.execute(command_buffer, [out])
    assert (out == 3).all()


def test_counts_follow_the_parameters(context: Context) -> None:
    recorder = Recorder(2, 3)
    total = recorder.op("mul", recorder.op("mul", 0, 1), 2)
    target = BindingRef(1, recorder.const(0), recorder.op("mul", total, recorder.const(12)))
    ordinal = kernels.ORDINALS["store_ids"]
    recorder.dispatch(0, ordinal, (0, 1, 2), [(0, "lo"), (1, "lo")], [target])
    command_buffer = context.command_buffer(recorder.finish())
    for x, y, z in ((3, 4, 5), (5, 4, 3), (60, 1, 1), (1, 0, 9), (2, 2, 2)):
        out = np.full((60, 3), 0xFFFF_FFFF, np.uint32)
        context.device.execute(command_buffer, [out], [x, y, z])
        ids = {(int(a), int(b), int(c)) for a, b, c in out[: x * y * z]}
        assert len(ids) == x * y * z
        assert (out[x * y * z :] == 0xFFFF_FFFF).all()


def test_negative_counts_are_refused(context: Context) -> None:
    recorder = Recorder(1, 1)
    one = recorder.const(1)
    recorder.dispatch(0, kernels.ORDINALS["spin"], (0, one, one), [(one, "lo")], [])
    command_buffer = context.command_buffer(recorder.finish())
    for count in (-1, 1 << 32, -(1 << 63)):
        with pytest.raises(HalError, match="IREE-HAL-024"):
            context.device.execute(command_buffer, [], [count])


def test_too_many_workgroups_are_refused(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.call("spin", (1 << 16, 1 << 16, 2), constants=[0])
    with pytest.raises(HalError, match="IREE-HAL-024"):
        context.run(recorder.finish())


def test_scratch_is_private_while_a_workgroup_runs(context: Context) -> None:
    tiles = context.workgroups(2000)
    recorder = Recorder(2, 0)
    recorder.call("use_scratch", (tiles, 1, 1), [recorder.ref(1, 4 * tiles)])
    out = np.zeros(tiles, np.uint32)
    command_buffer = context.command_buffer(recorder.finish())
    n = kernels.SCRATCH_BYTES // 4
    want = n * np.arange(tiles) + n * (n - 1) // 2
    for _ in range(2):
        context.device.execute(command_buffer, [out])
        assert np.array_equal(out, want.astype(np.uint32))


def test_scratch_of_concurrent_dispatches_is_apart(context: Context) -> None:
    tiles = context.workgroups(300)
    recorder = Recorder(5, 0)
    for slot in range(1, 5):
        recorder.call("use_scratch", (tiles, 1, 1), [recorder.ref(slot, 4 * tiles)])
    outs = [np.zeros(tiles, np.uint32) for _ in range(4)]
    context.run(recorder.finish(), outs)
    n = kernels.SCRATCH_BYTES // 4
    want = (n * np.arange(tiles) + n * (n - 1) // 2).astype(np.uint32)
    assert all(np.array_equal(out, want) for out in outs)
