"""The allocator: buffers from the device's memory pool, with the HAL's statistics and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_hal.allocator import POOL_BYTES, Allocator
from iree_hal.errors import HalError
from iree_hal.storage import Bytes
from iree_target_vulkan.buffer import Storage, VulkanBuffer
from iree_target_vulkan.memory import DEVICE, READBACK

if TYPE_CHECKING:
    from iree_target_vulkan.logical_device import LogicalDevice

SCALAR_BYTES = 256
"""Buffers up to this are in memory that the host sees: reading one back needs no copy, and no submission."""


class VulkanAllocator(Allocator):
    """Thread-safe. Released memory is kept per size, so that the next buffer of the size is in the same place
    and what was recorded for it fits again. With ``verify`` buffers lie between guards and start poisoned.
    """

    def __init__(
        self,
        device: LogicalDevice,
        *,
        pool_bytes: int = POOL_BYTES,
        limit_bytes: int | None = None,
        verify: bool = False,
    ) -> None:
        super().__init__(pool_bytes=pool_bytes, limit_bytes=limit_bytes, verify=verify)
        self._device = device

    def _kind(self, size: int) -> str:
        """Where a fresh buffer lives: scalars that the host will read are where it sees them."""
        return READBACK if size <= SCALAR_BYTES else DEVICE

    def _block(self, size: int) -> Storage:
        try:
            return Storage(self._device, size, self._kind(size))
        except HalError:
            self.trim()
            return Storage(self._device, size, self._kind(size))

    def _view(self, block: Storage) -> Bytes:
        return block.array()

    def _buffer(self, block: Storage, offset: int, nbytes: int) -> VulkanBuffer:
        return VulkanBuffer(block, offset, nbytes)

    def _reusable(self, block: Storage) -> bool:
        """What has moved to the host's memory is not what the next buffer should start with, unless its
        guards, which the host writes, would move it there at once."""
        return self.verify or block.range.block.kind == self._kind(block.nbytes)

    def trim(self) -> None:
        """Give all pooled memory back to the system."""
        super().trim()
        self._device.memory.trim()
