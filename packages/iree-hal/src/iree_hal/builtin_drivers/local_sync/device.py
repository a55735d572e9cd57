"""The device of ``local-sync``."""

from __future__ import annotations

from iree_hal.builtin_drivers.local_device import LocalDevice
from iree_hal.queue import InlineQueue


class LocalSyncDevice(LocalDevice):
    """Runs on the caller; queue operations run on the thread that makes them ready."""

    def __init__(self, *, verify: bool | None = None) -> None:
        super().__init__("local-sync", InlineQueue(), threads=1, verify=verify)
