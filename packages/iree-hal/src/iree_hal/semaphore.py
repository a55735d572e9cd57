"""Timeline semaphores: a number that only grows, or a failure that stays.

A timepoint ``(semaphore, value)`` is reached once the number is at least ``value``. A failed semaphore
passes its error to everyone who waits for a point not yet reached.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

from iree_base.errors import IreeError
from iree_hal.errors import FAILED_FENCE, SEMAPHORE, TIMEOUT, HalError

MAX_VALUE = (1 << 63) - 1
Callback = Callable[[BaseException | None], None]


def raisable(error: BaseException) -> BaseException:
    """A fresh exception for one waiter: a copy of a coded error, else FAILED_FENCE around it."""
    if isinstance(error, IreeError):
        return copy.copy(error)
    return HalError(FAILED_FENCE, f"{type(error).__name__}: {error}")


class Semaphore:
    """Thread-safe. Created by :meth:`iree_hal.device.Device.create_semaphore` at ``value``."""

    def __init__(self, value: int = 0) -> None:
        self._condition = threading.Condition()
        self._value = value
        self._error: BaseException | None = None
        self._callbacks: list[tuple[int, Callback]] = []

    def query(self) -> int:
        """The number reached. Raises the failure once failed."""
        with self._condition:
            if self._error is not None:
                raise raisable(self._error) from self._error
            return self._value

    def signal(self, value: int) -> None:
        """Move to ``value``. Raises HalError SEMAPHORE when it is not larger, the failure once failed."""
        with self._condition:
            if self._error is not None:
                raise raisable(self._error) from self._error
            if not self._value < value <= MAX_VALUE:
                raise HalError(SEMAPHORE, f"signal {value}, already at {self._value}")
            self._value = value
            ready = [c for at, c in self._callbacks if at <= value]
            self._callbacks = [(at, c) for at, c in self._callbacks if at > value]
            self._condition.notify_all()
        for callback in ready:
            callback(None)

    def fail(self, error: BaseException) -> None:
        """Fail for good; the first failure stays."""
        with self._condition:
            if self._error is not None:
                return
            self._error = error
            waiting, self._callbacks = self._callbacks, []
            self._condition.notify_all()
        for _, callback in waiting:
            callback(error)

    def wait(self, value: int, timeout: float | None = None) -> None:
        """Block until ``value`` is reached. Raises the failure, or HalError TIMEOUT after ``timeout`` s."""
        with self._condition:
            reached = self._condition.wait_for(
                lambda: self._value >= value or self._error is not None, timeout
            )
            if self._value >= value:
                return
            if self._error is not None:
                raise raisable(self._error) from self._error
        assert not reached
        raise HalError(TIMEOUT, f"value {value} after {timeout} s")

    def on_reached(self, value: int, callback: Callback) -> None:
        """Call ``callback(None)`` once ``value`` is reached, ``callback(error)`` on failure.

        Called once, at once if it is so already, else by the thread that signals; it must not block.
        """
        with self._condition:
            if self._value < value and self._error is None:
                self._callbacks.append((value, callback))
                return
            error = None if self._value >= value else self._error
        callback(error)
