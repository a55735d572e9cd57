"""Constants of dispatches: none to many words (below and above 64 bytes), from literals and parameters."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.conformance import kernels
from iree_hal.conformance.backend import Context, Recorder, words


@pytest.mark.parametrize("n", kernels.CONSTANT_COUNTS)
def test_constants_reach_the_kernel(context: Context, n: int) -> None:
    values = [int(v) for v in words(n, seed=n)]
    recorder = Recorder(2, 0)
    recorder.call(f"constants_{n}", (1, 1, 1), [recorder.ref(1, 4 * n + 4)], values)
    out = np.zeros(n + 1, np.uint32)
    context.run(recorder.finish(), [out])
    assert out.tolist() == [*values, n]


@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_constants_keep_every_bit(context: Context, value: int) -> None:
    recorder = Recorder(2, 0)
    recorder.call("store_constants", (1, 1, 1), [recorder.ref(1, 8)], [value, value ^ 0xFFFFFFFF])
    out = np.zeros(2, np.uint32)
    context.run(recorder.finish(), [out])
    assert out.tolist() == [value, value ^ 0xFFFFFFFF]


def test_each_dispatch_has_its_own_constants(context: Context) -> None:
    counts = (*kernels.CONSTANT_COUNTS, 40, 17, 1, 40)
    recorder = Recorder(len(counts) + 1, 0)
    given = [[int(v) for v in words(n, seed=i)] for i, n in enumerate(counts)]
    for slot, (n, values) in enumerate(zip(counts, given, strict=True), 1):
        recorder.call(f"constants_{n}", (1, 1, 1), [recorder.ref(slot, 4 * n + 4)], values)
        if slot % 3 == 0:
            recorder.barrier()
    outs = [np.zeros(n + 1, np.uint32) for n in counts]
    context.run(recorder.finish(), outs)
    assert [out.tolist() for out in outs] == [[*values, n] for n, values in zip(counts, given, strict=True)]


@pytest.mark.parametrize("n", [1, 17, 40])
def test_constants_follow_the_parameters(context: Context, n: int) -> None:
    recorder = Recorder(2, 1)
    one = recorder.const(1)
    slots = [recorder.op("add", 0, recorder.const(i)) for i in range(n)]
    constants = [(slot, "lo") for slot in slots]
    ordinal = kernels.ORDINALS[f"constants_{n}"]
    recorder.dispatch(0, ordinal, (one, one, one), constants, [recorder.ref(1, 4 * n + 4)])
    command_buffer = context.command_buffer(recorder.finish())
    for start in (0, 1000, 7, 1000):
        out = np.zeros(n + 1, np.uint32)
        context.device.execute(command_buffer, [out], [start])
        assert out.tolist() == [*range(start, start + n), n]


def test_constants_are_halves_of_parameters(context: Context) -> None:
    recorder = Recorder(2, 1)
    one = recorder.const(1)
    recorder.dispatch(
        0, kernels.ORDINALS["store_constants"], (one, one, one), [(0, "lo"), (0, "hi")], [recorder.ref(1, 8)]
    )
    command_buffer = context.command_buffer(recorder.finish())
    for value in (0, 1, -1, 1 << 40, -(1 << 63), 0x123456789ABCDEF):
        out = np.zeros(1, np.int64)
        context.device.execute(command_buffer, [out], [value])
        assert out[0] == value
