"""The memory pool: large blocks of device memory, and ranges inside of them.

Each block is one VkDeviceMemory with one VkBuffer over all of it, mapped for good when the host can see it;
a range is an offset in that buffer. Allocating a block takes milliseconds, a range microseconds.
"""

from __future__ import annotations

import bisect
import itertools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_hal.errors import OUT_OF_MEMORY, HalError
from iree_hal.storage import Bytes
from iree_target_vulkan.binding import NULL, WHOLE_SIZE, check, ffi, lib, struct
from iree_target_vulkan.physical_device import MemoryType

if TYPE_CHECKING:
    from iree_target_vulkan.logical_device import LogicalDevice

DEVICE, SHARED, UPLOAD, READBACK = "device", "shared", "upload", "readback"
"""Kinds of memory: fastest for the device; the same, but written by the host across the bus (where the device
has that); the host's, written by it; the host's, read by it.
"""
KINDS = (DEVICE, SHARED, UPLOAD, READBACK)

_LOCAL, _VISIBLE, _COHERENT, _CACHED = 1, 2, 4, 8
_HOST = _VISIBLE | _COHERENT
USAGE = 0x1 | 0x2 | 0x20 | 0x100
"""Transfers, storage buffers, indirect counts."""

SEPARATE_VARIABLE = "IREE_VULKAN_SEPARATE_MEMORY"
"""Set to 1, a device that shares the host's memory is treated like one with its own, and set to ``no-window``
like one whose own the host cannot write either: so that a processor can test those paths.
"""
BLOCK_BYTES = {DEVICE: 64 << 20, SHARED: 16 << 20, UPLOAD: 16 << 20, READBACK: 16 << 20}
MIN_SHARED_HEAP = 1 << 30
"""A smaller window to the device's memory is left to others."""
KEPT_HOST_BYTES = 256 << 20
"""Empty blocks of host memory kept for reuse; of the device's own memory, an eighth of it is."""
ALIGNMENT = 256
"""Every range starts at a multiple of this, the largest minimum alignment Vulkan allows for a binding."""
ROUNDING = 1 << 20
"""Blocks for a single large range are multiples of this, so that similar sizes reuse them."""


_serials = itertools.count(1)


class Block:
    """``pointer`` is the address of its bytes when the host can see them, else null. ``serial`` is unique in
    the process, which handles are not: drivers reuse those.
    """

    def __init__(
        self, kind: str, size: int, memory: tuple[Any, int], buffer: tuple[Any, int], pointer: Any
    ) -> None:
        self.kind = kind
        self.size = size
        self.serial = next(_serials)
        self.memory, self.memory_token = memory
        self.buffer, self.buffer_token = buffer
        self.pointer = pointer
        self.free: list[tuple[int, int]] = [(0, size)]
        """(offset, size), ascending, never adjacent."""

    @property
    def empty(self) -> bool:
        return len(self.free) == 1 and self.free[0][1] == self.size

    def take(self, index: int, size: int) -> int:
        """The offset of ``size`` bytes cut from the free range at ``index``."""
        offset, available = self.free[index]
        if available == size:
            del self.free[index]
        else:
            self.free[index] = (offset + size, available - size)
        return offset

    def give(self, offset: int, size: int) -> None:
        """Take bytes back and merge them with their free neighbours."""
        at = bisect.bisect(self.free, (offset, 0))
        if at < len(self.free) and offset + size == self.free[at][0]:
            size += self.free[at][1]
            del self.free[at]
        if at and sum(self.free[at - 1]) == offset:
            offset, before = self.free[at - 1]
            self.free[at - 1] = (offset, before + size)
        else:
            self.free.insert(at, (offset, size))


@dataclass(eq=False, slots=True)
class Range:
    """``nbytes`` bytes from ``offset`` of ``block``'s buffer; ``reserved`` is what it takes up there."""

    block: Block
    offset: int
    nbytes: int
    reserved: int

    @property
    def buffer(self) -> Any:
        """The VkBuffer."""
        return self.block.buffer

    @property
    def visible(self) -> bool:
        """True when the host can read and write it in place."""
        return bool(self.block.pointer != NULL)

    @property
    def pointer(self) -> Any:
        """Its address as a ``char*``."""
        return self.block.pointer + self.offset

    def view(self) -> Bytes:
        """Its bytes; the array does not keep the memory."""
        return np.frombuffer(ffi.buffer(self.pointer, max(self.nbytes, 1)), np.uint8)[: self.nbytes]


