"""How fast a dispatch could be: its work divided by what the device can do (a roofline).

Arithmetic takes at least operations / peak. Memory takes at least bytes / bandwidth, and bandwidth depends
on where bytes come from: the weights of a model were last read one call ago, so they come from whatever holds
all of them; other inputs were written shortly before, so they come from what holds the dispatch's own. The
larger of both times is the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iree_base.postfix import evaluate
from iree_hal.peaks import Peaks
from iree_hal.profile import ProfileRow
from iree_vm.artifact import DispatchInfo

ARITHMETIC, MEMORY = "arithmetic", "memory"


@dataclass(frozen=True)
class Work:
    """Operations and bytes; None where that is not known."""

    flops: int | None = None
    transcendentals: int | None = None
    constants: int = 0
    read: int | None = None
    written: int | None = None

    @property
    def nbytes(self) -> int | None:
        """All bytes that move."""
        if self.read is None or self.written is None:
            return None
        return self.constants + self.read + self.written


@dataclass(frozen=True)
class Bound:
    """Nanoseconds that are needed at least, and for what."""

    nanoseconds: float
    by: str


def work_of(row: ProfileRow, info: DispatchInfo | None) -> Work:
    """What a command had to do. Of a dispatch that the compiler said nothing about: the bytes bound."""
    if not row.executable:
        if row.export == "fill" and row.lengths:
            return Work(0, 0, 0, 0, row.lengths[0])
        if row.export == "copy" and row.lengths:
            return Work(0, 0, 0, row.lengths[0], row.lengths[-1])
        return Work()
    if info is None or not info.work:
        return Work(read=sum(row.lengths), written=0)
    known = {name: evaluate(number, row.constants) for name, number in info.work.items()}
    return Work(
        known.get("flops"),
        known.get("transcendentals"),
        known.get("constants") or 0,
        known.get("read"),
        known.get("written"),
    )


def bound_of(work: Work, peaks: Peaks | None, weights: int) -> Bound | None:
    """The least time for ``work``, in a model with so many bytes of weights; None where peaks or work are
    unknown.
    """
    if peaks is None or work.nbytes is None:
        return None
    others = work.nbytes - work.constants
    memory = 1e9 * work.constants / peaks.bandwidth(weights) + 1e9 * others / peaks.bandwidth(others)
    arithmetic = 1e9 * (work.flops or 0) / peaks.flops
    return Bound(arithmetic, ARITHMETIC) if arithmetic >= memory else Bound(memory, MEMORY)


def sum_of(works: Sequence[Work]) -> Work:
    """The work of several commands together; unknown where one is."""

    def total(values: list[int | None]) -> int | None:
        return None if None in values else sum(value or 0 for value in values)

    return Work(
        total([w.flops for w in works]),
        total([w.transcendentals for w in works]),
        sum(w.constants for w in works),
        total([w.read for w in works]),
        total([w.written for w in works]),
    )
