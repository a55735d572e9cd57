"""Queues: operations that start when their wait fence is reached and then reach their signal fence.

An operation runs exactly once, or never when a wait fails; its failure, and that of its waits, goes to its
signal fence. Operations are ordered by fences only.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable

from iree_hal.fence import Fence

Operation = Callable[[], None]


class _Pending:
    """Counts the wait points of one operation; the last one starts it."""

    def __init__(
        self, operation: Operation, wait: Fence, signal: Fence, start: Callable[[Operation], None]
    ) -> None:
        self._operation = operation
        self._signal = signal
        self._start = start
        self._left = len(wait.points) + 1
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        for semaphore, value in wait.points:
            semaphore.on_reached(value, self.reached)
        self.reached(None)

    def reached(self, error: BaseException | None) -> None:
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            ready = self._left == 0
        if ready:
            if self._error is None:
                self._start(self.run)
            else:
                self._signal.fail(self._error)

    def run(self) -> None:
        try:
            self._operation()
        except Exception as error:
            self._signal.fail(error)
        except BaseException as error:
            self._signal.fail(error)
            raise
        else:
            self._signal.signal()


class InlineQueue:
    """Runs operations on the thread that makes them ready: the submitter, or who signals their last wait.

    An operation that makes others ready does not nest: they run after it, on the same thread.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def submit(self, operation: Operation, wait: Fence, signal: Fence) -> None:
        """Returns when the operation has run, or was put off until its waits are reached."""
        _Pending(operation, wait, signal, self._run)

    def _run(self, operation: Operation) -> None:
        waiting: deque[Operation] | None = getattr(self._local, "waiting", None)
        if waiting is not None:
            waiting.append(operation)
            return
        waiting = self._local.waiting = deque((operation,))
        try:
            while waiting:
                waiting.popleft()()
        finally:
            self._local.waiting = None


class ThreadQueue:
    """Runs operations one after the other on a daemon thread that starts with the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process = 0
        self._lock = threading.Lock()

    def submit(self, operation: Operation, wait: Fence, signal: Fence) -> None:
        """Returns at once."""
        _Pending(operation, wait, signal, self._put)

    def _put(self, operation: Operation) -> None:
        if self._process != os.getpid():
            self._begin()
        self._ready.put(operation)

    def _begin(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            # A forked child has neither the thread nor a use for what was queued before.
            self._ready = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=self._serve, args=(self._ready,), name=f"iree-queue-{self._name}", daemon=True
            )
            self._thread.start()
            self._process = os.getpid()
            # The thread ends with the queue, after what was submitted before.
            weakref.finalize(self, self._ready.put, None).atexit = False

    @staticmethod
    def _serve(ready: queue.SimpleQueue[Operation | None]) -> None:
        while (operation := ready.get()) is not None:
            operation()
            del operation
