"""The driver object of ``local-task``."""

from __future__ import annotations

from iree_hal.device import Device
from iree_hal.device_info import DeviceInfo
from iree_hal.driver import Driver
from iree_hal.errors import OPTION, HalError


class LocalTaskDriver(Driver):
    name = "local-task"

    def devices(self) -> tuple[DeviceInfo, ...]:
        from iree_hal.builtin_drivers.local_device import local_info

        return local_info(self.name, None)

    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        from iree_hal.builtin_drivers.local_task.device import LocalTaskDevice
        from iree_hal.executor.pool import MAX_WORKERS

        self.only(selector)
        if threads is not None and not 1 <= threads <= MAX_WORKERS:
            raise HalError(OPTION, f"threads={threads}", hint=f"use 1 to {MAX_WORKERS}")
        return LocalTaskDevice(threads=threads, verify=verify)


DRIVER = LocalTaskDriver()
