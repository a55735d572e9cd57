"""Drivers: factories of devices, found by name through plugins."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

from iree_base.errors import PluginError
from iree_base.plugins import PluginManager
from iree_hal import hookspecs
from iree_hal.device import Device
from iree_hal.errors import OPTION, HalError
from iree_hal.executable_loader import ExecutableLoader

API = (1, 0)
"""Version of the runtime plugin contract."""


class Driver(ABC):
    """One kind of device. Stateless; ``name`` is what users and artefacts write."""

    name = ""

    @abstractmethod
    def create_device(self, *, threads: int | None = None, verify: bool | None = None) -> Device:
        """A new device. ``threads`` caps the threads that work on one call, the caller included (None: all
        processors of the process); ``verify`` switches self-checking (None: ``IREE_VERIFY``).

        Raises HalError OPTION for a value it cannot use, UNSUPPORTED_PLATFORM.
        """


@functools.cache
def plugins() -> PluginManager:
    """The runtime plugins of this process, discovered on first use."""
    return PluginManager("iree.runtime", hookspecs, API)


def drivers() -> tuple[str, ...]:
    """Names of the installed drivers, sorted."""
    return tuple(sorted(plugins().provided("iree_drivers")))


def create_device(name: str, *, threads: int | None = None, verify: bool | None = None) -> Device:
    """A device of driver ``name``. Raises PluginError when it is not installed or failed to load, and what
    :meth:`Driver.create_device` raises.
    """
    if threads is not None and threads < 1:
        raise HalError(OPTION, f"threads={threads}", hint="use at least 1")
    driver: Any = plugins().get("iree_drivers", name, "driver")
    device: Device = driver.create_device(threads=threads, verify=verify)
    return device


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
