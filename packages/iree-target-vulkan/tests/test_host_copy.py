"""Copies by several threads: the same bytes as by one."""

from __future__ import annotations

import numpy as np
import pytest

from iree_target_vulkan.host_copy import MAX_THREADS, PART_BYTES, copy_bytes, n_threads


@pytest.mark.parametrize("threads", [None, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "size", [0, 1, PART_BYTES, 2 * PART_BYTES - 1, 2 * PART_BYTES, 5 * PART_BYTES + 4097]
)
def test_every_byte_arrives(threads: int | None, size: int) -> None:
    source = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    source.flags.writeable = False
    target = np.full(size + 16, 0xEE, np.uint8)
    copy_bytes(target[8 : 8 + size], source, threads)
    assert np.array_equal(target[8 : 8 + size], source)
    assert (target[:8] == 0xEE).all()
    assert (target[8 + size :] == 0xEE).all()


def test_threads_are_bounded() -> None:
    assert 1 <= n_threads() <= MAX_THREADS
