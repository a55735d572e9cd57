"""The allocator: buffers from the device's memory pool, with the HAL's statistics and limits."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from iree_hal.allocator import GUARD_BYTES, GUARD_VALUE, POISON, POOL_BYTES, Allocator, check_guards
from iree_hal.errors import OUT_OF_MEMORY, HalError
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
        self._kept: dict[int, list[Storage]] = {}
        self._owned: weakref.WeakKeyDictionary[VulkanBuffer, tuple[Storage, Any]]
        self._owned = weakref.WeakKeyDictionary()

    def allocate(self, nbytes: int) -> VulkanBuffer:
        """A buffer of ``nbytes`` undefined bytes at a multiple of 64. Raises HalError OUT_OF_MEMORY."""
        if nbytes < 0:
            raise HalError(OUT_OF_MEMORY, f"an allocation of {nbytes} bytes")
        guard = GUARD_BYTES if self.verify else 0
        size = -(-max(nbytes, 1) // 64) * 64 + 2 * guard
        statistics = self.statistics
        with self._lock:
            if self.limit_bytes is not None and statistics.live_bytes + size > self.limit_bytes:
                raise HalError(
                    OUT_OF_MEMORY,
                    f"{nbytes} bytes",
                    cause=f"{statistics.live_bytes} of {self.limit_bytes} allowed bytes are in use",
                )
            kept = self._kept.get(size)
            storage = kept.pop() if kept else None
            if storage is not None:
                statistics.pooled_bytes -= size
                statistics.reused += 1
            statistics.live_bytes += size
            statistics.allocations += 1
            statistics.peak_bytes = max(statistics.peak_bytes, statistics.live_bytes)
        try:
            storage = storage or self._storage(size)
        except HalError:
            self._forget(size)
            raise
        buffer = VulkanBuffer(storage, guard, nbytes)
        finalizer = weakref.finalize(buffer, self._forget, size)
        finalizer.atexit = False
        if guard:
            block = storage.array()
            block[:] = GUARD_VALUE
            block[guard : guard + nbytes] = POISON
            buffer.guards = (block[:guard], block[guard + nbytes :])
        with self._lock:
            self._owned[buffer] = (storage, finalizer)
        return buffer

    def _kind(self, size: int) -> str:
        """Where a fresh buffer lives: scalars that the host will read are where it sees them."""
        return READBACK if size <= SCALAR_BYTES else DEVICE

    def _storage(self, size: int) -> Storage:
        try:
            return Storage(self._device, size, self._kind(size))
        except HalError:
            self.trim()
            return Storage(self._device, size, self._kind(size))

    def release(self, buffer: object) -> None:
        """Take the buffer's memory back and close it. Raises HalError REDZONE."""
        if not isinstance(buffer, VulkanBuffer):
            super().release(buffer)  # type: ignore[arg-type]
            return
        with self._lock:
            storage, finalizer = self._owned.pop(buffer, (None, None))
        check_guards(buffer, "an allocated buffer")
        buffer.close()
        if storage is None or finalizer is None or finalizer.detach() is None:
            return
        size = storage.nbytes
        with self._lock:
            self.statistics.live_bytes -= size
            # What has moved to the host's memory is not what the next buffer should start with.
            fits = self.statistics.pooled_bytes + size <= self.pool_bytes
            if fits and storage.range.block.kind == self._kind(size):
                self.statistics.pooled_bytes += size
                self._kept.setdefault(size, []).append(storage)

    def trim(self) -> None:
        """Give all pooled memory back to the system."""
        with self._lock:
            self._kept.clear()
            self.statistics.pooled_bytes = 0
        self._device.memory.trim()

    def check(self) -> None:
        """Look at the guards of every live buffer. Raises HalError REDZONE."""
        with self._lock:
            buffers = list(self._owned)
        for buffer in buffers:
            check_guards(buffer, "an allocated buffer")
