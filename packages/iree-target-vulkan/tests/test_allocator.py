"""The allocator beyond the conformance suite: limits, reuse of the same place, where memory is short."""

from __future__ import annotations

from typing import Any

import pytest

from iree_hal.errors import HalError
from iree_target_vulkan.errors import VulkanError


def allocator(device: Any, **options: Any) -> Any:
    from iree_target_vulkan.allocator import VulkanAllocator

    return VulkanAllocator(device.logical, **options)


def test_the_limit_is_a_coded_error(device: Any) -> None:
    bounded = allocator(device, limit_bytes=10_000)
    first = bounded.allocate(8_000)
    with pytest.raises(HalError, match=r"IREE-HAL-011.*of 10000 allowed"):
        bounded.allocate(8_000)
    bounded.release(first)
    assert bounded.allocate(8_000).nbytes == 8_000


def test_the_next_buffer_of_a_size_is_in_the_same_place(device: Any) -> None:
    own = allocator(device)
    first = own.allocate(5_000)
    place = (first.storage.range.block.serial, first.storage.range.offset)
    own.release(first)
    other = own.allocate(9_000)
    second = own.allocate(5_000)
    assert (second.storage.range.block.serial, second.storage.range.offset) == place
    assert own.statistics.reused == 1
    own.release(other)
    own.release(second)
    own.trim()


def test_scalars_are_where_the_host_sees_them(device: Any) -> None:
    own = allocator(device)
    assert own.allocate(8).storage.range.block.kind == "readback"
    large = own.allocate(1 << 16)
    assert large.storage.range.block.kind == "device"
    assert large.array.nbytes == 1 << 16


def test_failed_allocations_leave_no_trace(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = allocator(device)

    def fails(*arguments: Any) -> Any:
        raise HalError(11, "on purpose")

    monkeypatch.setattr("iree_target_vulkan.allocator.Storage", fails)
    with pytest.raises(HalError, match="on purpose"):
        own.allocate(100)
    assert own.statistics.live_bytes == 0


def test_buffers_of_other_origin_are_only_closed(device: Any) -> None:
    from iree_hal.buffer import Buffer

    foreign = Buffer.wrap(bytearray(10))
    allocator(device).release(foreign)
    with pytest.raises(HalError, match="IREE-HAL-019"):
        foreign.map("r")


def test_codes_of_the_runtime_end_a_command_with_its_status() -> None:
    assert VulkanError(22).status == 3
    assert VulkanError(20).status == 4
