"""What every wheel of this checkout must be: pure Python, whole, and with the text of its license."""

from __future__ import annotations

import zipfile
from pathlib import Path

import fresh


def problems(wheel: Path) -> list[str]:
    """What is wrong with ``wheel``; empty when nothing is."""
    found = []
    if not wheel.name.endswith("-py3-none-any.whl"):
        found.append("it is not pure Python")
    module, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        license = f"{module}-{version}.dist-info/licenses/LICENSE"
        if license not in names:
            found.append("it has no LICENSE")
        elif archive.read(license) != (fresh.ROOT / "LICENSE").read_bytes():
            found.append("its LICENSE is not the checkout's")
    own = (f"{module}/", f"{module}-")
    found += [f"{name} is of no package" for name in sorted(names) if not name.startswith(own)]
    found += [f"{name} is missing" for name in sorted(sources(module.replace("_", "-")) - names)]
    return found


def sources(package: str) -> set[str]:
    """The files of a package below ``src``, as a wheel names them."""
    folder = fresh.ROOT / "packages" / package / "src"
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {
        path.as_posix()
        for path in files
        if path.suffix != ".pyc" and not any(part.startswith(".") for part in path.parts)
    }
