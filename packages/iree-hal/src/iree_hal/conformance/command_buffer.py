"""Command buffers: dispatch grids, fills, copies, barriers, waves, host calls, scratch, errors."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.conformance import kernels
from iree_hal.conformance.backend import Context, Recorder, float_bits, ramp
from iree_hal.errors import HalError


@pytest.mark.parametrize("counts", [(1, 1, 1), (7, 1, 1), (1, 5, 1), (1, 1, 3), (4, 3, 2), (17, 13, 11)])
def test_every_workgroup_runs_once_with_its_ids(context: Context, counts: tuple[int, int, int]) -> None:
    x, y, z = counts
    recorder = Recorder(2, 0)
    recorder.call("store_ids", counts, [recorder.ref(1, 12 * x * y * z)], [x, y])
    out = np.full((z, y, x, 3), 0xFFFF, np.uint32)
    context.run(recorder.finish(), [out])
    want = np.stack(np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij")[::-1], axis=-1)
    assert np.array_equal(out, want)


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0), (1 << 31, 1 << 31, 0)])
def test_empty_dispatches_are_skipped(context: Context, counts: tuple[int, int, int]) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", counts, [recorder.ref(1, 1 << 40)])  # not even looked at
    out = np.zeros(1, np.uint32)
    context.run(recorder.finish(), [out])
    assert out[0] == 0


@pytest.mark.parametrize("tiles", [1, 2, 1000, 50_000])
def test_every_tile_exactly_once(context: Context, tiles: int) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", (tiles, 1, 1), [recorder.ref(1, 4 * tiles)])
    out = np.zeros(tiles, np.uint32)
    command_buffer = context.command_buffer(recorder.finish())
    for _ in range(3):
        context.device.execute(command_buffer, [out])
    assert (out == 3).all()


def test_commands_of_a_wave_share_the_work(context: Context) -> None:
    sizes = [1, 40, 0, 3, 1000, 2]
    recorder = Recorder(len(sizes) + 1, 0)
    for slot, tiles in enumerate(sizes, 1):
        recorder.call("count", (tiles, 1, 1), [recorder.ref(slot, 4 * tiles)])
    outs = [np.zeros(tiles, np.uint32) for tiles in sizes]
    context.run(recorder.finish(), outs)
    assert all((out == 1).all() for out in outs)


def test_barriers_order_commands(context: Context) -> None:
    recorder = Recorder(3, 0)
    one, other = recorder.ref(1, 4000), recorder.ref(2, 4000)
    recorder.fill(one, (float_bits(1.0)).to_bytes(4, "little"))
    for _ in range(5):
        recorder.barrier()
        recorder.call("add", (16, 1, 1), [one, one, other], [1000])
        recorder.barrier()
        recorder.call("add", (16, 1, 1), [other, other, one], [1000])
    out = np.empty(1000, np.float32)
    context.run(recorder.finish(), [out, np.empty(1000, np.float32)])
    assert (out == 1024).all()


@pytest.mark.parametrize("pattern", [b"\x05", b"\x01\x02", b"\x01\x02\x03\x04"])
@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 1), (3, 7), (1, 4096), (0, 200_003)])
def test_fill_repeats_its_pattern(context: Context, pattern: bytes, offset: int, length: int) -> None:
    recorder = Recorder(2, 0)
    recorder.fill(recorder.ref(1, length, offset), pattern)
    out = np.zeros(length + 8, np.uint8)
    context.run(recorder.finish(), [out])
    want = (pattern * (length // len(pattern) + 1))[:length]
    assert bytes(out) == bytes(offset) + want + bytes(8 - offset)


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 65_537, 300_000])
def test_copy_moves_exactly_its_range(context: Context, length: int) -> None:
    recorder = Recorder(3, 0)
    recorder.copy(recorder.ref(1, length, 5), recorder.ref(2, length, 3))
    source = np.random.default_rng(0).integers(0, 256, length + 5, np.uint8)
    out = np.zeros(length + 6, np.uint8)
    context.run(recorder.finish(), [source, out])
    assert np.array_equal(out[3 : 3 + length], source[5:])
    assert not out[:3].any()
    assert not out[3 + length :].any()


def test_copy_lengths_must_agree(context: Context) -> None:
    recorder = Recorder(3, 0)
    recorder.copy(recorder.ref(1, 4), recorder.ref(2, 8))
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(recorder.finish(), [np.zeros(8, np.uint8), np.zeros(8, np.uint8)])


def test_copy_must_not_overlap(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.copy(recorder.ref(1, 8, 0), recorder.ref(1, 8, 4))
    with pytest.raises(HalError, match=r"IREE-HAL-0(09|25)"):
        context.run(recorder.finish(), [np.zeros(12, np.uint8)])


def test_scratch_is_private_to_a_worker(context: Context) -> None:
    tiles = 2000
    recorder = Recorder(2, 0)
    recorder.call("use_scratch", (tiles, 1, 1), [recorder.ref(1, 4 * tiles)])
    out = np.zeros(tiles, np.uint32)
    context.run(recorder.finish(), [out])
    words = kernels.SCRATCH_BYTES // 4
    want = words * np.arange(tiles) + words * (words - 1) // 2
    assert np.array_equal(out, want.astype(np.uint32))


def test_host_calls_run_between_waves(context: Context) -> None:
    recorder = Recorder(2, 1)
    ref = recorder.ref(1, 4)
    out = np.zeros(1, np.uint32)
    seen: list[tuple[int, ...]] = []
    recorder.call("count", (1, 1, 1), [ref])
    recorder.host_call(0, [0, recorder.const(-3)])
    recorder.call("count", (1, 1, 1), [ref])
    recorder.host_call(1)
    command_buffer = context.command_buffer(
        recorder.finish(), lambda a, b: seen.append((int(out[0]), a, b)), lambda: seen.append((int(out[0]),))
    )
    context.device.execute(command_buffer, [out], [77])
    assert seen == [(1, 77, -3), (2,)]


def test_errors_of_host_calls_come_through(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.host_call(0)

    def fails() -> None:
        raise ZeroDivisionError("on purpose")

    command_buffer = context.command_buffer(recorder.finish(), fails)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            context.device.execute(command_buffer, [])


def test_an_error_stops_later_waves(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.call("check_index", (100, 1, 1), constants=[3])
    recorder.barrier()
    recorder.call("count", (1, 1, 1), [recorder.ref(1, 4)])
    out = np.zeros(1, np.uint32)
    with pytest.raises(HalError, match="IREE-HAL-010"):
        context.run(recorder.finish(), [out])
    assert out[0] == 0


def test_denormals_are_flushed(context: Context) -> None:
    recorder = Recorder(3, 0)
    n = 3000
    refs = [recorder.ref(1, 4 * n), recorder.ref(2, 4 * n)]
    recorder.call("scale", (n, 1, 1), refs, [float_bits(1.0)])
    tiny = np.full(n, 1e-40, np.float32)
    out = np.full(n, np.nan, np.float32)
    context.run(recorder.finish(), [tiny, out])
    assert (out == 0).all()


def test_callers_denormals_survive(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.call("spin", (2, 1, 1), constants=[1])
    context.run(recorder.finish())
    assert np.float32(1e-40) * np.float32(0.5) != 0


def test_results_do_not_depend_on_the_run(context: Context) -> None:
    recorder = Recorder(4, 0)
    refs = [recorder.ref(slot, 40_000) for slot in (1, 2, 3)]
    recorder.call("add", (-(-10_000 // 64), 1, 1), refs, [10_000])
    command_buffer = context.command_buffer(recorder.finish())
    results = []
    for _ in range(3):
        out = np.empty(10_000, np.float32)
        context.device.execute(command_buffer, [ramp(10_000) / 7, ramp(10_000) / 3, out])
        results.append(out.tobytes())
    assert len(set(results)) == 1
