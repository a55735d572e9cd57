"""Calls of a function -> the times of its commands, by the device's own clock."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from iree_hal import Device
from iree_hal.profile import ProfileRow

STATISTICS: dict[str, Callable[[list[int]], float]] = {"median": statistics.median, "minimum": min}


@dataclass
class Command:
    """One command of a call, in the order of execution; ``nanoseconds`` of every round."""

    row: ProfileRow
    nanoseconds: list[int] = field(default_factory=list)


@dataclass
class Measurement:
    """``calls``: wall nanoseconds of calls that nothing is timed in. ``totals``: what the device says that
    its part of a call takes when commands run together. ``commands``: one after the other.
    """

    calls: list[int] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


def measure(
    device: Device, call: Callable[[], object], rounds: int, warmup: int, cpu_time: bool = False
) -> Measurement:
    """Time ``call``, which uses ``device``, so many rounds: each calls it plainly, with a total, and with the
    times of its commands, so that all three see the same machine. ``cpu_time``: by the processor time of this
    thread.

    Raises HalError UNSUPPORTED for a device that takes no times.
    """
    result = Measurement()
    commands: dict[tuple[int, str, int], Command] = {}
    clock = time.thread_time_ns if cpu_time else time.perf_counter_ns
    for number in range(-warmup, rounds):
        start = clock()
        call()
        elapsed = clock() - start
        with device.profiling(per_dispatch=False, cpu_time=cpu_time) as total:
            call()
        with device.profiling(cpu_time=cpu_time) as profile:
            call()
        if number < 0:
            continue
        result.calls.append(elapsed)
        result.totals.append(sum(total.totals))
        # A loop on the host runs the same commands again; their number may differ between calls.
        seen: Counter[tuple[int, str]] = Counter()
        for row in profile.rows:
            name = (row.command_index, row.export)
            key = (*name, seen[name])
            seen[name] += 1
            commands.setdefault(key, Command(row)).nanoseconds.append(row.nanoseconds)
    result.commands = list(commands.values())
    return result
