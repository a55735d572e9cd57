"""The driver object of ``null``."""

from __future__ import annotations

from iree_hal.device import Device
from iree_hal.driver import Driver


class NullDriver(Driver):
    name = "null"

    def create_device(self, *, threads: int | None = None, verify: bool | None = None) -> Device:
        from iree_hal.builtin_drivers.null.device import NullDevice

        return NullDevice()


DRIVER = NullDriver()
