"""Fills and copies: every byte of the range and no other, whatever the offsets; valid SPIR-V."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 100, 4095, 4096, 4111, 20_000]


@pytest.mark.parametrize("name", ["fill_words", "fill_wide", "copy_words", "copy_wide"])
def test_kernels_are_valid(device: Any, validate: Callable[[bytes], None], name: str) -> None:
    from iree_target_vulkan.builtin_kernels import KERNELS

    validate(KERNELS[name][0]())


def memory(device: Any, nbytes: int, seed: int) -> Any:
    from iree_target_vulkan.buffer import Storage

    storage = Storage(device.logical, nbytes, "readback")
    storage.array()[:] = np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
    return storage


@pytest.mark.parametrize("size", SIZES)
def test_copies(device: Any, size: int) -> None:
    from iree_target_vulkan.transfer import copy_now

    rng = np.random.default_rng(size)
    source, target = memory(device, 24_000, 1), memory(device, 24_000, 2)
    for _ in range(6):
        start, to = (int(n) for n in rng.integers(0, 70, 2))
        if rng.random() < 0.5:
            to = start % 16 + 16 * int(rng.integers(0, 4))
        want = target.array().copy()
        want[to : to + size] = source.array()[start : start + size]
        copy_now(device.logical, source.range, start, target.range, to, size)
        assert np.array_equal(target.array(), want)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pattern", [b"\x07", b"\x01\x02", b"\x01\x02\x03\x04"])
def test_fills(device: Any, size: int, pattern: bytes) -> None:
    from iree_target_vulkan.transfer import fill_now

    rng = np.random.default_rng(size)
    target = memory(device, 24_000, 3)
    for _ in range(4):
        start = int(rng.integers(0, 70))
        want = target.array().copy()
        want[start : start + size] = np.resize(np.frombuffer(pattern, np.uint8), size)
        fill_now(device.logical, target.range, start, size, pattern)
        assert np.array_equal(target.array(), want)


def test_neighbours_in_one_word_do_not_disturb_each_other(device: Any) -> None:
    from iree_target_vulkan.command_writer import CommandWriter, Span

    target = memory(device, 4096, 4)
    writer = CommandWriter(device.logical)
    try:
        writer.begin()
        for i in range(1024):
            writer.fill(Span(target.range, 2 * i, 2), bytes([i % 251]))
            writer.barrier()
        writer.to_host()
        writer.end()
        device.logical.wait(writer.submit())
    finally:
        writer.close()
    assert np.array_equal(target.array()[:2048], np.repeat(np.arange(1024) % 251, 2))


@pytest.mark.parametrize("limit", [1 << 16, 1 << 20])
def test_long_ranges_are_done_in_pieces_that_bindings_allow(device: Any, limit: int) -> None:
    from iree_target_vulkan.builtin_kernels import copies, fills

    for source, target, length in ((0, 0, 3 << 20), (5, 7, 3 << 20), (16, 48, (3 << 20) + 5)):
        seen = 0
        for each in copies(source, target, length, 64, limit):
            assert all(offset % 64 == 0 and span <= limit for _, offset, span in each.bindings)
            seen += 1
        assert seen >= length // limit
        assert all(b[2] <= limit for each in fills(target, length, b"\0", 64, limit) for b in each.bindings)


@pytest.mark.parametrize("n", [1, 255, 256, 257, 65_535 * 256, 65_535 * 256 + 1, 1 << 31])
def test_grids_are_folded_under_the_limit(device: Any, n: int) -> None:
    from iree_target_vulkan.builtin_kernels import WORKGROUP, grid

    x, y, z = grid(n, 65_535)
    assert max(x, y, z) <= 65_535
    assert n <= x * y * z * WORKGROUP < n + WORKGROUP * (x + 1)
