"""Plugins: entry points, each loaded in its own try, registered with pluggy one by one.

One failing plugin takes no other down: its traceback is kept in its record for
``iree plugins doctor``. An entry point is a light module (or object) with hook
implementations and ``api = (major, minor)``; hooks return names and lazy getters.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from iree_base import debug, records
from iree_base.entry_points import EntryPoint, entry_points
from iree_base.errors import IreeError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import Distribution


@records.record
class PluginRecord:
    """What became of one entry point: ``status`` is ``ok``, ``failed``, ``incompatible`` or ``disabled``.

    ``dist`` gives the installed distribution it comes from; its metadata is read when somebody asks.
    """

    name: str
    group: str
    value: str
    dist: Callable[[], Distribution | None] | None = records.field(default=None, repr=False)
    status: str = "ok"
    traceback: str = ""
    reason: str = ""
    plugin: Any = records.field(default=None, repr=False)
    owns: dict[str, list[str]] = records.field(default_factory=dict)
    """Hook name -> names this plugin provides through it."""

    @cached_property
    def _dist(self) -> Distribution | None:
        return None if self.dist is None else self.dist()

    @cached_property
    def distribution(self) -> str:
        return "?" if self._dist is None else self._dist.name

    @cached_property
    def version(self) -> str:
        return "?" if self._dist is None else self._dist.version

    @cached_property
    def bug_url(self) -> str:
        """Where to report: the distribution's project URL of issues, or nothing."""
        urls = [] if self._dist is None else self._dist.metadata.get_all("Project-URL") or []
        return next((u.split(",", 1)[1].strip() for u in urls if "issue" in u.lower()), "")


def _traceback() -> str:
    import traceback  # only failures need it

    return traceback.format_exc()


class PluginManager:
    """The plugins of one entry-point group, found at construction.

    ``hookspecs`` is the module of pluggy hook specifications; ``api`` the host's contract version:
    a plugin loads when its major is equal and its minor not larger. ``IREE_PLUGINS=a,b`` restricts
    which entry points are loaded.
    """

    def __init__(self, group: str, hookspecs: ModuleType, api: tuple[int, int]) -> None:
        self.group = group
        self.api = api
        self.records: list[PluginRecord] = []
        self._hookspecs = hookspecs
        self._manager = pluggy.PluginManager(group)
        self._manager.add_hookspecs(hookspecs)
        allowed = os.environ.get("IREE_PLUGINS")
        names = None if allowed is None else {name.strip() for name in allowed.split(",") if name.strip()}
        for entry in sorted(entry_points(group=group), key=lambda e: (e.name, e.value)):
            self._load(entry, names)

    def _load(self, entry: EntryPoint, allowed: set[str] | None) -> None:
        record = PluginRecord(entry.name, self.group, entry.value, lambda: entry.dist)
        self.records.append(record)
        if allowed is not None and entry.name not in allowed:
            record.status, record.reason = "disabled", "not named in IREE_PLUGINS"
            return
        try:
            plugin = entry.load()
            self.register(plugin, record)
        except Exception as error:
            record.status = "failed"
            record.reason = f"{type(error).__name__}: {error}"
            record.traceback = _traceback()
        debug.log(debug.PLUGINS, f"plugin {self.group}:{record.name} {record.status} {record.reason}")

    def register(self, plugin: Any, record: PluginRecord | None = None) -> None:
        """Register a loaded plugin object; an invalid one is unregistered again and raises."""
        api = getattr(plugin, "api", None)
        if api is None or api[0] != self.api[0] or api[1] > self.api[1]:
            reason = f"needs contract {api}, this host has {self.api}"
            if record is None:
                raise PluginError(4, reason)
            record.status, record.reason = "incompatible", reason
            return
        name = record.name if record else getattr(plugin, "__name__", repr(plugin))
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except Exception:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise
        if record is not None:
            record.plugin = plugin
        else:
            self.records.append(PluginRecord(name, self.group, name, plugin=plugin))

    def provided(self, hook: str) -> dict[str, Any]:
        """All ``name -> getter`` mappings that plugins return from ``hook``.

        A plugin that raises is marked failed and skipped. Raises PluginError 2 when two
        plugins own one name, naming both.
        """
        result: dict[str, Any] = {}
        owner: dict[str, PluginRecord] = {}
        for record in self.records:
            if record.status != "ok" or record.plugin is None:
                continue
            function = getattr(record.plugin, hook, None)
            if function is None:
                continue
            try:
                names = dict(function())
            except Exception as error:
                record.status = "failed"
                record.reason = f"{hook}: {type(error).__name__}: {error}"
                record.traceback = _traceback()
                continue
            record.owns[hook] = sorted(names)
            for name, getter in names.items():
                if name in owner:
                    first = owner[name]
                    raise PluginError(
                        2,
                        f"{hook} '{name}' from {first.distribution} and {record.distribution}",
                        hint="uninstall one of them, or restrict with IREE_PLUGINS",
                    )
                owner[name] = record
                result[name] = getter
        return result

    def get(self, hook: str, name: str, kind: str) -> Any:
        """The object called ``name`` from ``hook``, loaded now.

        Raises PluginError 3 (not installed; lists what is) or 1 (its plugin failed).
        """
        names = self.provided(hook)
        if name in names:
            try:
                return names[name]()
            except IreeError:
                raise
            except Exception as error:
                owner = next(r for r in self.records if name in r.owns.get(hook, ()))
                owner.status = "failed"
                owner.reason = f"{type(error).__name__}: {error}"
                owner.traceback = _traceback()
                raise PluginError(
                    1,
                    f"{kind} '{name}' of {owner.distribution} {owner.version}",
                    cause=owner.reason,
                    hint="iree plugins doctor" + (f"; report at {owner.bug_url}" if owner.bug_url else ""),
                ) from error
        failed = [r for r in self.records if r.status in ("failed", "incompatible")]
        for record in failed:
            if record.name == name:
                raise PluginError(
                    1,
                    f"{kind} '{name}' of {record.distribution} {record.version}",
                    cause=record.reason,
                    hint="iree plugins doctor" + (f"; report at {record.bug_url}" if record.bug_url else ""),
                )
        note = f"; {len(failed)} plugin(s) failed to load, see iree plugins doctor" if failed else ""
        raise PluginError(
            3,
            f"{kind} '{name}'",
            cause="installed: " + (", ".join(sorted(names)) or "none") + note,
            hint=f"pip install the package that provides it, for example iree-target-{name.split('-')[0]}",
        )
