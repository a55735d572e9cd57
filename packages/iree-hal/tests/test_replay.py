"""Replay in Python: the same recordings give the same bytes as the native executor."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_hal.conformance.backend import Backend, Context, Recorder
from iree_hal.conformance.strategies import commands
from iree_hal.errors import HalError
from iree_hal.recording import Recording
from iree_hal.replay import Invocation, replay


@functools.cache
def _context(driver: str, verify: bool) -> Context:
    threads = {"threads": 3} if driver == "local-task" else {}
    return Context(Backend(driver, {**threads, "verify": verify}))


def _count(call: Invocation) -> None:
    assert len(call.bindings) == 1
    call.bindings[0].view(np.uint32)[: call.counts[0]] += 1


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("driver", ["local-sync", "local-task"])
@settings(max_examples=40, deadline=None)
@given(case=commands(), seed=st.integers(0, 1000))
def test_native_execution_equals_replay(
    driver: str, verify: bool, case: tuple[Recording, list[int]], seed: int
) -> None:
    recording, params = case
    rng = np.random.default_rng(seed)
    start = [rng.integers(0, 256, 4096, np.uint8) for _ in range(4)]
    want, got = [a.copy() for a in start], [a.copy() for a in start]
    replay(recording, [np.zeros(0, np.uint8), *want], params, _count)
    _context(driver, verify).run(recording, got, params)
    for slot, (a, b) in enumerate(zip(want, got, strict=True), 1):
        assert np.array_equal(a, b), slot


def test_replay_checks_ranges_and_counts() -> None:
    arena = np.zeros(0, np.uint8)
    recorder = Recorder(2, 0)
    recorder.call("count", (1, 1, 1), [recorder.ref(1, 8, 4)])
    with pytest.raises(HalError, match="IREE-HAL-009"):
        replay(recorder.finish(), [arena, np.zeros(8, np.uint8)], [], _count)
    recorder = Recorder(1, 0)
    recorder.call("spin", (1 << 16, 1 << 16, 1), [], [0])
    with pytest.raises(HalError, match="IREE-HAL-024"):
        replay(recorder.finish(), [arena], [], _count)
    with pytest.raises(HalError, match="IREE-HAL-008"):
        replay(recorder.finish(), [], [], _count)


def test_replay_hands_over_constants_and_host_calls() -> None:
    recorder = Recorder(1, 1)
    one = recorder.const(1)
    recorder.dispatch(0, 0, (one, one, one), [(0, "lo"), (0, "hi")], [])
    recorder.host_call(0, [0])
    seen: list[object] = []
    replay(
        recorder.finish(), [np.zeros(0, np.uint8)], [-2], lambda c: seen.append(c.constants), [seen.append]
    )
    assert seen == [(0xFFFFFFFE, 0xFFFFFFFF), -2]
