"""A difference -> the packages whose tests it can break: those it touches and those that need them.

``python ci/changed.py REF`` prints one name a line; ``all`` stands for a change that belongs to no package.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = "all"
HARMLESS = ("docs/", "README.md", "CONTRIBUTING.md", "LICENSE", ".gitignore")
"""What no package's tests read; the tests across packages read it all."""


def needs() -> dict[str, set[str]]:
    """Each package of the checkout with the siblings it declares, extras included."""
    result = {}
    for file in sorted(ROOT.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(file.read_text())["project"]
        wanted = [*project.get("dependencies", ())]
        for extra in project.get("optional-dependencies", {}).values():
            wanted += extra
        result[project["name"]] = {_name(requirement) for requirement in wanted}
    return {name: wanted & result.keys() for name, wanted in result.items()}


def _name(requirement: str) -> str:
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    return requirement[:end]


def differing(reference: str) -> list[str]:
    """Paths that differ between ``reference`` and the working tree, untracked ones included."""
    commands = (["diff", "--name-only", reference], ["ls-files", "--others", "--exclude-standard"])
    paths: list[str] = []
    for command in commands:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr.strip())
        paths += done.stdout.splitlines()
    return paths


def affected(paths: Iterable[str]) -> list[str]:
    """The packages that a change of ``paths`` can break, or ``[EVERYTHING]``."""
    graph = needs()
    found: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if parts[0] == "packages" and len(parts) > 1 and parts[1] in graph:
            found.add(parts[1])
        elif not path.startswith(HARMLESS):
            return [EVERYTHING]
    while True:
        above = {name for name, wanted in graph.items() if wanted & found} - found
        if not above:
            return sorted(found)
        found |= above


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: changed.py REF")
    print("\n".join(affected(differing(sys.argv[1]))))
