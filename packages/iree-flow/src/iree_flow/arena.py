"""Memory planning: offsets for buffers with lifetimes, sizes possibly symbolic.

A size is ``coefficient * product(factors)`` bytes, where factors are run-time dims. Buffers with the same
factors are placed in one *zone* by first fit (largest first) in coefficient units; zones follow each
other. So a model with one dynamic batch dim plans as tightly as a static one. Coefficients are rounded
up to the alignment, hence every offset is aligned whatever the dims are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

ALIGNMENT = 64


@dataclass
class ArenaBuffer:
    """A temporary: live from time ``start`` to ``end``, both inclusive."""

    key: Hashable
    coefficient: int
    factors: tuple[Hashable, ...]
    start: int
    end: int
    offset: int = 0
    """In coefficient units inside its zone; set by ``plan``."""


@dataclass
class Zone:
    """Buffers that share the factors; ``peak`` in coefficient units."""

    factors: tuple[Hashable, ...]
    buffers: list[ArenaBuffer] = field(default_factory=list)
    peak: int = 0
    lower_bound: int = 0
    total: int = 0


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment


def plan(buffers: Sequence[ArenaBuffer], alignment: int = ALIGNMENT) -> list[Zone]:
    """Place every buffer at a multiple of ``alignment``; returns the zones, the static one first, then in
    order of appearance.
    """
    zones: dict[tuple[Hashable, ...], Zone] = {}
    for buffer in buffers:
        zones.setdefault(buffer.factors, Zone(buffer.factors)).buffers.append(buffer)
    ordered = sorted(zones.values(), key=lambda zone: bool(zone.factors))
    for zone in ordered:
        _place(zone, alignment)
    return ordered


def _place(zone: Zone, alignment: int) -> None:
    """First fit by decreasing size; ties by start."""
    placed: list[ArenaBuffer] = []
    for buffer in sorted(zone.buffers, key=lambda b: (-b.coefficient, b.start)):
        size = aligned(buffer.coefficient, alignment)
        overlapping = sorted(
            (other for other in placed if other.start <= buffer.end and buffer.start <= other.end),
            key=lambda other: other.offset,
        )
        offset = 0
        for other in overlapping:
            if other.offset - offset >= size:
                break
            offset = max(offset, other.offset + aligned(other.coefficient, alignment))
        buffer.offset = offset
        placed.append(buffer)
        zone.peak = max(zone.peak, offset + size)
    zone.total = sum(aligned(b.coefficient, alignment) for b in zone.buffers)
    zone.lower_bound = _lower_bound(zone.buffers, alignment)


def _lower_bound(buffers: Sequence[ArenaBuffer], alignment: int) -> int:
    """The largest sum of sizes live at one time: no plan can be smaller."""
    events: dict[int, int] = {}
    for buffer in buffers:
        size = aligned(buffer.coefficient, alignment)
        events[buffer.start] = events.get(buffer.start, 0) + size
        events[buffer.end + 1] = events.get(buffer.end + 1, 0) - size
    live = best = 0
    for time in sorted(events):
        live += events[time]
        best = max(best, live)
    return best
