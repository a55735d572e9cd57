"""The runtime plugin of this distribution: VM modules that programs may import by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from iree_hal.hookspecs import hookimpl

api = (1, 0)


@hookimpl
def iree_vm_modules() -> dict[str, Callable[[], Any]]:
    return {"strings": lambda: import_module("iree_vm.modules.strings").MODULE}
