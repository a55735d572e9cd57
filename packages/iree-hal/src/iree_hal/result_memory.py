"""Memory of results: what the caller has dropped is written again.

The system hands out fresh memory page by page, at a fault for each, which costs several times what writing
the page does; a decoder's caches are such results, at every token. So large results share blocks of which the
last few are remembered. A block is free again when nothing refers to it but this module: every view of a
result (slices, memoryviews, DLPack capsules) refers to the block. Where reference counts say nothing
(interpreters without them, or without a global lock) every result is fresh memory.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from iree_hal.storage import ALIGNMENT, Bytes

SMALLEST = 64 << 10
"""Bytes from which on a result is worth remembering."""
KEPT_BYTES = 64 << 20
LOOKED_AT = 4
"""Blocks of a size that are asked, the longest remembered first."""


class _Block(NamedTuple):
    """``owner`` is what views refer to: numpy makes it the base of every view, however derived."""

    owner: Bytes
    start: int

    @classmethod
    def of(cls, size: int) -> _Block:
        owner: Bytes = np.empty(size + ALIGNMENT, np.uint8)
        return cls(owner, -int(owner.ctypes.data) % ALIGNMENT)

    def references(self) -> int:
        return sys.getrefcount(self.owner)


def _alone() -> int:
    """The references to a block that no result uses; 0: counts say nothing."""
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return _Block.of(1).references() if locked and hasattr(sys, "getrefcount") else 0


ALONE = _alone()


class ResultMemory:
    """Thread-safe. At most ``kept_bytes`` are remembered; the sizes asked for first are forgotten first."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self.kept_bytes = kept_bytes
        self.forget()

    def forget(self) -> None:
        """Start anew, also where another thread was in the middle of something: in the child of a fork."""
        self._sum = 0
        self._blocks: dict[int, deque[_Block]] = {}
        # Collecting garbage, which any line here may, runs finalizers that may ask for results, as handlers
        # of signals may: such get fresh memory, whatever the state of this.
        self._lock = threading.RLock()
        self._busy = False

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """As ``np.empty``, but at a multiple of 64 bytes where it is large.

        Raises ValueError for a negative dim, MemoryError.
        """
        size = math.prod(shape) * dtype.itemsize
        if not ALONE or not SMALLEST <= size <= self.kept_bytes:
            return np.empty(shape, dtype)
        with self._lock:
            if self._busy:
                return np.empty(shape, dtype)
            self._busy = True
            try:
                block = self._free(size) or self._remember(size, _Block.of(size))
                return np.ndarray(shape, dtype, block.owner, block.start)
            finally:
                self._busy = False

    def _free(self, size: int) -> _Block | None:
        blocks = self._blocks.get(size)
        if blocks is None:
            return None
        for _ in range(min(LOOKED_AT, len(blocks))):
            blocks.rotate(-1)
            if blocks[-1].references() == ALONE:
                return blocks[-1]
        return None

    def _remember(self, size: int, block: _Block) -> _Block:
        self._sum += size
        while self._sum > self.kept_bytes:
            oldest = next(iter(self._blocks))
            self._blocks[oldest].popleft()
            self._sum -= oldest
            if not self._blocks[oldest]:
                del self._blocks[oldest]
        self._blocks.setdefault(size, deque()).append(block)
        return block


_results = ResultMemory()
empty = _results.empty
"""Results of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_results.forget)
