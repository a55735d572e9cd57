"""The worker pool of the process: daemon threads that live inside native code.

One pool per process, empty until a device wants workers. A frame leases it for as long as it needs it;
who finds it leased runs alone. Before a fork the lease is taken, so the child's copy is at rest; the child
starts without workers. The pool's memory is never given back, since threads may look at it until the end.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import time

from iree_hal import platform
from iree_hal.executor import structs
from iree_hal.executor.native import native

QUIESCE_SECONDS = 1.0
"""How long a fork or the end of the interpreter waits for a frame that holds the pool."""
SPIN_PAUSES = 400
"""Pauses (10 to 30 us) before a worker sleeps, when every thread has a processor of its own."""
LEASED_PAUSES = 8 * SPIN_PAUSES
"""The same while a frame goes on: waking costs several times what most waves take."""
MAX_WORKERS = 1024


class Pool:
    """Use :func:`pool`; ``address`` is the native struct, ``n_workers`` the threads started so far."""

    def __init__(self) -> None:
        system = platform.current()
        self._native = native()
        self._functions = system.wait_functions()
        ranges = -(-structs.POOL.size // structs.RANGE.size) * structs.RANGE.size
        nbytes = ranges + MAX_WORKERS * structs.RANGE.size
        self.address = system.map_memory(-(-nbytes // 4096) * 4096)
        self._ranges = self.address + ranges
        self._memory = structs.POOL.ctype.from_address(self.address)
        self._reset()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork_in_parent,
            after_in_child=self._after_fork_in_child,
        )
        atexit.register(self.close)

    def _reset(self) -> None:
        memory = self._memory
        for field in structs.POOL.fields:
            setattr(memory, field.name, 0)
        functions = self._functions
        memory.wait_convention = functions.convention
        memory.wait_number = functions.number
        memory.wait, memory.wake = functions.wait, functions.wake
        setattr(memory, "yield", functions.yield_)
        memory.ranges = self._ranges
        self.n_workers = 0
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._locked = self._leased = False

    def ensure(self, n_workers: int) -> None:
        """Have at least ``n_workers`` threads; fewer if the OS or a finishing interpreter refuses."""
        with self._lock:
            while self.n_workers < min(n_workers, MAX_WORKERS):
                number = self.n_workers + 1
                thread = threading.Thread(
                    target=self._native.worker,
                    args=(self.address, number),
                    name=f"iree-worker-{number}",
                    daemon=True,
                )
                try:
                    thread.start()
                except RuntimeError:
                    break
                self._threads.append(thread)
                self.n_workers = number
                crowded = number + 1 > platform.current().cpu_count()
                self._memory.worker_spin = 0 if crowded else SPIN_PAUSES
                self._memory.leased_spin = self._memory.caller_spin = 0 if crowded else LEASED_PAUSES
                self._memory.n_workers = number

    def _take_lease(self) -> bool:
        end = time.monotonic() + QUIESCE_SECONDS
        while not self._native.lease(self.address):
            if time.monotonic() > end:
                return False
            time.sleep(0.0005)
        return True

    def close(self) -> None:
        """Let the workers return, at interpreter exit; later frames run alone. Gives up on a busy pool."""
        with self._lock:
            if not self.n_workers or not self._take_lease():
                return
            self._memory.n_workers = self.n_workers = 0
            self._native.shutdown(self.address)
            for thread in self._threads:
                thread.join(QUIESCE_SECONDS)
            self._threads.clear()
            if not self._memory.running:
                self._memory.shutdown = 0
                self._native.release(self.address)

    def _before_fork(self) -> None:
        self._locked = self._lock.acquire(timeout=QUIESCE_SECONDS)
        self._leased = self._take_lease()

    def _after_fork_in_parent(self) -> None:
        if self._leased:
            self._leased = False
            self._native.release(self.address)
        if self._locked:
            self._locked = False
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        # The threads of the parent do not exist here; their struct is made new in place, because frames
        # that survive the fork point at it.
        self._reset()


@functools.cache
def pool() -> Pool:
    """The pool of this process. Raises HalError UNSUPPORTED_PLATFORM."""
    return Pool()


def default_threads() -> int:
    """Threads a device uses when none are asked for: the processors this process may use."""
    return platform.current().cpu_count()
