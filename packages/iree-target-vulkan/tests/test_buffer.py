"""Buffers: in the device's memory until the host looks; arrays keep the memory; constants stay outside."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from iree_hal.errors import HalError


@pytest.fixture
def hidden(device: Any) -> Any:
    """Storage that the host does not see, as on a device with memory of its own."""
    from iree_target_vulkan.logical_device import LogicalDevice

    logical = LogicalDevice(device.logical.physical)
    logical.memory.unified = False
    yield logical
    assert logical.memory.statistics.used_bytes == 0
    logical.close()


def test_contents_survive_the_move_to_the_host(hidden: Any) -> None:
    from iree_target_vulkan.buffer import VulkanBuffer, device_storage
    from iree_target_vulkan.transfer import upload

    data = np.random.default_rng(0).integers(0, 256, 100_001, np.uint8)
    storage = device_storage(hidden, data.nbytes)
    assert not storage.range.visible
    upload(hidden, data, storage.range)
    assert not storage.range.visible
    buffer = VulkanBuffer(storage, 0, data.nbytes)
    part = buffer.subspan(70_001, 100)
    assert bytes(part.map("r")) == data[70_001:70_101].tobytes()
    assert storage.range.visible
    part.map("w")[:] = bytes(100)
    assert not buffer.array[70_001:70_101].any()
    assert np.array_equal(buffer.array[:70_001], data[:70_001])
    del storage, buffer, part
    gc.collect()


def test_large_constants_are_streamed(hidden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from iree_target_vulkan import transfer
    from iree_target_vulkan.buffer import device_storage

    monkeypatch.setattr(transfer, "CHUNK_BYTES", 1000)
    data = np.random.default_rng(1).integers(0, 256, 12_345, np.uint8)
    storage = device_storage(hidden, data.nbytes)
    transfer.upload(hidden, data, storage.range)
    assert hidden.memory.statistics.peak_bytes < 3 * data.nbytes
    assert np.array_equal(storage.array(), data)
    del storage
    gc.collect()


def test_arrays_keep_the_memory(device: Any) -> None:
    from iree_target_vulkan.buffer import Storage, VulkanBuffer

    storage = Storage(device.logical, 1000, "readback")
    used = device.logical.memory.statistics.used_bytes
    array = VulkanBuffer(storage, 100, 200).array[10:20]
    del storage
    gc.collect()
    assert device.logical.memory.statistics.used_bytes == used
    array[:] = 7
    assert (array == 7).all()
    del array
    gc.collect()
    assert device.logical.memory.statistics.used_bytes < used


def test_constants_are_read_only_and_their_host_bytes_are_the_originals(device: Any) -> None:
    data = np.arange(1000, dtype=np.uint8)
    buffer = device.import_constants(data)
    assert buffer.readonly
    assert np.shares_memory(buffer.array, data)
    assert bytes(buffer.subspan(3, 4).map("r")) == data[3:7].tobytes()
    with pytest.raises(HalError, match="IREE-HAL-012"):
        buffer.map("w")


def test_a_closed_buffer_says_so(device: Any) -> None:
    buffer = device.allocator.allocate(10)
    device.allocator.release(buffer)
    for use in ("array", "row"):
        with pytest.raises(HalError, match="IREE-HAL-019"):
            getattr(buffer, use)
    with pytest.raises(HalError, match="IREE-HAL-019"):
        buffer.subspan(0, 0)
