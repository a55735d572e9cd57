"""Fills: patterns of 1, 2 and 4 bytes over ranges of any offset and size, as commands and on the queue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_hal.buffer import Buffer
from iree_hal.conformance.backend import TIMEOUT, Context, Recorder, contents
from iree_hal.errors import HalError
from iree_hal.fence import Fence
from iree_hal.recording import BindingRef

PATTERNS = [b"\x05", b"\x01\x02", b"\x01\x02\x03\x04"]
RANGES = [(0, 0), (0, 1), (1, 1), (3, 7), (2, 2), (1, 4096), (5, 4093), (64, 64), (0, 200_003)]


def expected(nbytes: int, offset: int, length: int, pattern: bytes) -> bytes:
    """Zeros with the pattern repeated from ``offset``, cut off at ``length``."""
    filled = (pattern * (length // len(pattern) + 1))[:length]
    return bytes(offset) + filled + bytes(nbytes - offset - length)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("offset", "length"), RANGES)
def test_fill_repeats_its_pattern(context: Context, pattern: bytes, offset: int, length: int) -> None:
    recorder = Recorder(2, 0)
    recorder.fill(recorder.ref(1, length, offset), pattern)
    out = np.zeros(offset + length + 8, np.uint8)
    context.run(recorder.finish(), [out])
    assert bytes(out) == expected(out.size, offset, length, pattern)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("offset", "length"), RANGES)
def test_fill_of_a_device_buffer(context: Context, pattern: bytes, offset: int, length: int) -> None:
    recorder = Recorder(2, 0)
    recorder.fill(recorder.ref(1, length, offset), pattern)
    out = context.buffer(np.zeros(offset + length + 9, np.uint8))
    context.run(recorder.finish(), [out])
    assert bytes(contents(out)) == expected(out.nbytes, offset, length, pattern)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("offset", "length"), RANGES)
def test_queue_fill(context: Context, pattern: bytes, offset: int, length: int) -> None:
    out = context.buffer(np.zeros(offset + length + 7, np.uint8))
    done = Fence.create()
    context.device.queue_fill(out, offset, length, pattern, signal=done)
    done.wait(TIMEOUT)
    assert bytes(contents(out)) == expected(out.nbytes, offset, length, pattern)


def test_random_fills(context: Context) -> None:
    generator = np.random.default_rng(3)
    n = 3001
    want = np.zeros(n, np.uint8)
    recorder = Recorder(2, 0)
    for _ in range(60):
        offset = int(generator.integers(0, n))
        length = int(generator.integers(0, n - offset + 1))
        pattern = generator.bytes(int(generator.choice([1, 2, 4])))
        recorder.fill(recorder.ref(1, length, offset), pattern)
        recorder.barrier()
        want[offset : offset + length] = np.frombuffer(
            (pattern * (length // len(pattern) + 1))[:length], np.uint8
        )
    recording = recorder.finish()
    targets: list[Any] = [np.zeros(n, np.uint8), context.buffer(np.zeros(n, np.uint8))]
    for target in targets:
        context.run(recording, [target])
        found = contents(target) if isinstance(target, Buffer) else target
        assert np.array_equal(found, want)


def test_neighbouring_fills_of_a_wave_do_not_disturb_each_other(context: Context) -> None:
    """Ranges that share a word: a device that fills whole words would lose bytes."""
    pieces = [(0, 3), (3, 2), (5, 1), (6, 7), (13, 2), (15, 30), (45, 1), (46, 2)]
    recorder = Recorder(2, 0)
    for number, (offset, length) in enumerate(pieces, 1):
        recorder.fill(recorder.ref(1, length, offset), bytes([number]))
    want = b"".join(bytes([number]) * length for number, (_, length) in enumerate(pieces, 1))
    command_buffer = context.command_buffer(recorder.finish())
    for _ in range(20):
        out = context.buffer(np.zeros(len(want), np.uint8))
        context.device.execute(command_buffer, [out])
        assert bytes(contents(out)) == want


def test_fill_follows_the_parameters(context: Context) -> None:
    recorder = Recorder(2, 2)
    recorder.fill(BindingRef(1, 0, 1), b"\x01\x02\x03\x04")
    command_buffer = context.command_buffer(recorder.finish())
    for offset, length in ((0, 10), (3, 5), (10, 0), (1, 9)):
        out = np.zeros(10, np.uint8)
        context.device.execute(command_buffer, [out], [offset, length])
        assert bytes(out) == expected(10, offset, length, b"\x01\x02\x03\x04")


@pytest.mark.parametrize(("offset", "length"), [(0, 17), (16, 1), (-4, 4), (0, -1), (1 << 62, 1 << 62)])
def test_fill_outside_of_its_buffer_is_refused(context: Context, offset: int, length: int) -> None:
    recorder = Recorder(2, 0)
    recorder.fill(recorder.ref(1, length, offset), b"\1")
    out = np.zeros(16, np.uint8)
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.run(recorder.finish(), [out])
    with pytest.raises(HalError, match="IREE-HAL-009"):
        context.device.queue_fill(context.device.allocator.allocate(16), offset, length, b"\1")


@pytest.mark.parametrize("pattern", [b"", b"abc", b"abcde", b"abcdefgh"])
def test_fill_patterns_of_other_widths_are_refused(context: Context, pattern: bytes) -> None:
    recorder = Recorder(2, 0)
    recorder.fill(recorder.ref(1, 8), pattern)
    with pytest.raises(HalError, match="IREE-HAL-007"):
        recorder.finish()
    with pytest.raises(HalError, match="IREE-HAL-008"):
        context.device.queue_fill(context.device.allocator.allocate(8), 0, 8, pattern)


def test_fill_of_read_only_memory_is_refused(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.fill(recorder.ref(1, 4), b"\1")
    with pytest.raises(HalError, match="IREE-HAL-012"):
        context.run(recorder.finish(), [Buffer.wrap(bytes(4))])
