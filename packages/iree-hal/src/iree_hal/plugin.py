"""The runtime plugin of this distribution: drivers null, local-sync, local-task, the ELF loader, a cache."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from iree_hal.hookspecs import hookimpl

api = (1, 0)


def _driver(folder: str) -> Callable[[], Any]:
    return lambda: import_module(f"iree_hal.builtin_drivers.{folder}.driver").DRIVER


def _elf_loader() -> Any:
    return import_module("iree_hal.executable_loader").ELF_LOADER


def _peaks() -> Any:
    return import_module("iree_hal.peaks.measure").disk_cache()


@hookimpl
def iree_caches() -> dict[str, Callable[[], Any]]:
    return {"peaks": _peaks}


@hookimpl
def iree_drivers() -> dict[str, Callable[[], Any]]:
    return {
        "null": _driver("null"),
        "local-sync": _driver("local_sync"),
        "local-task": _driver("local_task"),
    }


@hookimpl
def iree_executable_loaders() -> dict[str, Callable[[], Any]]:
    return dict.fromkeys(("elf-x86_64", "elf-aarch64", "elf-riscv64"), _elf_loader)
