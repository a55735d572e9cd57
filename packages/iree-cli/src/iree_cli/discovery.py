"""All plugins of this environment, by entry-point group.

A group's contract belongs to its host package: ``iree.compiler`` to iree-core-ir, ``iree.runtime`` to
iree-hal. Where the host is not installed, the group's entry points are shown as unused.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import iree_hal
from iree_base.entry_points import EntryPoint, entry_points
from iree_base.errors import PluginError
from iree_base.plugins import PluginManager, PluginRecord
from iree_cli import main
from iree_hal import Diagnosis

if TYPE_CHECKING:
    from importlib.metadata import Distribution

HOSTS = {"iree.compiler": "iree_core_ir", "iree.runtime": "iree_hal"}


def manager(group: str) -> PluginManager | None:
    """The plugins of ``group``, loaded, or None where its host package is not installed."""
    if group == "iree.runtime":
        return iree_hal.plugins()
    try:
        from iree_core_ir import plugins
    except ModuleNotFoundError:
        return None
    return plugins.manager()


def hooks(group: str) -> list[str]:
    """The hooks of a group, each of which returns names with getters."""
    specs = importlib.import_module(f"{HOSTS[group]}.hookspecs")
    return [name for name, value in vars(specs).items() if hasattr(value, f"{group}_spec")]


def names(group: str, hook: str) -> list[str]:
    """What plugins of ``group`` provide through ``hook``."""
    found = manager(group)
    return sorted(found.provided(hook)) if found is not None else []


def records() -> list[PluginRecord]:
    """Every plugin with what became of it; what it owns is filled in."""
    result: list[PluginRecord] = []
    for group in HOSTS:
        found = manager(group)
        if found is None:
            result += _unused(group)
            continue
        for hook in hooks(group):
            try:
                found.provided(hook)
            except PluginError as error:
                _blame(found.records, hook, error)
        result += found.records
    return result + _commands()


def diagnoses() -> Iterator[tuple[str, Diagnosis]]:
    """(driver name, what it says about one thing it needs); a driver that does not load is one of them."""
    found = iree_hal.plugins()
    for name in names("iree.runtime", "iree_drivers"):
        try:
            driver = found.get("iree_drivers", name, "driver")
        except PluginError as error:
            yield name, Diagnosis(False, "its own code", str(error), "iree plugins explain " + name)
            continue
        try:
            answers = tuple(driver.diagnose())
        except Exception as error:  # it must not, but the others are to be heard
            reason = f"{type(error).__name__}: {error}"
            answers = (Diagnosis(False, "a working diagnosis", reason, f"iree plugins explain {name}"),)
        for diagnosis in answers:
            yield name, diagnosis


def _blame(records: list[PluginRecord], hook: str, error: PluginError) -> None:
    """Two plugins own one name: neither is at fault alone, so both show it."""
    for record in records:
        if record.status == "ok" and f" {record.distribution} " in f"{error.detail} ".replace(",", " "):
            record.status, record.reason = "failed", f"{hook}: {error.summary}: {error.detail}"


def _unused(group: str) -> list[PluginRecord]:
    host = HOSTS[group].replace("_", "-")
    return [
        PluginRecord(
            entry.name,
            group,
            entry.value,
            _dist(entry),
            status="disabled",
            reason=f"{host} is not installed",
        )
        for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)
    ]


def _dist(entry: EntryPoint) -> Callable[[], Distribution | None]:
    return lambda: entry.dist


def _commands() -> list[PluginRecord]:
    result = []
    for entry in sorted(entry_points(group=main.GROUP), key=lambda entry: entry.name):
        record = PluginRecord(
            entry.name, main.GROUP, entry.value, _dist(entry), owns={"command": [entry.name]}
        )
        try:
            main.load_extension(entry)
        except Exception as error:
            record.status, record.reason = "failed", str(error.__cause__ or error)
            record.traceback = traceback.format_exc()
        result.append(record)
    return result
