"""``iree devices``: the drivers that are installed and the devices that each opens on this machine."""

from __future__ import annotations

from typing import Any

import click

import iree_hal
from iree_base.errors import IreeError
from iree_cli import console, options


def describe(name: str) -> dict[str, Any]:
    """What the default device of one driver says of itself, or why there is none."""
    try:
        device = iree_hal.create_device(name)
    except IreeError as error:
        return {"driver": name, "status": "unavailable", "reason": str(error)}
    facts: dict[str, Any] = {"driver": name, "status": "ok"}
    for attribute in ("id", "threads", "features", "formats"):
        value = getattr(device, attribute, None)
        if callable(value):
            continue
        if value is not None:
            facts[attribute] = sorted(value) if isinstance(value, (set, frozenset)) else value
    return facts


@click.command()
@options.json_option
def command(as_json: bool) -> None:
    """List drivers and devices."""
    found = [describe(name) for name in sorted(iree_hal.drivers())]
    if as_json:
        console.print_json({"devices": found})
        return
    rows = []
    for entry in found:
        rest = [
            f"{key}={_text(value)}" for key, value in entry.items() if key not in ("driver", "status", "id")
        ]
        rows.append([entry["driver"], str(entry.get("id", "-")), entry["status"], "  ".join(rest)])
    console.print_table(["driver", "device", "status", "about"], rows)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
