"""The compiler plugin of this distribution: the ``vm`` dialect."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from iree_core_ir.hookspecs import hookimpl

api = (1, 0)


@hookimpl
def iree_dialects() -> dict[str, Callable[[], Any]]:
    return {"vm": lambda: import_module("iree_vm.compiler.dialect")}
