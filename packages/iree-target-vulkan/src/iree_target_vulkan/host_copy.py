"""Copies between arrays of the host and mapped memory, long ones by several threads.

One thread moves about 10 GB/s into mapped memory, four 21 (measured beside an H100), while the bus takes 50.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from iree_hal.storage import Bytes

MAX_THREADS = 4
PART_BYTES = 1 << 20
"""Shorter parts cost more to hand to a thread than to copy."""

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def n_threads() -> int:
    """How many threads share a long copy: a quarter of the processors, at most MAX_THREADS."""
    return max(1, min(MAX_THREADS, (os.cpu_count() or 1) // 4))


def copy_bytes(target: Bytes, source: Bytes, threads: int | None = None) -> None:
    """Copy ``source`` to ``target``, equally long; nothing of either is touched after the return."""
    n = target.nbytes
    parts = min(n_threads() if threads is None else threads, n // PART_BYTES)
    if parts < 2:
        np.copyto(target, source)
        return
    step = -(-n // parts)
    step += -step % 4096
    pool = _workers()
    futures = [
        pool.submit(np.copyto, target[at : at + step], source[at : at + step]) for at in range(step, n, step)
    ]
    try:
        np.copyto(target[:step], source[:step])
    finally:
        for future in futures:
            future.result()


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(MAX_THREADS - 1, thread_name_prefix="iree-vulkan-copies")
        return _pool
