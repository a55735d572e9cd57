"""Bindings: many of them, of every kind of memory, parts of buffers, one buffer several times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import Context, Recorder, add_recording, contents, ramp, words
from iree_hal.errors import HalError


def test_nine_bindings(context: Context) -> None:
    n = 100
    recorder = Recorder(10, 0)
    recorder.call("sum_of_8", (n, 1, 1), [recorder.ref(slot, 4 * n) for slot in range(1, 10)])
    given = [words(n, seed) for seed in range(8)]
    out = np.zeros(n, np.uint32)
    context.run(recorder.finish(), [*given, out])
    assert np.array_equal(out, np.sum(given, axis=0, dtype=np.uint32))


def test_one_buffer_may_be_read_through_many_bindings(context: Context) -> None:
    n = 100
    recorder = Recorder(3, 0)
    recorder.call("sum_of_8", (n, 1, 1), [*[recorder.ref(1, 4 * n)] * 8, recorder.ref(2, 4 * n)])
    given = words(n)
    for source in (given, context.buffer(given)):
        out = np.zeros(n, np.uint32)
        context.run(recorder.finish(), [source, out])
        assert np.array_equal(out, given * np.uint32(8))


def test_one_object_may_stand_in_several_rows(context: Context) -> None:
    given, out = context.buffer(ramp(100)), np.full(100, np.nan, np.float32)
    context.run(add_recording(100), [given, given, out])
    assert np.array_equal(out, 2 * ramp(100))
    array = ramp(100)
    context.run(add_recording(100), [array, array, out])
    assert np.array_equal(out, 2 * ramp(100))


def test_bindings_are_parts_of_buffers(context: Context) -> None:
    n, step = 50, 512
    recorder = Recorder(3, 0)
    inputs = [recorder.ref(1, 4 * n, step * (7 - i)) for i in range(8)]
    recorder.call("sum_of_8", (n, 1, 1), [*inputs, recorder.ref(2, 4 * n, step)])
    given = words(8 * step // 4)
    want = np.sum([given[step // 4 * i : step // 4 * i + n] for i in range(8)], axis=0, dtype=np.uint32)
    for wrap in (lambda array: array, context.buffer):
        out = np.full(3 * step, 0xEE, np.uint8)
        target = wrap(out)
        context.run(recorder.finish(), [wrap(given), target])
        found = contents(target) if isinstance(target, Buffer) else out
        assert np.array_equal(found[step : step + 4 * n].view(np.uint32), want)
        assert (found[:step] == 0xEE).all()
        assert (found[step + 4 * n :] == 0xEE).all()


@pytest.mark.parametrize("multiple", [1, 2, 3, 5])
def test_offsets_are_multiples_of_the_kernels_alignment(context: Context, multiple: int) -> None:
    n = 33
    offset = multiple * context.alignment("reverse")
    offset += -offset % 4
    recorder = Recorder(3, 0)
    recorder.call("reverse", (n, 1, 1), [recorder.ref(1, 4 * n, offset), recorder.ref(2, 4 * n, offset)], [n])
    given = words(offset // 4 + n)
    for source in (given, context.buffer(given)):
        out = context.buffer(np.zeros(offset // 4 + n, np.uint32))
        context.run(recorder.finish(), [source, out])
        assert np.array_equal(contents(out, np.uint32)[offset // 4 :], given[: offset // 4 - 1 : -1] + 1)
        assert not contents(out)[:offset].any()


def test_a_binding_may_end_with_its_buffer(context: Context) -> None:
    n = 1001
    recorder = Recorder(3, 0)
    recorder.call("reverse", (n, 1, 1), [recorder.ref(1, 4 * n), recorder.ref(2, 4 * n)], [n])
    source, out = context.buffer(words(n)), context.buffer(np.zeros(n, np.uint32))
    context.run(recorder.finish(), [source, out])
    assert np.array_equal(contents(out, np.uint32), words(n)[::-1] + 1)


def test_kinds_of_memory_mix(context: Context) -> None:
    makers: dict[str, Callable[[Any], Any]] = {"h": lambda a: a, "b": context.buffer, "w": Buffer.wrap}
    for kinds in ("hbw", "bwh", "whb", "bbh", "hhb"):
        arrays = [ramp(100), 10 * ramp(100), np.zeros(100, np.float32)]
        rows = [makers[kind](array) for kind, array in zip(kinds, arrays, strict=True)]
        context.run(add_recording(100), rows)
        out = contents(rows[2], np.float32) if kinds[2] == "b" else arrays[2]
        assert np.array_equal(out, 11 * ramp(100)), kinds


def test_buffers_of_zero_bytes_are_bindings(context: Context) -> None:
    empty = np.zeros(0, np.float32)
    context.run(add_recording(0), [empty, context.buffer(empty), Buffer.wrap(empty)])


def test_read_only_inputs_stay_as_they_are(context: Context) -> None:
    first, second, out = ramp(100), context.buffer(ramp(100)), np.full(100, np.nan, np.float32)
    context.run(add_recording(100), [first, second, out])
    assert np.array_equal(first, ramp(100))
    assert np.array_equal(contents(second, np.float32), ramp(100))


def test_read_write_bindings_keep_what_kernels_leave(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.call("count", (10, 1, 1), [recorder.ref(1, 400)])
    for target in (words(100), context.buffer(words(100))):
        context.run(recorder.finish(), [target])
        found = contents(target, np.uint32) if isinstance(target, Buffer) else target
        assert np.array_equal(found[:10], words(100)[:10] + 1)
        assert np.array_equal(found[10:], words(100)[10:])


def test_short_buffers_are_refused_before_anything_runs(context: Context) -> None:
    recorder = Recorder(3, 0)
    recorder.call("count", (1, 1, 1), [recorder.ref(1, 4)])
    recorder.barrier()
    recorder.call("count", (1, 1, 1), [recorder.ref(2, 8)])
    out = np.zeros(1, np.uint32)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(recorder.finish(), [out, np.zeros(1, np.uint32)])
