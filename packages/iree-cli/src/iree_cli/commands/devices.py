"""``iree devices``: the drivers that are installed and the devices that each could open on this machine."""

from __future__ import annotations

from typing import Any

import click

import iree_hal
from iree_base.errors import IreeError
from iree_cli import console, options
from iree_hal.device_info import match_device, split_path

MOST_ITEMS = 3
"""Longer lists are shown as their length in the table."""


def describe(name: str) -> list[dict[str, Any]]:
    """The devices of one driver with their facts, or one entry that says why there is none."""
    try:
        driver = iree_hal.find_driver(name)
        found = driver.devices()
        if not found:
            lacks = [d for d in driver.diagnose() if not d.ok]
            reason = "; ".join(f"{d.what}: {d.cause}" for d in lacks) or "it finds no device"
            return [_unavailable(name, reason, next((d.fix for d in lacks if d.fix), "iree plugins doctor"))]
    except IreeError as error:
        return [_unavailable(name, str(error), error.hint or "iree plugins doctor")]
    except Exception as error:  # one driver's mistake does not hide the others
        return [_unavailable(name, f"{type(error).__name__}: {error}", f"iree plugins explain {name}")]
    return [
        {"driver": name, "path": i.path, "name": i.name, "status": "ok", "facts": dict(i.facts)}
        for i in found
    ]


def _unavailable(name: str, reason: str, fix: str) -> dict[str, Any]:
    return {
        "driver": name,
        "path": None,
        "name": None,
        "status": "unavailable",
        "facts": {},
        "reason": reason,
        "next": fix,
    }


@click.command()
@click.argument("path", required=False, shell_complete=options.complete_devices)
@options.json_option
def command(path: str | None, as_json: bool) -> None:
    """List drivers and devices; with the PATH of one, such as local-task or driver://0, all of its facts.

    A device's path is what --device takes; iree plugins doctor tells what a driver without one lacks.
    """
    if path is not None:
        entry = _one(path)
        if as_json:
            console.print_json(entry)
            return
        rows = [[key, str(entry[key])] for key in ("driver", "path", "name")]
        rows += [[key, _text(value, whole=True)] for key, value in entry["facts"].items()]
        console.print_table(["fact", "value"], rows)
        return
    found = [entry for name in sorted(iree_hal.drivers()) for entry in describe(name)]
    if as_json:
        console.print_json({"devices": found})
        return
    rows = []
    for entry in found:
        about = "  ".join(f"{key}={_text(value)}" for key, value in entry["facts"].items())
        if "reason" in entry:
            about = f"{' '.join(entry['reason'].split())}; next: {entry['next']}"
        rows.append([*(str(entry[key] or "-") for key in ("driver", "path", "name", "status")), about])
    console.print_table(["driver", "device", "name", "status", "about"], rows)


def _one(path: str) -> dict[str, Any]:
    """The entry of the device at ``path``. Raises PluginError, HalError NO_DEVICE."""
    name, selector = split_path(path)
    infos = iree_hal.find_driver(name).devices()
    info = infos[match_device(infos, selector, name)]
    return {"driver": name, "path": info.path, "name": info.name, "facts": dict(info.facts)}


def _text(value: Any, *, whole: bool = False) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    if len(value) > MOST_ITEMS and not whole:
        return f"({len(value)})"
    return ("\n" if whole and len(value) > MOST_ITEMS else ",").join(map(str, value)) or "-"
