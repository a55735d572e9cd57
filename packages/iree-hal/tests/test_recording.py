"""Recordings: building, validation, the binary form and its corruption."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_hal import param_ops
from iree_hal.conformance.backend import Recorder
from iree_hal.conformance.strategies import commands, programs
from iree_hal.errors import HalError
from iree_hal.recording import BindingRef, Definition, Recording, RecordingBuilder
from iree_hal.recording_format import MAGIC


def _example() -> Recording:
    recorder = Recorder(4, 2)
    n = recorder.op("mul", 0, recorder.const(4))
    ref = BindingRef(1, recorder.const(0), n)
    recorder.dispatch(0, 1, (0, 1, recorder.const(1)), [(n, "lo"), (n, "hi")], [ref, recorder.ref(2, 8)])
    recorder.fill(recorder.ref(3, 4), b"\x01\x02")
    recorder.barrier()
    recorder.copy(recorder.ref(3, 4), recorder.ref(0, 4, 12))
    recorder.host_call(2, [0, n])
    recorder.export_param("arena_bytes", recorder.align(n, 64))
    recorder.export_param("größe", n)
    return recorder.finish()


def test_constants_and_operations_are_shared() -> None:
    builder = RecordingBuilder(1, 1)
    assert builder.const(5) == builder.const(5)
    assert builder.op("add", 0, builder.const(5)) == builder.op("add", 0, builder.const(5))
    assert builder.const(-1) == builder.const((1 << 64) - 1)


def test_operations_on_constants_are_folded() -> None:
    builder = RecordingBuilder(1, 0)
    slot = builder.op("mul", builder.const(6), builder.op("sub", builder.const(9), builder.const(2)))
    assert builder.finish().definitions[slot] == Definition("const", value=42)


@given(a=st.integers(0, 1 << 40), to=st.sampled_from([1, 4, 64, 4096]))
def test_align_rounds_up(a: int, to: int) -> None:
    builder = RecordingBuilder(1, 1)
    slot = builder.align(0, to)
    assert builder.finish().evaluate([a])[slot] == -(-a // to) * to


def test_waves_are_separated_by_barriers_and_host_calls() -> None:
    assert _example().waves() == [[0, 1], [3], [4]]


def test_repeated_barriers_are_dropped() -> None:
    builder = RecordingBuilder(1, 0)
    builder.barrier()
    builder.host_call(0)
    builder.barrier()
    builder.barrier()
    assert len(builder.finish().commands) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b: b.dispatch(0, 0, (0, 0, 9), [], []),
        lambda b: b.dispatch(0, 0, (0, 0, -1), [], []),
        lambda b: b.dispatch(-1, 0, (0, 0, 0), [], []),
        lambda b: b.dispatch(0, 1 << 16, (0, 0, 0), [], []),
        lambda b: b.dispatch(0, 0, (0, 0, 0), [(0, "middle")], []),
        lambda b: b.dispatch(0, 0, (0, 0, 0), [(7, "lo")], []),
        lambda b: b.dispatch(0, 0, (0, 0, 0), [], [BindingRef(2, 0, 0)]),
        lambda b: b.dispatch(0, 0, (0, 0, 0), [], [BindingRef(0, 0, 5)]),
        lambda b: b.fill(BindingRef(0, 0, 0), b"abc"),
        lambda b: b.fill(BindingRef(-1, 0, 0), b"a"),
        lambda b: b.copy(BindingRef(0, 0, 0), BindingRef(0, 8, 0)),
        lambda b: b.host_call(0, [3]),
        lambda b: b.host_call(-2),
        lambda b: b.op("add", 0, 5),
        lambda b: b.op("pow", 0, 0),
        lambda b: b.export_param("x", 5),
        lambda b: (b.export_param("x", 0), b.export_param("x", 1)),
    ],
)
def test_builder_refuses_what_does_not_exist(wrong: object) -> None:
    builder = RecordingBuilder(2, 2)
    with pytest.raises(HalError, match="IREE-HAL-007"):
        wrong(builder)  # type: ignore[operator]
        builder.finish()


def test_a_recording_needs_the_arena_slot() -> None:
    with pytest.raises(HalError, match="IREE-HAL-007"):
        RecordingBuilder(0, 0).finish()


def test_example_round_trips() -> None:
    recording = _example()
    again = Recording.deserialize(memoryview(recording.serialize()))
    assert again == recording
    assert again.serialize() == recording.serialize()


@given(programs())
def test_programs_round_trip(case: tuple[Recording, list[int]]) -> None:
    recording, inputs = case
    again = Recording.deserialize(recording.serialize())
    assert again == recording
    assert again.evaluate(inputs) == recording.evaluate(inputs)


@settings(max_examples=30)
@given(commands())
def test_commands_round_trip(case: tuple[Recording, list[int]]) -> None:
    assert Recording.deserialize(case[0].serialize()) == case[0]


def test_newer_formats_are_refused_with_both_versions() -> None:
    data = bytearray(_example().serialize())
    for at, text in ((len(MAGIC), "2.0"), (len(MAGIC) + 2, "1.1")):
        changed = bytearray(data)
        changed[at] += 1
        with pytest.raises(HalError, match=rf"IREE-HAL-007.*{text}.*1\.0"):
            Recording.deserialize(changed)


def _reads(data: bytes) -> bool:
    """True when accepted; anything but the coded error escapes."""
    try:
        recording = Recording.deserialize(data)
    except HalError as error:
        assert error.code == "IREE-HAL-007"
        return False
    recording.validate()
    recording.waves()
    return True


def test_every_truncation_is_refused() -> None:
    data = _example().serialize()
    assert not any(_reads(data[:n]) for n in range(len(data)))
    assert not _reads(data + b"\0")


def test_bit_flips_are_refused_or_harmless() -> None:
    data = _example().serialize()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        _reads(bytes(changed))


def test_random_damage_is_refused_or_harmless() -> None:
    data = _example().serialize()
    rng = random.Random(7)
    for _ in range(500):
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 9)):
            start = rng.randrange(len(data))
            changed[start : start + 4] = rng.randbytes(min(4, len(data) - start))
        _reads(bytes(changed))


def test_wrap_is_twos_complement() -> None:
    assert [param_ops.wrap(v) for v in (1 << 63, -(1 << 63) - 1, (1 << 64) + 3)] == [
        -(1 << 63),
        (1 << 63) - 1,
        3,
    ]
