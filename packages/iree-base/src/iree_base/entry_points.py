"""Entry points of the installed distributions, without what ``importlib.metadata`` imports.

That module brings mail and archive parsers along, which cost a program more to start than all plugins
together. Here the files ``entry_points.txt`` beside the packages are read directly, a folder of ``sys.path``
once as long as it does not change. Where distributions are found some other way (archives, finders of their
own), ``importlib.metadata`` is asked after all.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_INFO = (".dist-info", ".egg-info")
_Found = tuple[str, str, str]
"""(normalized name of the distribution, its folder, text of its entry points)"""
_folders: dict[str, tuple[int, list[_Found]]] = {}


class EntryPoint:
    """``value`` is ``module`` or ``module:attribute``; ``dist`` reads the distribution's metadata."""

    __slots__ = ("_folder", "group", "name", "value")

    def __init__(self, name: str, value: str, group: str, folder: str) -> None:
        self.name = name
        self.value = value
        self.group = group
        self._folder = folder

    @property
    def dist(self) -> Distribution | None:
        from importlib.metadata import Distribution

        return Distribution.at(Path(self._folder))

    def load(self) -> Any:
        """The object. Raises ImportError, AttributeError and what importing the module raises."""
        module, _, attributes = self.value.partition(":")
        found: Any = importlib.import_module(module)
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
        return found

    def __repr__(self) -> str:
        return f"EntryPoint({self.name!r}, {self.value!r}, {self.group!r})"


def entry_points(group: str) -> list[Any]:
    """The entry points of ``group``, in no order; of several distributions of one name the first on the path
    counts.
    """
    if not _plain():
        from importlib import metadata

        return list(metadata.entry_points(group=group))
    seen: set[str] = set()
    result: list[EntryPoint] = []
    for entry in dict.fromkeys(sys.path):
        for name, folder, text in _distributions(entry or os.getcwd()):
            if name in seen:
                continue
            seen.add(name)
            if group in text:
                result += [EntryPoint(n, v, group, folder) for n, v in _section(text.splitlines(), group)]
    return result


def distribution(name: str) -> tuple[str, str] | None:
    """(version, folder of its metadata) of an installed distribution, the first on the path; None where none
    lies in a folder of ``sys.path``.
    """
    wanted = _normalized(name)
    for entry in dict.fromkeys(sys.path):
        for found, folder, _ in _distributions(entry or os.getcwd()):
            if found == wanted and folder.endswith(_INFO[0]):
                return os.path.basename(folder)[: -len(_INFO[0])].partition("-")[2], folder
    return None


def version(name: str) -> str | None:
    """The version of a distribution, wherever it lies; None when it is not installed."""
    found = distribution(name)
    if found is not None:
        return found[0]
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _plain() -> bool:
    """Whether distributions are found in folders alone."""
    if any(
        hasattr(finder, "find_distributions") and getattr(finder, "__name__", "") != "PathFinder"
        for finder in sys.meta_path
    ):
        return False
    return not any(os.path.isfile(entry) for entry in sys.path)


def _distributions(folder: str) -> list[_Found]:
    try:
        changed = os.stat(folder).st_mtime_ns
        known = _folders.get(folder)
        if known is not None and known[0] == changed:
            return known[1]
        names = os.listdir(folder)
    except OSError:
        return []
    found: list[_Found] = []
    for name in names:
        if not name.endswith(_INFO):
            continue
        path = os.path.join(folder, name)
        try:
            with open(os.path.join(path, "entry_points.txt"), encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            text = ""
        project = name.rsplit(".", 1)[0].partition("-")[0]
        found.append((_normalized(project), path, text))
    _folders[folder] = (changed, found)
    return found


def _section(lines: Iterable[str], group: str) -> list[tuple[str, str]]:
    """(name, value) of the lines under ``[group]``."""
    result: list[tuple[str, str]] = []
    inside = False
    for line in lines:
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            inside = text[1:-1].strip() == group
        elif inside and text and not text.startswith(("#", ";")):
            name, equals, value = text.partition("=")
            if equals:
                result.append((name.strip(), value.partition("[")[0].strip()))
    return result


__all__ = ["EntryPoint", "distribution", "entry_points", "version"]
