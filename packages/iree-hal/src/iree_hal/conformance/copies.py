"""Copies: ranges of any offset and size between all kinds of memory, as commands and on the queue."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import TIMEOUT, Context, Recorder, contents
from iree_hal.errors import HalError
from iree_hal.fence import Fence

ODD = [(0, 0, 1), (1, 0, 1), (0, 1, 3), (5, 3, 7), (3, 5, 4093), (1, 2, 64), (64, 1, 65), (7, 7, 100_001)]
"""Source offset, target offset, length."""
KINDS = ["host to device", "device to host", "device to device", "through the arena"]
OUTSIDE = [(9, 0, 8), (0, 9, 8), (-1, 0, 4), (0, -1, 4), (0, 0, 17)]


def some_bytes(n: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, n, np.uint8)


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 65_537, 300_000])
def test_copy_moves_exactly_its_range(context: Context, length: int) -> None:
    recorder = Recorder(3, 0)
    recorder.copy(recorder.ref(1, length, 5), recorder.ref(2, length, 3))
    source = some_bytes(length + 5)
    out = np.zeros(length + 6, np.uint8)
    context.run(recorder.finish(), [source, out])
    assert np.array_equal(out[3 : 3 + length], source[5:])
    assert not out[:3].any()
    assert not out[3 + length :].any()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize(("start", "end", "length"), ODD)
def test_copy_between_kinds_of_memory(
    context: Context, kinds: str, start: int, end: int, length: int
) -> None:
    given, target = some_bytes(start + length + 2), np.full(end + length + 5, 0xEE, np.uint8)
    recorder = Recorder(3, 0)
    if kinds == "through the arena":
        recorder.export_param("arena_bytes", recorder.const(length + 9))
        recorder.copy(recorder.ref(1, length, start), recorder.ref(0, length, 9))
        recorder.barrier()
        recorder.copy(recorder.ref(0, length, 9), recorder.ref(2, length, end))
    else:
        recorder.copy(recorder.ref(1, length, start), recorder.ref(2, length, end))
    source: Any = context.buffer(given) if kinds.startswith("device") else given
    out: Any = context.buffer(target) if kinds.endswith("device") else target
    context.run(recorder.finish(), [source, out])
    found = contents(out) if isinstance(out, Buffer) else out
    assert np.array_equal(found[end : end + length], given[start : start + length])
    assert (found[:end] == 0xEE).all()
    assert (found[end + length :] == 0xEE).all()


@pytest.mark.parametrize(("start", "end", "length"), ODD)
def test_queue_copy(context: Context, start: int, end: int, length: int) -> None:
    given = some_bytes(start + length + 1)
    source, target = context.buffer(given), context.buffer(np.full(end + length + 3, 0xEE, np.uint8))
    done = Fence.create()
    context.device.queue_copy(source, start, target, end, length, signal=done)
    done.wait(TIMEOUT)
    found = contents(target)
    assert np.array_equal(found[end : end + length], given[start : start + length])
    assert (found[:end] == 0xEE).all()
    assert (found[end + length :] == 0xEE).all()


def test_queue_copy_between_wrapped_and_device_memory(context: Context) -> None:
    given, out = some_bytes(1001), np.zeros(1001, np.uint8)
    device_memory = context.device.allocator.allocate(1001)
    first, second = Fence.create(), Fence.create()
    context.device.queue_copy(Buffer.wrap(given), 0, device_memory, 0, 1001, signal=first)
    context.device.queue_copy(device_memory, 1, Buffer.wrap(out), 0, 1000, wait=first, signal=second)
    second.wait(TIMEOUT)
    assert np.array_equal(out[:1000], given[1:])
    assert out[1000] == 0


def test_copy_within_a_buffer(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.copy(recorder.ref(1, 100, 0), recorder.ref(1, 100, 101))
    given = some_bytes(201)
    out = context.buffer(given)
    context.run(recorder.finish(), [out])
    assert np.array_equal(contents(out), np.concatenate([given[:101], given[:100]]))


def test_random_copies(context: Context) -> None:
    generator = np.random.default_rng(11)
    n = 2003
    memory = [some_bytes(n, seed) for seed in range(3)]
    model = [block.copy() for block in memory]
    recorder = Recorder(4, 0)
    for _ in range(80):
        source, target = (int(v) for v in generator.permutation(3)[:2])
        start, end = (int(v) for v in generator.integers(0, n, 2))
        length = int(generator.integers(0, n - max(start, end) + 1))
        recorder.copy(recorder.ref(source + 1, length, start), recorder.ref(target + 1, length, end))
        recorder.barrier()
        model[target][end : end + length] = model[source][start : start + length]
    buffers = [context.buffer(block) for block in memory]
    context.run(recorder.finish(), buffers)
    assert all(np.array_equal(contents(b), m) for b, m in zip(buffers, model, strict=True))


def test_neighbouring_copies_of_a_wave_do_not_disturb_each_other(context: Context) -> None:
    pieces = [(0, 3), (3, 2), (5, 1), (6, 7), (13, 2), (15, 30), (45, 1), (46, 2)]
    recorder = Recorder(3, 0)
    for offset, length in pieces:
        recorder.copy(recorder.ref(1, length, offset + 1), recorder.ref(2, length, offset))
    command_buffer = context.command_buffer(recorder.finish())
    source = context.buffer(some_bytes(49))
    for _ in range(20):
        out = context.buffer(np.zeros(48, np.uint8))
        context.device.execute(command_buffer, [source, out])
        assert np.array_equal(contents(out), some_bytes(49)[1:])


def test_copy_lengths_must_agree(context: Context) -> None:
    recorder = Recorder(3, 0)
    recorder.copy(recorder.ref(1, 4), recorder.ref(2, 8))
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(recorder.finish(), [np.zeros(8, np.uint8), np.zeros(8, np.uint8)])


@pytest.mark.parametrize(("start", "end"), [(0, 4), (4, 0), (0, 0), (3, 10)])
def test_copy_must_not_overlap(context: Context, start: int, end: int) -> None:
    recorder = Recorder(2, 0)
    recorder.copy(recorder.ref(1, 8, start), recorder.ref(1, 8, end))
    with pytest.raises(HalError, match=r"IREE-HAL-0(09|25)"):
        context.run(recorder.finish(), [np.zeros(20, np.uint8)])
    buffer = context.device.allocator.allocate(20)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.device.queue_copy(buffer, start, buffer, end, 8)


@pytest.mark.parametrize(
    ("start", "end", "length"), [(9, 0, 8), (0, 9, 8), (-1, 0, 4), (0, -1, 4), (0, 0, 17)]
)
def test_copy_outside_of_its_buffers_is_refused(context: Context, start: int, end: int, length: int) -> None:
    recorder = Recorder(3, 0)
    recorder.copy(recorder.ref(1, length, start), recorder.ref(2, length, end))
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(recorder.finish(), [np.zeros(16, np.uint8), np.zeros(16, np.uint8)])
    source, target = context.device.allocator.allocate(16), context.device.allocator.allocate(16)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.device.queue_copy(source, start, target, end, length)


def test_copy_to_read_only_memory_is_refused(context: Context) -> None:
    recorder = Recorder(3, 0)
    recorder.copy(recorder.ref(1, 4), recorder.ref(2, 4))
    with pytest.raises(HalError, match="IREE-HAL-012"):
        context.run(recorder.finish(), [np.zeros(4, np.uint8), Buffer.wrap(bytes(4))])
