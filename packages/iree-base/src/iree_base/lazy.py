"""Packages whose names are imported when they are used, so that importing the package costs nothing.

In a package's ``__init__``::

    if TYPE_CHECKING:
        from package.heavy import Thing
    __getattr__, __dir__ = attach(__name__, {"Thing": "package.heavy"})
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def attach(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of ``package``, which has each name of ``modules`` from its module.

    A name is looked up once; afterwards it is an ordinary attribute.
    """

    def getattribute(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def directory() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return getattribute, directory
