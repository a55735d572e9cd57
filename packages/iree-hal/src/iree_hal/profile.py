"""Profiles: how long the device itself says that commands took.

::

    with device.profiling() as profile:
        module.main(x)
    for row in profile.rows: ...
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from iree_base.records import record


@record(frozen=True)
class ProfileRow:
    """One command of one execution. ``execution`` numbers the executions of the profile, ``command_index``
    is the place in the recording (-1: what the device adds, such as copies from and to the host);
    ``executable`` is empty for fills and copies. Times are in nanoseconds. ``constants`` are the 32-bit words
    that a dispatch was given, ``lengths`` the bytes of each binding.
    """

    execution: int
    command_index: int
    executable: str
    export: str
    nanoseconds: int
    workgroups: tuple[int, int, int]
    constants: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()


Command = tuple[int, str, str, int, tuple[int, int, int], tuple[int, ...], tuple[int, ...]]
"""What a device says of a command: the fields of a row but for the number of the execution."""


class Profile:
    """Thread-safe. ``per_dispatch``: commands run one after the other and each has a row; else the
    schedule is as always and only ``totals`` grows, by the nanoseconds of each execution. ``cpu_time``: what
    the calling thread spent, without what others took the processor for.
    """

    def __init__(self, per_dispatch: bool = True, cpu_time: bool = False) -> None:
        self.per_dispatch = per_dispatch
        self.cpu_time = cpu_time
        self.rows: list[ProfileRow] = []
        self.totals: list[int] = []
        self._executions = 0
        self._lock = threading.Lock()

    def add(self, total: int, commands: Iterable[Command]) -> None:
        """One execution: its nanoseconds and its commands."""
        with self._lock:
            number = self._executions
            self._executions += 1
            self.totals.append(total)
            self.rows += [ProfileRow(number, *command) for command in commands]
