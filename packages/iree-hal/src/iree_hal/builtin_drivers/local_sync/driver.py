"""The driver object of ``local-sync``."""

from __future__ import annotations

from iree_hal.device import Device
from iree_hal.device_info import PROCESSOR, DeviceInfo
from iree_hal.driver import Driver
from iree_hal.errors import OPTION, HalError


class LocalSyncDriver(Driver):
    name = "local-sync"

    def devices(self) -> tuple[DeviceInfo, ...]:
        from iree_hal.builtin_drivers.local_device import local_info

        return local_info(self.name, 1, PROCESSOR - 1)

    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        from iree_hal.builtin_drivers.local_sync.device import LocalSyncDevice

        self.only(selector)
        if threads not in (None, 1):
            raise HalError(OPTION, f"threads={threads} on local-sync", hint="use the driver local-task")
        return LocalSyncDevice(verify=verify)


DRIVER = LocalSyncDriver()
