"""Measured times and the work of dispatches -> rows to show: by dispatch, or command by command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iree_cli.profiles.measure import STATISTICS, Measurement
from iree_cli.profiles.roofline import ARITHMETIC, Bound, Work, bound_of, sum_of, work_of
from iree_hal.peaks import Peaks
from iree_vm.artifact import DispatchInfo


@dataclass(frozen=True)
class Line:
    """A dispatch with all its calls, or one command. Times are nanoseconds of one call of the function."""

    name: str
    nanoseconds: float
    share: float
    count: int
    work: Work
    bound: Bound | None
    strategy: str
    why: str
    sources: tuple[str, ...]
    index: int
    """Place of the (first) command in its recording; -1 for what the device adds."""
    workgroups: tuple[int, int, int]

    @property
    def flops_rate(self) -> float | None:
        """Operations a second."""
        return _rate(self.work.flops, self.nanoseconds)

    @property
    def bytes_rate(self) -> float | None:
        """Bytes a second."""
        return _rate(self.work.nbytes, self.nanoseconds)

    @property
    def reached(self) -> float | None:
        """Part of the bound that is reached: 1 is as fast as possible."""
        return (
            None if self.bound is None or not self.nanoseconds else self.bound.nanoseconds / self.nanoseconds
        )

    def to_json(self) -> dict[str, Any]:
        """Times in microseconds, rates in units of 10^9 a second."""
        work = self.work
        return {
            "name": self.name,
            "microseconds": self.nanoseconds / 1e3,
            "share": self.share,
            "count": self.count,
            "flops": work.flops,
            "transcendentals": work.transcendentals,
            "bytes": {"constants": work.constants, "read": work.read, "written": work.written},
            "gflops": None if self.flops_rate is None else self.flops_rate / 1e9,
            "gbytes": None if self.bytes_rate is None else self.bytes_rate / 1e9,
            "bound_microseconds": None if self.bound is None else self.bound.nanoseconds / 1e3,
            "bound_by": None if self.bound is None else self.bound.by,
            "reached": self.reached,
            "strategy": self.strategy,
            "why": self.why,
            "sources": list(self.sources),
            "index": self.index,
            "workgroups": list(self.workgroups),
        }


def _rate(amount: int | None, nanoseconds: float) -> float | None:
    return None if amount is None or not nanoseconds else 1e9 * amount / nanoseconds


@dataclass(frozen=True)
class Report:
    """Everything that ``iree profile`` found. ``lines`` are by dispatch, slowest first; ``commands`` in the
    order of execution.
    """

    title: str
    facts: dict[str, Any]
    peaks: Peaks | None
    call: float
    """Nanoseconds of a plain call, as the caller sees it."""
    device: float
    """Nanoseconds of the device's part of it, commands running together where they can."""
    commands: tuple[Line, ...]
    lines: tuple[Line, ...]

    @property
    def nanoseconds(self) -> float:
        """All commands one after the other."""
        return sum(line.nanoseconds for line in self.commands)

    @property
    def bound(self) -> float | None:
        """The least time for all commands; None where the bound of one is unknown."""
        bounds = [line.bound for line in self.commands]
        return None if None in bounds else sum(b.nanoseconds for b in bounds if b is not None)

    def to_json(self) -> dict[str, Any]:
        peaks = self.peaks
        return {
            **self.facts,
            "call_microseconds": self.call / 1e3,
            "device_microseconds": self.device / 1e3,
            "commands_microseconds": self.nanoseconds / 1e3,
            "bound_microseconds": None if self.bound is None else self.bound / 1e3,
            "peaks": None
            if peaks is None
            else {
                "gflops": peaks.flops / 1e9,
                "gbytes": [{"working_set": size, "rate": rate / 1e9} for size, rate in peaks.bandwidths],
            },
            "dispatches": [line.to_json() for line in self.lines],
            "commands": [line.to_json() for line in self.commands],
        }


def make_report(
    title: str,
    facts: dict[str, Any],
    measured: Measurement,
    infos: dict[str, DispatchInfo],
    peaks: Peaks | None,
    weights: int,
    statistic: str,
) -> Report:
    """Join what was measured with what the compiler said. ``weights``: bytes of all constants."""
    of = STATISTICS[statistic]
    times = [float(of(command.nanoseconds)) for command in measured.commands]
    whole = sum(times) or 1.0
    commands = []
    for command, spent in zip(measured.commands, times, strict=True):
        row = command.row
        info = infos.get(row.export) if row.executable else None
        work = work_of(row, info)
        bound = bound_of(work, peaks, weights)
        strategy, why = (info.strategy, info.why) if info is not None else ("", "")
        sources = info.sources if info is not None else ()
        commands.append(
            Line(
                row.export,
                spent,
                spent / whole,
                1,
                work,
                bound,
                strategy,
                why,
                sources,
                row.command_index,
                row.workgroups,
            )
        )
    grouped: dict[str, list[Line]] = {}
    for line in commands:
        grouped.setdefault(line.name, []).append(line)
    lines = sorted((_join(same) for same in grouped.values()), key=lambda line: -line.nanoseconds)
    return Report(
        title,
        facts,
        peaks,
        float(of(measured.calls)),
        float(of(measured.totals)),
        tuple(commands),
        tuple(lines),
    )


def _join(lines: Sequence[Line]) -> Line:
    first = lines[0]
    bounds = [line.bound for line in lines if line.bound is not None]
    bound = None
    if len(bounds) == len(lines):
        arithmetic = sum(b.nanoseconds for b in bounds if b.by == ARITHMETIC)
        total = sum(b.nanoseconds for b in bounds)
        bound = Bound(
            total, max(bounds, key=lambda b: b.nanoseconds).by if 2 * arithmetic < total else ARITHMETIC
        )
    return Line(
        first.name,
        sum(line.nanoseconds for line in lines),
        sum(line.share for line in lines),
        len(lines),
        sum_of([line.work for line in lines]),
        bound,
        first.strategy,
        first.why,
        first.sources,
        first.index,
        first.workgroups,
    )
