"""The driver object of ``null``."""

from __future__ import annotations

from iree_hal.device import Device
from iree_hal.device_info import NOT_A_COMPUTER, DeviceInfo
from iree_hal.driver import Driver


class NullDriver(Driver):
    name = "null"

    def devices(self) -> tuple[DeviceInfo, ...]:
        return (DeviceInfo(self.name, "nothing", {"formats": ["null"]}, NOT_A_COMPUTER),)

    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        from iree_hal.builtin_drivers.null.device import NullDevice

        self.only(selector)
        return NullDevice()


DRIVER = NullDriver()
