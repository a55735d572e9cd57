"""The memory pool: ranges never overlap, are aligned, merge when freed; types are chosen for their use."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from iree_hal.errors import HalError

LOCAL, VISIBLE, COHERENT, CACHED = 1, 2, 4, 8


def types(*flags: tuple[int, int, int]) -> Any:
    from iree_target_vulkan.physical_device import MemoryType

    return [MemoryType(i, f, heap, mib << 20) for i, (f, heap, mib) in enumerate(flags)]


def chosen(*flags: tuple[int, int, int]) -> dict[str, int]:
    from iree_target_vulkan.memory import choose_types

    return {kind: type.index for kind, type in choose_types(types(*flags)).items()}


def test_one_type_where_the_memory_is_the_hosts(device: Any) -> None:
    assert chosen((15, 0, 2048)) == {"device": 0, "shared": 0, "upload": 0, "readback": 0}
    assert set(chosen((1, 0, 2048), (15, 0, 2048)).values()) == {1}


def test_a_discrete_device_with_a_large_window(device: Any) -> None:
    found = chosen((0, 1, 96665), (1, 0, 81559), (6, 1, 96665), (14, 1, 96665), (7, 0, 81559))
    assert found == {"device": 1, "shared": 4, "upload": 2, "readback": 3}


def test_a_small_window_is_left_alone(device: Any) -> None:
    found = chosen((1, 0, 8192), (6, 1, 16384), (14, 1, 16384), (7, 2, 246))
    assert found == {"device": 0, "shared": 1, "upload": 1, "readback": 2}


def test_special_types_are_avoided(device: Any) -> None:
    lazily, protected = 16 | LOCAL, 32 | LOCAL
    assert chosen((lazily, 0, 8192), (protected, 0, 8192), (1, 0, 8192), (6, 1, 999))["device"] == 2


def test_ranges_are_disjoint_and_merge_again(device: Any) -> None:
    from iree_target_vulkan.memory import ALIGNMENT, MemoryPool

    pool = MemoryPool(device.logical)
    rng = random.Random(0)
    live: list[Any] = []
    for _ in range(600):
        if live and rng.random() < 0.45:
            pool.free(live.pop(rng.randrange(len(live))))
        else:
            size = rng.choice([0, 1, 255, 256, 257, 5000, 1 << 20, 9 << 20])
            live.append(pool.allocate(rng.choice(["device", "upload", "readback"]), size))
        spans = sorted((r.block.serial, r.offset, r.offset + r.reserved) for r in live)
        for (a, _, end), (b, start, _) in itertools.pairwise(spans):
            assert a != b or end <= start
        assert all(r.offset % ALIGNMENT == 0 and r.nbytes <= r.reserved for r in live)
        assert pool.statistics.used_bytes == sum(r.reserved for r in live)
    for each in live:
        pool.free(each)
    assert pool.statistics.used_bytes == 0
    pool.trim()
    assert pool.statistics.block_bytes == 0


def test_freed_memory_is_used_again_without_the_driver(device: Any) -> None:
    pool = device.logical.memory
    pool.free(pool.allocate("device", 40 << 20))
    before = pool.statistics.allocations
    for _ in range(5):
        pool.free(pool.allocate("device", 40 << 20))
    assert pool.statistics.allocations == before


def test_too_much_is_a_coded_error(device: Any) -> None:
    pool = device.logical.memory
    with pytest.raises(HalError, match=r"IREE-HAL-011.*device memory.*allows"):
        pool.allocate("device", 1 << 60)
    before = pool.statistics.used_bytes
    pool.free(pool.allocate("device", 100))
    assert pool.statistics.used_bytes == before
