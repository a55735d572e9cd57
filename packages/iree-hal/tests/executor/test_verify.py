"""Self-checking runs: each kind of bug becomes its error, naming the command."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from iree_hal.conformance.backend import Backend, Context, Recorder, float_bits, ramp
from iree_hal.errors import HalError


@functools.cache
def _context() -> Context:
    return Context(Backend("local-task", {"threads": 2, "verify": True}))


@pytest.mark.parametrize("offset", [-1, -200, 16, 200])
def test_writing_beside_a_result_is_found(offset: int) -> None:
    recorder = Recorder(2, 0)
    recorder.call("spin", (1, 1, 1), [], [1])
    recorder.barrier()
    recorder.call("poke", (1, 1, 1), [recorder.ref(1, 16)], [offset & 0xFFFFFFFF])
    with pytest.raises(HalError, match=r"IREE-HAL-018.*slot 1.*\[at command 2 \(poke\)\]"):
        _context().run(recorder.finish(), [np.zeros(16, np.uint8)])


def test_writing_inside_a_result_is_fine() -> None:
    recorder = Recorder(2, 0)
    recorder.call("poke", (1, 1, 1), [recorder.ref(1, 16)], [15])
    out = np.zeros(16, np.uint8)
    _context().run(recorder.finish(), [out])
    assert out.tolist() == [0] * 15 + [7]


@pytest.mark.parametrize("offset", [-1, 64])
def test_writing_beside_the_arena_is_found(offset: int) -> None:
    recorder = Recorder(1, 0)
    recorder.export_param("arena_bytes", recorder.const(64))
    recorder.call("poke", (1, 1, 1), [recorder.ref(0, 64)], [offset & 0xFFFFFFFF])
    with pytest.raises(HalError, match=r"IREE-HAL-018.*arena.*poke"):
        _context().run(recorder.finish())


def test_writing_beside_an_allocated_buffer_is_found() -> None:
    recorder = Recorder(2, 0)
    recorder.call("poke", (1, 1, 1), [recorder.ref(1, 100)], [100])
    buffer = _context().device.allocator.allocate(100)
    with pytest.raises(HalError, match=r"IREE-HAL-018.*poke"):
        _context().run(recorder.finish(), [buffer])


def test_writing_to_what_is_only_read_is_found() -> None:
    # add's first input reaches over to the second through a lie about its range: poke writes slot 2's copy.
    context = _context()
    recorder = Recorder(3, 0)
    recorder.call("poke", (1, 1, 1), [recorder.ref(1, 4)], [0])
    recorder.call("scale", (1, 1, 1), [recorder.ref(2, 4), recorder.ref(1, 4, 4)], [float_bits(1.0)])
    recording = recorder.finish()
    command_buffer = context.command_buffer(recording)
    command_buffer.plan.written[2] = 0  # type: ignore[attr-defined]
    command_buffer.plan.written[1] = 0  # type: ignore[attr-defined]
    with pytest.raises(HalError, match=r"IREE-HAL-012.*slot 1"):
        context.device.execute(command_buffer, [ramp(2), ramp(1)])


def test_the_arena_starts_as_nan_every_time() -> None:
    context = _context()
    recorder = Recorder(2, 0)
    recorder.export_param("arena_bytes", recorder.const(64))
    recorder.call("scale", (4, 1, 1), [recorder.ref(0, 16), recorder.ref(1, 16)], [float_bits(1.0)])
    recorder.barrier()
    recorder.fill(recorder.ref(0, 64), b"\0")
    command_buffer = context.command_buffer(recorder.finish())
    for _ in range(3):
        out = np.zeros(4, np.float32)
        context.device.execute(command_buffer, [out])
        assert np.isnan(out).all()


def test_commands_that_race_are_found() -> None:
    recorder = Recorder(2, 0)
    recorder.fill(recorder.ref(1, 8), b"\1")
    recorder.fill(recorder.ref(1, 8, 4), b"\2")
    with pytest.raises(HalError, match=r"IREE-HAL-025.*commands 0 and 1 in slot 1, 4 bytes"):
        _context().run(recorder.finish(), [np.zeros(12, np.uint8)])


def test_commands_that_read_together_are_fine() -> None:
    recorder = Recorder(3, 0)
    source = recorder.ref(1, 8)
    recorder.copy(source, recorder.ref(2, 8))
    recorder.copy(source, recorder.ref(2, 8, 8))
    out = np.zeros(16, np.uint8)
    _context().run(recorder.finish(), [np.arange(8, dtype=np.uint8), out])
    assert out.tolist() == [*range(8), *range(8)]


def test_the_same_array_in_two_slots_is_a_hazard_when_written() -> None:
    recorder = Recorder(3, 0)
    recorder.call("scale", (2, 1, 1), [recorder.ref(1, 8), recorder.ref(2, 8)], [float_bits(2.0)])
    array = ramp(2)
    with pytest.raises(HalError, match="IREE-HAL-025"):
        _context().run(recorder.finish(), [array, array])


def test_tiles_are_shuffled_but_results_are_not() -> None:
    recorder = Recorder(2, 0)
    recorder.call("store_ids", (5, 4, 3), [recorder.ref(1, 720)], [5, 4])
    out = np.zeros((3, 4, 5, 3), np.uint32)
    _context().run(recorder.finish(), [out])
    assert out[2, 1, 4].tolist() == [4, 1, 2]


def test_the_environment_switches_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import iree_hal

    monkeypatch.setenv("IREE_VERIFY", "1")
    assert iree_hal.create_device("local-sync").verify  # type: ignore[attr-defined]
    assert not iree_hal.create_device("local-sync", verify=False).verify  # type: ignore[attr-defined]