@dataclass
class PoolStatistics:
    """Bytes in blocks and in ranges, and how often the driver was asked for a block."""

    block_bytes: int = 0
    used_bytes: int = 0
    peak_bytes: int = 0
    allocations: int = 0


class MemoryPool:
    """Thread-safe. ``unified``: the device's memory is the host's, so nothing needs a copy."""

    def __init__(self, device: LogicalDevice) -> None:
        self._device = device
        # Finalizers run at any allocation, also inside a locked region of the same thread.
        self._lock = threading.RLock()
        self._blocks: dict[str, list[Block]] = {kind: [] for kind in KINDS}
        self._abandoned = False
        self.statistics = PoolStatistics()
        physical = device.physical
        usable = self._usable_types()
        types = [t for t in physical.memory_types if usable >> t.index & 1]
        self.types = choose_types(types)
        separate = os.environ.get(SEPARATE_VARIABLE, "")
        self.unified = self.types[DEVICE].has(_LOCAL | _HOST | _CACHED) and not separate
        self.shared = self.types[SHARED].has(_LOCAL | _HOST) and separate != "no-window"
        """Whether SHARED is the device's own memory; else it is UPLOAD."""
        self.max_bytes = min(physical.max_allocation_bytes, physical.max_buffer_bytes)

    def _usable_types(self) -> int:
        """The bit mask of memory types that buffers of USAGE can have."""
        buffer, token = self._buffer(ALIGNMENT)
        out = struct("VkMemoryRequirements")
        lib.vkGetBufferMemoryRequirements(self._device.handle, buffer, out)
        self._device.handles.drop(token)
        return int(out.memoryTypeBits)

    def _buffer(self, size: int) -> tuple[Any, int]:
        info = struct("VkBufferCreateInfo", size=size, usage=USAGE)
        return self._device.own("VkBuffer", "vkCreateBuffer", info)

    # ------------------------------------------------------------------ ranges

    def allocate(self, kind: str, nbytes: int) -> Range:
        """``nbytes`` undefined bytes at a multiple of ALIGNMENT. Where memory is short, what is only kept for
        reuse goes first. Raises HalError OUT_OF_MEMORY.
        """
        size = -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        if self._device.lost is not None:
            self._device.check()
        limit = min(self.max_bytes, self.types[kind].heap_bytes)
        if size > limit:
            raise HalError(
                OUT_OF_MEMORY, f"{nbytes} bytes of {kind} memory", cause=f"the device allows {limit} at once"
            )
        try:
            return self._allocate(kind, size, nbytes)
        except HalError:
            self._device.drop_idle_frames()
            self.trim()
            return self._allocate(kind, size, nbytes)

    def _allocate(self, kind: str, size: int, nbytes: int) -> Range:
        with self._lock:
            found = self._find(kind, size)
            if found is None:
                self._blocks[kind].append(self._new_block(kind, size))
                found = self._find(kind, size)
                assert found is not None
            block, index = found
            offset = block.take(index, size)
            statistics = self.statistics
            statistics.used_bytes += size
            statistics.peak_bytes = max(statistics.peak_bytes, statistics.used_bytes)
        return Range(block, offset, nbytes, size)

    def _find(self, kind: str, size: int) -> tuple[Block, int] | None:
        """The smallest free range that is large enough."""
        best: tuple[int, Block, int] | None = None
        for block in self._blocks[kind]:
            for index, (_, available) in enumerate(block.free):
                if available >= size and (best is None or available < best[0]):
                    best = (available, block, index)
        return None if best is None else best[1:]

    def free(self, range: Range) -> None:
        """Give a range back; the device must be done with it."""
        if self._abandoned:
            return
        with self._lock:
            self.statistics.used_bytes -= range.reserved
            block = range.block
            block.give(range.offset, range.reserved)
            if block.empty and self._empty_bytes(block.kind) > self._kept_bytes(block.kind):
                self._destroy(block)

    def _empty_bytes(self, kind: str) -> int:
        return sum(b.size for b in self._blocks[kind] if b.empty)

    def _kept_bytes(self, kind: str) -> int:
        type = self.types[kind]
        return type.heap_bytes // 8 if type.has(_LOCAL) else min(KEPT_HOST_BYTES, type.heap_bytes // 8)

    def trim(self) -> None:
        """Give all empty blocks back to the driver."""
        with self._lock:
            for blocks in self._blocks.values():
                for block in [b for b in blocks if b.empty]:
                    self._destroy(block)

    # ------------------------------------------------------------------ blocks

    def _new_block(self, kind: str, size: int) -> Block:
        type = self.types[kind]
        normal = min(BLOCK_BYTES[kind], max(1 << 20, type.heap_bytes // 16))
        wanted = normal if size <= normal // 2 else -(-size // ROUNDING) * ROUNDING
        wanted = max(size, min(wanted, self.max_bytes))
        try:
            return self._allocate_block(kind, wanted)
        except HalError:
            if wanted == size:
                raise
            return self._allocate_block(kind, size)

    def _allocate_block(self, kind: str, size: int) -> Block:
        device = self._device
        buffer, buffer_token = self._buffer(size)
        memory_token = 0
        try:
            needs = struct("VkMemoryRequirements")
            lib.vkGetBufferMemoryRequirements(device.handle, buffer, needs)
            info = struct(
                "VkMemoryAllocateInfo", allocationSize=needs.size, memoryTypeIndex=self.types[kind].index
            )
            memory, memory_token = device.own("VkDeviceMemory", "vkAllocateMemory", info)
            check(lib.vkBindBufferMemory(device.handle, buffer, memory, 0), "vkBindBufferMemory")
            pointer = NULL
            if self.types[kind].has(_VISIBLE) and (self.unified or kind != DEVICE):
                out = ffi.new("void**")
                check(
                    lib.vkMapMemory(device.handle, memory, 0, WHOLE_SIZE, 0, out),
                    "vkMapMemory",
                )
                pointer = ffi.cast("char*", out[0])
        except BaseException:
            device.handles.drop(buffer_token)
            device.handles.drop(memory_token)
            raise
        self.statistics.block_bytes += size
        self.statistics.allocations += 1
        return Block(kind, size, (memory, memory_token), (buffer, buffer_token), pointer)

    def _destroy(self, block: Block) -> None:
        self._blocks[block.kind].remove(block)
        self.statistics.block_bytes -= block.size
        self._device.handles.drop(block.buffer_token)
        self._device.handles.drop(block.memory_token)

    def pooled_objects(self) -> dict[str, int]:
        """Type -> objects that exist for reuse, without a range in use."""
        with self._lock:
            n = sum(block.empty for blocks in self._blocks.values() for block in blocks)
        return {"VkBuffer": n, "VkDeviceMemory": n}

    def abandon(self) -> None:
        """Free nothing any more: the memory belongs to another process."""
        self._abandoned = True


def choose_types(types: Sequence[MemoryType]) -> dict[str, MemoryType]:
    """Kind of memory -> the best type: one cached type for all where the device shares the host's memory."""

    def best(*wishes: tuple[int, int]) -> MemoryType:
        for wanted, unwanted in wishes:
            for type in sorted(types, key=lambda t: (-t.heap_bytes, t.index)):
                if type.has(wanted) and not type.flags & unwanted:
                    return type
        return types[0]

    special = ~(_LOCAL | _HOST | _CACHED)
    everything = _LOCAL | _HOST | _CACHED
    if any(t.has(everything) for t in types):
        return dict.fromkeys(KINDS, best((everything, special), (everything, 0)))
    upload = best((_HOST, special | _LOCAL | _CACHED), (_HOST, special | _LOCAL), (_HOST, 0))
    shared = best((_LOCAL | _HOST, special), (0, 0))
    window = shared.has(_LOCAL | _HOST) and shared.heap_bytes >= MIN_SHARED_HEAP
    return {
        DEVICE: best((_LOCAL, special | _VISIBLE), (_LOCAL, special), (_LOCAL, 0), (0, 0)),
        SHARED: shared if window else upload,
        UPLOAD: upload,
        READBACK: best((_HOST | _CACHED, special | _LOCAL), (_HOST | _CACHED, 0), (_HOST, 0)),
    }


__all__ = ["ALIGNMENT", "DEVICE", "READBACK", "UPLOAD", "MemoryPool", "Range", "choose_types"]
