"""Completions: work on the device -> fences of the host.

One thread per device waits for submissions in their order, brings results to the host and reaches or fails
the signal fence, while the next submissions run. It starts with the first asynchronous execution.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable

from iree_hal.fence import Fence
from iree_target_vulkan.logical_device import LogicalDevice

Finish = Callable[[], None]
Item = tuple[int, Finish, Fence]


class Deferred(Fence):
    """The signal fence of an operation that only starts work: failures pass, success comes later."""

    __slots__ = ()

    def signal(self) -> None:
        """Nothing yet."""


class Completions:
    """Thread-safe."""

    def __init__(self, device: LogicalDevice, name: str) -> None:
        self._device = device
        self._name = name
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def add(self, number: int, finish: Finish, signal: Fence) -> None:
        """Once submission ``number`` is complete, call ``finish`` and reach ``signal``; failures fail it."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=_serve,
                        args=(self._device, self._items),
                        name=f"iree-completion-{self._name}",
                        daemon=True,
                    )
                    self._thread.start()
                    # The thread ends with the device, after what was added before.
                    weakref.finalize(self, self._items.put, None).atexit = False
        self._items.put((number, finish, signal))


def _serve(device: LogicalDevice, items: queue.SimpleQueue[Item | None]) -> None:
    while (item := items.get()) is not None:
        number, finish, signal = item
        thread = threading.get_ident()
        device.busy.add(thread)
        try:
            device.wait(number)
            finish()
        except Exception as error:
            signal.fail(error)
        else:
            signal.signal()
        finally:
            device.busy.discard(thread)
        del item, finish, signal
