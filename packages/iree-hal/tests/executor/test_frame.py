"""Frames: native parameter programs, budgets, faults, reuse."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import Backend, Context, Recorder
from iree_hal.conformance.strategies import programs
from iree_hal.errors import HalError, KernelError
from iree_hal.executor import structs
from iree_hal.executor.faults import fault
from iree_hal.executor.frame import Frame
from iree_hal.executor.native import native
from iree_hal.executor.plan import Plan
from iree_hal.recording import Recording
from iree_hal.storage import aligned_bytes


@functools.cache
def _context() -> Context:
    return Context(Backend("local-sync", {"verify": False}))


@settings(max_examples=300)
@given(programs())
def test_native_program_equals_its_meaning(case: tuple[Recording, list[int]]) -> None:
    recording, inputs = case
    frame = Frame(Plan(recording, []), 0, 1)
    frame.params[: len(inputs)] = inputs
    native().evaluate(frame.pointer)
    assert frame.params.tolist() == recording.evaluate(inputs)


def _counting(tiles: int) -> Recording:
    recorder = Recorder(2, 0)
    ref = recorder.ref(1, 4 * tiles)
    for _ in range(3):
        recorder.call("count", (tiles, 1, 1), [ref])
        recorder.barrier()
    return recorder.finish()


def _bound(recording: Recording, *arrays: np.ndarray[tuple[int, ...], np.dtype[np.uint32]]) -> Frame:
    context = _context()
    frame: Frame = context.command_buffer(recording).new_frame()  # type: ignore[attr-defined]
    rows = [n for a in arrays for n in (a.ctypes.data, a.nbytes)]
    frame.pack(frame.view, frame.inputs_at, *rows)
    return frame


def test_a_run_out_of_budget_yields_and_goes_on() -> None:
    out = np.zeros(1000, np.uint32)
    frame = _bound(_counting(1000), out)
    frame.state.budget = 1
    yields = 0
    while (status := native().run(frame.pointer)) != structs.DONE:
        assert status == structs.YIELD
        yields += 1
    assert yields > 2
    assert (out == 3).all()


def test_stepping_yields_after_every_wave() -> None:
    out = np.zeros(10, np.uint32)
    frame = _bound(_counting(10), out)
    frame.state.flags = structs.FLAG_STEP
    seen = []
    while native().run(frame.pointer) != structs.DONE:
        seen.append(int(out[0]))
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("tiles", [1, 2, 7, 64, 1000, 99_991])
def test_shuffled_tiles_run_once_each(tiles: int, seed: int) -> None:
    out = np.zeros(tiles, np.uint32)
    frame = _bound(_counting(tiles), out)
    frame.state.flags, frame.state.seed = structs.FLAG_SHUFFLE, seed
    assert native().run(frame.pointer) == structs.DONE
    assert (out == 3).all()


def test_a_frame_runs_again_after_done_and_error() -> None:
    out = np.zeros(10, np.uint32)
    frame = _bound(_counting(10), out)
    for _ in range(3):
        assert native().run(frame.pointer) == structs.DONE
    frame.pack(frame.view, frame.inputs_at, out.ctypes.data, 4)
    assert native().run(frame.pointer) == structs.ERROR
    assert frame.error().code == "IREE-HAL-009"
    frame.pack(frame.view, frame.inputs_at, out.ctypes.data, 40)
    assert native().run(frame.pointer) == structs.DONE
    assert (out == 12).all()


def test_a_small_arena_is_asked_for() -> None:
    recorder = Recorder(1, 0)
    recorder.export_param("arena_bytes", recorder.const(100))
    frame = _bound(recorder.finish())
    assert native().run(frame.pointer) == structs.GROW
    frame.set_arena(Buffer(aligned_bytes(128)))
    assert native().run(frame.pointer) == structs.DONE


def test_the_first_of_several_errors_by_command_wins() -> None:
    recorder = Recorder(1, 0)
    for limit in (5, 0, 3):
        recorder.call("check_index", (100, 1, 1), [], [limit])
    frame = _bound(recorder.finish())
    assert native().run(frame.pointer) == structs.ERROR
    error = frame.error()
    assert isinstance(error, KernelError)
    assert error.command_index == 0


@pytest.mark.parametrize("code", [structs.FAULT_RANGE, structs.FAULT_ALIGN, structs.FAULT_COUNT])
def test_faults_name_their_command(code: int) -> None:
    recorder = Recorder(1, 0)
    recorder.call("spin", (1, 1, 1), [], [0])
    plan = _context().command_buffer(recorder.finish()).plan  # type: ignore[attr-defined]
    error = fault(plan, 0 << 32 | (code & 0xFFFFFFFF), 3)
    assert isinstance(error, HalError)
    assert "command 0 ('spin')" in str(error)


def test_every_executor_fault_has_a_text() -> None:
    from iree_hal.executor.faults import _FAULTS

    assert set(_FAULTS) == {v for k, v in vars(structs).items() if k.startswith("FAULT_")}


def test_free_list_is_bounded() -> None:
    context = _context()
    command_buffer = context.command_buffer(_counting(4))
    out = np.zeros(4, np.uint32)
    for _ in range(20):
        context.device.execute(command_buffer, [out])
    assert len(command_buffer.frames) == 1  # type: ignore[attr-defined]
