"""Driver ``vulkan``: one device per physical device, named by index, a part of the name, or UUID.

Nothing of Vulkan is loaded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from iree_base import debug
from iree_hal.device import Device
from iree_hal.device_info import DeviceInfo, Diagnosis, match_device
from iree_hal.driver import Driver
from iree_target_vulkan.errors import VulkanError

if TYPE_CHECKING:
    from iree_target_vulkan.physical_device import PhysicalDevice


class VulkanDriver(Driver):
    """Stateless; the instance and the logical devices are the process's."""

    name = "vulkan"

    def devices(self) -> tuple[DeviceInfo, ...]:
        """All devices of all installed Vulkan drivers that can be used."""
        try:
            return self._infos(self._usable())
        except VulkanError as error:
            debug.log(debug.PLUGINS, f"vulkan: {error}")
            return ()

    def _usable(self) -> tuple[PhysicalDevice, ...]:
        from iree_target_vulkan.instance import instance

        return tuple(device for device in instance().physical_devices if not device.problem)

    def _infos(self, devices: Sequence[PhysicalDevice]) -> tuple[DeviceInfo, ...]:
        return tuple(device.info(f"{self.name}://{index}") for index, device in enumerate(devices))

    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        """``threads`` has no meaning here: the work is the device's.

        Raises HalError NO_DEVICE, VulkanError LOADER, FORKED, UNUSABLE_DEVICE, CALL.
        """
        usable = self._usable()
        physical = usable[match_device(self._infos(usable), selector, self.name)]
        from iree_target_vulkan.device import VulkanDevice
        from iree_target_vulkan.logical_device import logical_device

        return VulkanDevice(logical_device(physical), verify=verify)

    def diagnose(self) -> tuple[Diagnosis, ...]:
        """The loader library, a driver behind it, a device that can be used."""
        try:
            from iree_target_vulkan.instance import instance

            physical = instance().physical_devices
        except VulkanError as error:
            what = "Vulkan: " + error.detail
            return (Diagnosis(False, what, error.cause or "", error.hint or ""),)
        if not physical:
            return (
                Diagnosis(True, "Vulkan loader"),
                Diagnosis(
                    False,
                    "Vulkan device",
                    "no installed Vulkan driver found a device",
                    "install the driver of the device (for a processor, on Debian and Ubuntu: "
                    "apt-get install mesa-vulkan-drivers)",
                ),
            )
        return (
            Diagnosis(True, "Vulkan loader"),
            *(
                Diagnosis(
                    not device.problem,
                    f"Vulkan device {device.name} ({device.driver})",
                    device.problem,
                    "update its driver" if device.problem else "",
                )
                for device in physical
            ),
        )


DRIVER = VulkanDriver()
