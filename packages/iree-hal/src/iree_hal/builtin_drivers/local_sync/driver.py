"""The driver object of ``local-sync``."""

from __future__ import annotations

from iree_hal.device import Device
from iree_hal.driver import Driver
from iree_hal.errors import OPTION, HalError


class LocalSyncDriver(Driver):
    name = "local-sync"

    def create_device(self, *, threads: int | None = None, verify: bool | None = None) -> Device:
        from iree_hal.builtin_drivers.local_sync.device import LocalSyncDevice

        if threads not in (None, 1):
            raise HalError(OPTION, f"threads={threads} on local-sync", hint="use the driver local-task")
        return LocalSyncDevice(verify=verify)


DRIVER = LocalSyncDriver()
