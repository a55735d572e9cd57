"""Drivers: factories of devices, found by name through plugins."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from iree_base import debug
from iree_base.errors import PluginError
from iree_base.plugins import PluginManager
from iree_hal import hookspecs
from iree_hal.device_info import DeviceInfo, Diagnosis, match_device, split_path
from iree_hal.errors import OPTION, HalError

if TYPE_CHECKING:
    from iree_hal.device import Device
    from iree_hal.executable_loader import ExecutableLoader

API = (1, 0)
"""Version of the runtime plugin contract."""


class Driver(ABC):
    """One kind of device. Stateless; ``name`` is what users and artefacts write."""

    name = ""

    @abstractmethod
    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        """A new device. ``threads`` caps the threads that work on one call, the caller included (None: all
        processors of the process); ``verify`` switches self-checking (None: ``IREE_VERIFY``); ``selector``
        says which of :meth:`devices` (see :func:`~iree_hal.device_info.match_device`; empty: the best).

        Raises HalError OPTION for a value it cannot use, NO_DEVICE, UNSUPPORTED_PLATFORM.
        """

    def devices(self) -> tuple[DeviceInfo, ...]:
        """The devices that could be opened, without opening one; the same order in every process. Empty,
        not an error, where there is none.
        """
        return (DeviceInfo(self.name, self.name),)

    def diagnose(self) -> tuple[Diagnosis, ...]:
        """What the driver needs outside of Python packages and whether it is there; never raises."""
        return ()

    def only(self, selector: str) -> None:
        """Check the selector of a driver with one device. Raises HalError NO_DEVICE."""
        match_device(self.devices(), selector, self.name)


@functools.cache
def plugins() -> PluginManager:
    """The runtime plugins of this process, discovered on first use."""
    return PluginManager("iree.runtime", hookspecs, API)


def drivers() -> tuple[str, ...]:
    """Names of the installed drivers, sorted."""
    return tuple(sorted(plugins().provided("iree_drivers")))


def find_driver(name: str) -> Driver:
    """The driver object. Raises PluginError when it is not installed or failed to load."""
    driver: Driver = plugins().get("iree_drivers", name, "driver")
    return driver


def create_device(path: str, *, threads: int | None = None, verify: bool | None = None) -> Device:
    """The device at ``path``: a driver's name, or ``driver://selector``.

    Raises PluginError when the driver is not installed or failed to load, and what
    :meth:`Driver.create_device` raises.
    """
    if threads is not None and threads < 1:
        raise HalError(OPTION, f"threads={threads}", hint="use at least 1")
    name, selector = split_path(path)
    return find_driver(name).create_device(threads=threads, verify=verify, selector=selector)


def devices(driver: str | None = None) -> tuple[DeviceInfo, ...]:
    """What could be opened, of one driver or of all, the latter without drivers that fail.

    Raises PluginError for the one driver named.
    """
    if driver is not None:
        return find_driver(driver).devices()
    found: list[DeviceInfo] = []
    for name in drivers():
        try:
            found += find_driver(name).devices()
        except Exception as error:  # one driver's failure hides no other
            debug.log(debug.PLUGINS, f"driver {name}: {type(error).__name__}: {error}")
    return tuple(found)


def executable_loaders() -> tuple[ExecutableLoader, ...]:
    """All installed loaders; one whose plugin fails is left out (see ``iree plugins doctor``)."""
    result: list[ExecutableLoader] = []
    seen: set[int] = set()
    for name in plugins().provided("iree_executable_loaders"):
        try:
            loader = plugins().get("iree_executable_loaders", name, "executable loader")
        except PluginError:
            continue
        if id(loader) not in seen:
            seen.add(id(loader))
            result.append(loader)
    return tuple(result)
