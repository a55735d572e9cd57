"""What a driver says before a device is opened: the devices there are, and what is wrong where none is.

A device path is ``driver`` or ``driver://selector``; a selector is an index, a part of the name or a UUID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iree_base.records import field, record
from iree_hal.errors import NO_DEVICE, HalError

NOT_A_COMPUTER = -1
INTERPRETER = 0
SOFTWARE_DEVICE = 5
PROCESSOR = 10
SHARED_MEMORY_DEVICE = 20
OWN_MEMORY_DEVICE = 30
"""Ranks of :class:`DeviceInfo`: what to prefer where nobody names a device. Values between are allowed."""


@record(frozen=True)
class DeviceInfo:
    """A device that a driver could open.

    ``path`` opens it, ``name`` is its maker's, ``facts`` are JSON values to show; ``uuid`` among them can be
    a selector. Where several devices can run a program, the one of the highest ``rank`` does.
    """

    path: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    rank: int = PROCESSOR


@record(frozen=True)
class Diagnosis:
    """One thing a driver needs: ``what``, whether it is there, and if not, the ``cause`` and the ``fix``
    (a command, or what to do).
    """

    ok: bool
    what: str
    cause: str = ""
    fix: str = ""


def split_path(path: str) -> tuple[str, str]:
    """``driver://selector`` -> (driver, selector); the selector is empty where none is given."""
    driver, _, selector = path.partition("://")
    return driver, selector


def match_device(infos: Sequence[DeviceInfo], selector: str, driver: str = "") -> int:
    """Position of the device that ``selector`` means; without one, of the highest ranked (the first of
    several). Raises HalError NO_DEVICE when none or more than one fits, listing the candidates.
    """
    wanted = selector.strip().lower()
    if not wanted:
        if infos:
            return max(range(len(infos)), key=lambda i: (infos[i].rank, -i))
        raise HalError(NO_DEVICE, driver or "none", hint="iree plugins doctor")
    found = [i for i, info in enumerate(infos) if _fits(info, i, wanted)]
    if len(found) == 1:
        return found[0]
    candidates = "; ".join(f"{i}: {info.name}" for i, info in enumerate(infos)) or "none"
    problem = "several devices fit" if found else "no device fits"
    raise HalError(
        NO_DEVICE,
        f"'{selector}'{f' of {driver}' if driver else ''}: {problem}",
        cause=f"by index: {candidates}",
        hint="use an index, a part of one device's name, or a UUID; iree devices",
    )


def _fits(info: DeviceInfo, index: int, wanted: str) -> bool:
    if wanted.isdecimal() and len(wanted) < 4:
        return index == int(wanted)
    uuid = str(info.facts.get("uuid", "")).lower().replace("-", "")
    return (bool(uuid) and wanted.replace("-", "") == uuid) or wanted in info.name.lower()
