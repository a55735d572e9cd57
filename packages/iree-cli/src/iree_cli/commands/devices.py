"""``iree devices``: the drivers that are installed and the devices that each could open on this machine."""

from __future__ import annotations

from typing import Any

import click

import iree_hal
from iree_base.errors import IreeError
from iree_cli import console, options


def describe(name: str) -> list[dict[str, Any]]:
    """The devices of one driver with their facts, or one entry that says why there is none."""
    try:
        driver = iree_hal.find_driver(name)
        found = driver.devices()
        if not found:
            reasons = [f"{d.what}: {d.cause}" for d in driver.diagnose() if not d.ok]
            return [_unavailable(name, "; ".join(reasons) or "it finds no device")]
    except IreeError as error:
        return [_unavailable(name, str(error))]
    return [
        {"driver": name, "path": info.path, "name": info.name, "status": "ok", **info.facts} for info in found
    ]


def _unavailable(name: str, reason: str) -> dict[str, Any]:
    return {"driver": name, "path": None, "name": None, "status": "unavailable", "reason": reason}


@click.command()
@options.json_option
def command(as_json: bool) -> None:
    """List drivers and devices. A device's path is what --device takes; iree plugins doctor tells what a
    driver without one lacks.
    """
    found = [entry for name in sorted(iree_hal.drivers()) for entry in describe(name)]
    if as_json:
        console.print_json({"devices": found})
        return
    shown = ("driver", "path", "name", "status")
    rows = []
    for entry in found:
        about = "  ".join(f"{key}={_text(value)}" for key, value in entry.items() if key not in shown)
        rows.append([*(str(entry[key] or "-") for key in shown), about])
    console.print_table(["driver", "device", "name", "status", "about"], rows)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
