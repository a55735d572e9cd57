"""The device of ``local-task``."""

from __future__ import annotations

from iree_hal.builtin_drivers.local_device import LocalDevice
from iree_hal.executor.pool import default_threads
from iree_hal.queue import ThreadQueue


class LocalTaskDevice(LocalDevice):
    """Runs on the caller and up to ``threads - 1`` workers of the process's pool; queue operations run on
    a thread of their own.
    """

    def __init__(self, *, threads: int | None = None, verify: bool | None = None) -> None:
        super().__init__(
            "local-task", ThreadQueue("local-task"), threads=threads or default_threads(), verify=verify
        )
