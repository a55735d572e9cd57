"""The versions of everything installed that belongs to a compiler or runtime: packages and their plugins.

Only distribution metadata is read; nothing is imported.
"""

from __future__ import annotations

import platform
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions

GROUPS = ("iree.compiler", "iree.runtime", "iree.cli")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def plugin_owners() -> dict[str, list[str]]:
    """Distribution name -> its entry points as ``group:name``."""
    owners: dict[str, list[str]] = {}
    for found in distributions():
        entries = [f"{entry.group}:{entry.name}" for entry in found.entry_points if entry.group in GROUPS]
        if entries:
            owners.setdefault(found.name, sorted(set(entries)))
    return owners


def packages() -> dict[str, str]:
    """Distribution name -> version: this package, all that own plugins, and the siblings these need."""
    result: dict[str, str] = {}
    pending = ["iree-cli", *plugin_owners()]
    while pending:
        found = _find(pending.pop())
        if found is None or found.name in result:
            continue
        result[found.name] = found.version
        pending += [name for name in _requirements(found) if name.startswith("iree-")]
    return dict(sorted(result.items()))


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _requirements(found: Distribution) -> list[str]:
    matches = (_NAME.match(requirement) for requirement in found.requires or ())
    return [match[0] for match in matches if match]


def text() -> str:
    """Python, then a line a package with the plugins it brings."""
    owners = plugin_owners()
    rows = packages()
    width = max(map(len, rows), default=0)
    lines = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"]
    for name, version in rows.items():
        plugins = f"  {', '.join(owners[name])}" if name in owners else ""
        lines.append(f"{name.ljust(width)}  {version}{plugins}".rstrip())
    return "\n".join(lines)
