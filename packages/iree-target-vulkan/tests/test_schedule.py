"""Schedules: what a recording does with given values, against the replay of the same recording."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from iree_hal.conformance.backend import Recorder
from iree_hal.errors import HalError
from iree_hal.executable import ExportSpec
from iree_hal.recording import BindingRef, Recording
from iree_target_vulkan.schedule import HostStep, Segment, merged, schedule

EXPORTS = [[ExportSpec("add", n_constants=1, bindings=("read", "read", "write"), alignments=(4, 4, 4))]]


def plan(recording: Recording, sizes: list[int], params: tuple[int, ...] = ()) -> list[Segment | HostStep]:
    return schedule(recording, EXPORTS, sizes, recording.evaluate(params))


def only(recording: Recording, sizes: list[int], params: tuple[int, ...] = ()) -> Segment:
    (segment,) = plan(recording, sizes, params)
    assert isinstance(segment, Segment)
    return segment


def test_barriers_make_waves_and_empty_dispatches_vanish() -> None:
    recorder = Recorder(4, 1)
    refs = [recorder.ref(slot, 64) for slot in (1, 2, 3)]
    recorder.call("add", (1, 1, 1), refs, [16])
    recorder.barrier()
    recorder.call("add", (0, 1, 1), [recorder.ref(1, 1 << 40)] * 3, [16])
    recorder.barrier()
    recorder.call("add", (2, 1, 1), refs, [16])
    segment = only(recorder.finish(), [0, 64, 64, 64], (5,))
    assert [[step.index for step in wave] for wave in segment.waves] == [[0], [4]]


def test_what_is_read_before_it_is_written_is_needed() -> None:
    recorder = Recorder(4, 0)
    recorder.call("add", (1, 1, 1), [recorder.ref(slot, 64) for slot in (1, 1, 2)], [16])
    recorder.barrier()
    recorder.call("add", (1, 1, 1), [recorder.ref(slot, 64) for slot in (2, 1, 3)], [16])
    segment = only(recorder.finish(), [0, 64, 64, 64])
    assert segment.needed == {1}
    assert segment.written == {2: [(0, 64)], 3: [(0, 64)]}


def test_reads_of_a_part_not_written_need_the_row() -> None:
    recorder = Recorder(3, 0)
    recorder.fill(recorder.ref(1, 32), b"\0")
    recorder.barrier()
    recorder.copy(recorder.ref(1, 40), recorder.ref(2, 40, 8))
    segment = only(recorder.finish(), [0, 64, 64])
    assert segment.needed == {1}
    assert segment.written == {1: [(0, 32)], 2: [(8, 48)]}


def test_writes_of_one_wave_do_not_cover_its_reads() -> None:
    recorder = Recorder(3, 0)
    recorder.fill(recorder.ref(1, 64), b"\0")
    recorder.copy(recorder.ref(1, 64), recorder.ref(2, 64))
    assert only(recorder.finish(), [0, 64, 64]).needed == {1}


def test_host_calls_split_segments() -> None:
    recorder = Recorder(2, 1)
    recorder.fill(recorder.ref(1, 8), b"\1")
    recorder.host_call(3, [0])
    recorder.fill(recorder.ref(1, 8), b"\2")
    recorder.host_call(1)
    kinds = [p if isinstance(p, HostStep) else "segment" for p in plan(recorder.finish(), [0, 8], (9,))]
    assert kinds == ["segment", HostStep(3, (9,)), "segment", HostStep(1, ())]


@pytest.mark.parametrize(
    ("slot", "offset", "length"), [(1, 60, 8), (1, -4, 8), (1, 0, 65), (1, 0, -1), (0, 0, 1)]
)
def test_ranges_are_checked(slot: int, offset: int, length: int) -> None:
    recorder = Recorder(2, 0)
    recorder.fill(BindingRef(slot, recorder.const(offset), recorder.const(length)), b"\0")
    with pytest.raises(HalError, match=r"IREE-HAL-009: .*command 0"):
        plan(recorder.finish(), [0, 64])


@pytest.mark.parametrize("counts", [(-1, 1, 1), (1 << 33, 1, 1), (1 << 20, 1 << 20, 1)])
def test_counts_are_checked(counts: tuple[int, int, int]) -> None:
    recorder = Recorder(4, 0)
    recorder.call("add", counts, [recorder.ref(slot, 4) for slot in (1, 2, 3)], [1])
    with pytest.raises(HalError, match="IREE-HAL-024"):
        plan(recorder.finish(), [0, 4, 4, 4])


@pytest.mark.parametrize(("source", "target", "overlap"), [(0, 8, False), (0, 4, True), (4, 0, True)])
def test_copies_must_not_overlap(source: int, target: int, overlap: bool) -> None:
    recorder = Recorder(2, 0)
    recorder.copy(recorder.ref(1, 8, source), recorder.ref(1, 8, target))
    if overlap:
        with pytest.raises(HalError, match="IREE-HAL-009"):
            plan(recorder.finish(), [0, 16])
    else:
        assert only(recorder.finish(), [0, 16]).needed == {1}


def test_constants_are_halves() -> None:
    recorder = Recorder(4, 1)
    one = recorder.const(1)
    refs = [recorder.ref(slot, 4) for slot in (1, 2, 3)]
    recorder.dispatch(0, 0, (one, one, one), [(0, "hi")], refs)
    segment = only(recorder.finish(), [0, 4, 4, 4], (-2,))
    assert segment.waves[0][0].constants == (0xFFFFFFFF,)


def test_merged_ranges_cover_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        spans = [
            (int(a), int(a + n)) for a, n in zip(rng.integers(0, 60, 9), rng.integers(1, 9, 9), strict=True)
        ]
        found = merged(spans)
        assert {i for a, b in spans for i in range(a, b)} == {i for a, b in found for i in range(a, b)}
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(found))
