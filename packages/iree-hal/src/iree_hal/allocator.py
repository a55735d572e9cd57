"""Allocators: device memory in 64-byte aligned blocks, reused from a pool that is bounded by bytes.

``release`` gives a buffer's block back at once; a buffer that is merely dropped frees its block to the
system. With ``verify`` every block lies between two guard zones, checked on release and on demand.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

from iree_base.records import record
from iree_hal.buffer import Buffer
from iree_hal.errors import OUT_OF_MEMORY, REDZONE, HalError
from iree_hal.storage import Bytes, aligned_bytes

POOL_BYTES = 256 << 20
GUARD_BYTES = 256
GUARD_VALUE = 0xA5
POISON = 0xFF
"""Every byte 0xFF is a quiet NaN in f16, bf16, f32 and f64, and -1 in integers."""


@record
class Statistics:
    """``live_bytes`` handed out and not released, ``pooled_bytes`` kept for reuse, ``peak_bytes`` of live."""

    live_bytes: int = 0
    peak_bytes: int = 0
    pooled_bytes: int = 0
    allocations: int = 0
    reused: int = 0


class Allocator:
    """Thread-safe. ``limit_bytes`` bounds what is live, ``pool_bytes`` what is kept for reuse.

    The books are the same for every kind of memory. A device with memory of its own overrides ``_block`` (new
    memory, anything with ``nbytes``), ``_view`` (its bytes), ``_buffer`` and ``_reusable``.
    """

    def __init__(
        self, *, pool_bytes: int = POOL_BYTES, limit_bytes: int | None = None, verify: bool = False
    ) -> None:
        self.pool_bytes = pool_bytes
        self.limit_bytes = limit_bytes
        self.verify = verify
        self.statistics = Statistics()
        self._free: dict[int, list[Any]] = {}
        # Finalizers run at any allocation, also inside a locked region of the same thread.
        self._lock = threading.RLock()
        self._live: weakref.WeakKeyDictionary[Buffer, tuple[Any, Any]] = weakref.WeakKeyDictionary()

    def allocate(self, nbytes: int) -> Buffer:
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
            blocks = self._free.get(size)
            block = blocks.pop() if blocks else None
            if block is not None:
                statistics.pooled_bytes -= size
                statistics.reused += 1
            statistics.live_bytes += size
            statistics.allocations += 1
            statistics.peak_bytes = max(statistics.peak_bytes, statistics.live_bytes)
        if block is None:
            try:
                block = self._block(size)
            except HalError:
                self._forget(size)
                raise
        buffer = self._buffer(block, guard, nbytes)
        finalizer = weakref.finalize(buffer, self._forget, size)
        finalizer.atexit = False
        if guard:
            view = self._view(block)
            view[:] = GUARD_VALUE
            view[guard : guard + nbytes] = POISON
            buffer.guards = (view[:guard], view[guard + nbytes :])
        with self._lock:
            self._live[buffer] = (block, finalizer)
        return buffer

    def _block(self, size: int) -> Any:
        """``size`` bytes of new memory. Raises HalError OUT_OF_MEMORY."""
        return aligned_bytes(size)

    def _view(self, block: Any) -> Bytes:
        """The bytes of ``block`` for the host."""
        view: Bytes = block
        return view

    def _buffer(self, block: Any, offset: int, nbytes: int) -> Buffer:
        """The buffer over ``nbytes`` from ``offset`` of ``block``."""
        return Buffer(block[offset : offset + nbytes])

    def _reusable(self, block: Any) -> bool:
        """Whether a later buffer of the size may get ``block``."""
        return True

    def _forget(self, size: int) -> None:
        with self._lock:
            self.statistics.live_bytes -= size

    def release(self, buffer: Buffer) -> None:
        """Take the buffer's memory back and close it. The caller vouches that nothing views it any more.

        Buffers of other origin are closed only. Raises HalError REDZONE when a guard was overwritten.
        """
        with self._lock:
            block, finalizer = self._live.pop(buffer, (None, None))
        check_guards(buffer, "an allocated buffer")
        buffer.close()
        if block is None or finalizer is None or finalizer.detach() is None:
            return
        size = block.nbytes
        with self._lock:
            self.statistics.live_bytes -= size
            if self.statistics.pooled_bytes + size <= self.pool_bytes and self._reusable(block):
                self.statistics.pooled_bytes += size
                self._free.setdefault(size, []).append(block)

    def trim(self) -> None:
        """Give all pooled memory back to the system."""
        with self._lock:
            self._free.clear()
            self.statistics.pooled_bytes = 0

    def check(self) -> None:
        """Look at the guards of every live buffer. Raises HalError REDZONE."""
        with self._lock:
            buffers = list(self._live)
        for buffer in buffers:
            check_guards(buffer, "an allocated buffer")


def guarded_buffer(nbytes: int, misalignment: int = 0) -> Buffer:
    """A buffer between guards that starts ``misalignment`` (below 64) bytes after a multiple of 64."""
    start = GUARD_BYTES + misalignment
    block = aligned_bytes(start + nbytes + GUARD_BYTES)
    block[:] = GUARD_VALUE
    buffer = Buffer(block[start : start + nbytes])
    buffer.guards = (block[:start], block[start + nbytes :])
    return buffer


def check_guards(buffer: Buffer, what: str) -> None:
    """Raises HalError REDZONE when the bytes around ``buffer`` changed."""
    if buffer.guards is None:
        return
    before, after = buffer.guards
    for zone, side in ((before, "before"), (after, "after")):
        wrong = np.flatnonzero(zone != GUARD_VALUE)
        if wrong.size:
            distance = before.size - int(wrong[-1]) if side == "before" else int(wrong[0]) + 1
            raise HalError(
                REDZONE,
                f"{what} of {buffer.nbytes} bytes: byte {distance} {side} it",
                hint="report the model; the kernel that wrote there is wrong",
            )
