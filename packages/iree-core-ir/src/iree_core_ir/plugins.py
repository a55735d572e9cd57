"""Compiler plugins found through entry points; see ``hookspecs`` for the contract."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from iree_base.plugins import PluginManager
from iree_core_ir import hookspecs


@functools.cache
def manager() -> PluginManager:
    """The process's compiler plugins, discovered on first use."""
    return PluginManager(hookspecs.GROUP, hookspecs, hookspecs.API)


def dialect_getters() -> dict[str, Callable[[], Any]]:
    return manager().provided("iree_dialects")


def interpreter_getters() -> dict[str, Callable[[], Any]]:
    return manager().provided("iree_interpreters")


def canonicalization_getters() -> dict[str, Callable[[], Any]]:
    return manager().provided("iree_canonicalizations")


def pass_getters() -> dict[str, Callable[[], Any]]:
    """The passes of this package and of all plugins."""
    from iree_core_ir.passes import getters

    return {**getters(), **manager().provided("iree_passes")}


def constant_transform_getters() -> dict[str, Callable[[], Any]]:
    return manager().provided("iree_constant_transforms")


def frontend_getters() -> dict[str, Callable[[], Any]]:
    return manager().provided("iree_frontends")


def target_getters() -> dict[str, Callable[[], Any]]:
    return manager().provided("iree_targets")


def default_target_ranks() -> dict[str, int]:
    """Targets that may be compiled for when nobody names one, with their ranks."""
    return {name: int(rank()) for name, rank in manager().provided("iree_default_targets").items()}


def find_target(name: str) -> Any:
    """The target called ``name``. Raises PluginError naming what is installed and how to get more."""
    return manager().get("iree_targets", name, "target")


def find_frontend(name: str) -> Any:
    """The frontend for a name or file suffix. Raises PluginError naming what is installed."""
    return manager().get("iree_frontends", name, "frontend")
