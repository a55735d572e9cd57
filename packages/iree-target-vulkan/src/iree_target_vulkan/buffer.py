"""Buffers in memory of the device.

A buffer lives where the device is fastest until the host asks for its bytes: then it moves, once and for
good, to memory that both see. So weights and intermediate results never cross the bus, and what the host
does look at is there without further copies. On devices that share the host's memory nothing moves.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_hal.buffer import Buffer
from iree_hal.errors import CLOSED, HalError
from iree_hal.storage import Bytes
from iree_target_vulkan.binding import ffi
from iree_target_vulkan.memory import DEVICE, READBACK, Range

if TYPE_CHECKING:
    from iree_target_vulkan.logical_device import LogicalDevice


class Storage:
    """A range of the pool, given back with the last reference. ``range`` changes when it moves."""

    def __init__(self, device: LogicalDevice, nbytes: int, kind: str) -> None:
        self.device = device
        self.nbytes = nbytes
        self._cell = [device.memory.allocate(kind, nbytes)]
        self._lock = threading.Lock()
        weakref.finalize(self, _free, device, self._cell).atexit = False

    @property
    def range(self) -> Range:
        return self._cell[0]

    def array(self) -> Bytes:
        """The bytes; the array keeps the storage. Moves the contents to where the host can see them."""
        with self._lock:
            if not self.range.visible:
                self._move()
        return np.asarray(_Exporter(self))

    def _move(self) -> None:
        from iree_target_vulkan.transfer import copy_now

        device = self.device
        old = self.range
        new = device.memory.allocate(READBACK, self.nbytes)
        try:
            copy_now(device, old, 0, new, 0, self.nbytes)
        except BaseException:
            device.memory.free(new)
            raise
        self._cell[0] = new
        device.memory.free(old)


def _free(device: LogicalDevice, cell: list[Range]) -> None:
    device.memory.free(cell[0])


class _Exporter:
    """What numpy arrays over a storage hold on to."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        address = int(ffi.cast("uintptr_t", storage.range.pointer))
        self.__array_interface__ = {
            "shape": (storage.nbytes,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }


class VulkanBuffer(Buffer):
    """``nbytes`` bytes from ``offset`` of ``storage``.

    ``host``: the same bytes in the host's memory, of a buffer that never changes. A Buffer otherwise; the
    mapping of :attr:`array` is made when first asked for.
    """

    __slots__ = ("host", "offset", "storage")

    def __init__(
        self,
        storage: Storage,
        offset: int,
        nbytes: int,
        *,
        readonly: bool = False,
        host: Bytes | None = None,
    ) -> None:
        self.storage: Storage | None = storage
        self.offset = offset
        self.nbytes = nbytes
        self.readonly = readonly
        self.guards = None
        self.host = host
        self._array = None

    @property
    def array(self) -> Bytes:
        """The bytes as a numpy view. Raises HalError CLOSED after :meth:`close`."""
        found = self._array
        if found is None:
            if self.storage is None:
                raise HalError(CLOSED, "buffer")
            if self.host is not None:
                return self.host
            whole = self.storage.array()
            found = self._array = whole[self.offset : self.offset + self.nbytes]
            if self.readonly:
                found.flags.writeable = False
        return found

    @property
    def row(self) -> tuple[int, int]:  # type: ignore[override]
        """The line of a binding table of a device that reads the host's memory."""
        return Buffer(self.array, readonly=self.readonly).row

    def subspan(self, offset: int, length: int) -> VulkanBuffer:
        self.check_range(offset, length)
        if self.storage is None:
            raise HalError(CLOSED, "buffer")
        host = None if self.host is None else self.host[offset : offset + length]
        return VulkanBuffer(self.storage, self.offset + offset, length, readonly=self.readonly, host=host)

    def close(self) -> None:
        self.storage = None
        self.host = None
        self._array = None
        self.nbytes = 0
        self.guards = None


def device_storage(device: LogicalDevice, nbytes: int) -> Storage:
    """Fresh storage in the device's own memory. Raises HalError OUT_OF_MEMORY."""
    return Storage(device, nbytes, DEVICE)


def view_of(source: Any) -> Bytes:
    """The bytes of a contiguous buffer-protocol object or array, read-only or not."""
    return Buffer.wrap(source, readonly=True).array
