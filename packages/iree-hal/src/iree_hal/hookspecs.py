"""The runtime plugin contract, entry-point group ``iree.runtime``.

An entry point is a light module with ``api = (major, minor)`` and any of these hooks. Each returns
``{name: getter}``; the getter takes no argument and is called when the name is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from iree_base.disk_cache import DiskCache
    from iree_hal.driver import Driver
    from iree_hal.executable_loader import ExecutableLoader

hookspec = pluggy.HookspecMarker("iree.runtime")
hookimpl = pluggy.HookimplMarker("iree.runtime")


@hookspec
def iree_drivers() -> Mapping[str, Callable[[], Driver]]:
    """Driver name -> getter of the driver object."""
    raise AssertionError("a specification is never called")


@hookspec
def iree_executable_loaders() -> Mapping[str, Callable[[], ExecutableLoader]]:
    """Executable format -> getter of its loader; one loader may own several formats."""
    raise AssertionError("a specification is never called")


@hookspec
def iree_kernel_imports() -> Mapping[str, Callable[[], int]]:
    """``name@version`` -> getter of a function's address that kernels may import under that name."""
    raise AssertionError("a specification is never called")


@hookspec
def iree_vm_modules() -> Mapping[str, Callable[[], Any]]:
    """Module name -> getter of a VM module written in Python."""
    raise AssertionError("a specification is never called")


@hookspec
def iree_caches() -> Mapping[str, Callable[[], DiskCache]]:
    """Name -> getter of a cache on disk, for ``iree cache``."""
    raise AssertionError("a specification is never called")
