"""What a compile has to say about itself: placement, memory, read-backs, time per phase."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from iree_base.records import field, record
from iree_flow.chosen_description import OWN


@record
class PlacementRow:
    """Which target took an op (or dispatch), and why."""

    name: str
    target: str
    why: str
    sources: list[str] = field(default_factory=list)


@record
class ArenaHolder:
    """A temporary in an arena at its fullest: the dispatch that writes it first, bytes, and from which wave
    to which it lives.
    """

    name: str
    bytes: int
    first: int
    last: int


@record
class ArenaRow:
    """The arena of one region, in bytes. ``lower_bound`` is the largest sum of what lives at one time; dims
    only known at run time count as ``factors`` says.
    """

    function: str
    region: int
    factors: str
    peak: int
    lower_bound: int
    sum_of_temporaries: int
    target: str = ""
    temporaries: int = 0
    in_place: int = 0
    """Results that took over the memory of an operand."""
    fullest: list[ArenaHolder] = field(default_factory=list)


@record
class TuningRow:
    """What was measured of a dispatch: the least seconds by candidate, and which was taken."""

    name: str
    label: str
    seconds: dict[str, float]


@record
class DispatchRow:
    """One executable: strategy, why, and the source nodes it computes."""

    name: str
    target: str
    strategy: str
    why: str
    sources: list[str]
    object_bytes: int
    cached: bool


@record
class CompileReport:
    """Filled by the phases; ``Artifact.report`` holds it."""

    source: str = ""
    configuration: dict[str, Any] = field(default_factory=dict)
    phases: list[tuple[str, float]] = field(default_factory=list)
    """(phase, CPU seconds of this process)."""
    remarks: list[str] = field(default_factory=list)
    """What was asked for and could not be had."""
    placement: list[PlacementRow] = field(default_factory=list)
    arenas: list[ArenaRow] = field(default_factory=list)
    read_backs: list[str] = field(default_factory=list)
    """Source nodes whose result the host must read before it can go on."""
    dispatches: list[DispatchRow] = field(default_factory=list)
    tuning: list[TuningRow] = field(default_factory=list)
    constant_bytes: int = 0
    """Constants as stored: what several variants use counts once."""
    shared_bytes: int = 0
    """Those that several variants use."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        """What ``iree compile --report`` prints: placement, kernels, memory, read-backs, time."""
        placed: dict[tuple[str, str], int] = {}
        for row in self.placement:
            key = (row.target, row.why)
            placed[key] = placed.get(key, 0) + 1
        lines = [*self.remarks, "placement"]
        lines += [f"  {count} ops on {target}: {why}" for (target, why), count in placed.items()]
        targets = dict.fromkeys(dispatch.target for dispatch in self.dispatches)
        for target in targets:
            dispatches = [dispatch for dispatch in self.dispatches if dispatch.target == target]
            total = sum(dispatch.object_bytes for dispatch in dispatches)
            lines.append(f"kernels of {target} ({len(dispatches)}, {total} bytes)")
            for dispatch in dispatches:
                lines.append(f"  {dispatch.name}: {dispatch.strategy} ({dispatch.why})")
                lines.append(f"    from {_shortened(dispatch.sources)}")
        lines.append(
            f"constants: {self.constant_bytes} bytes, of which {self.shared_bytes} of several variants"
        )
        lines += self.arena_lines()
        lines += self.tuning_lines()
        lines += [f"read back by the host: {source}" for source in self.read_backs]
        lines.append("CPU seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in self.phases))
        return "\n".join(lines)

    def tuning_lines(self) -> list[str]:
        """Dispatches for which another choice than the target's own was faster."""
        better = [row for row in self.tuning if row.label != OWN]
        if not self.tuning:
            return []
        lines = [f"tuned: {len(better)} of {len(self.tuning)} dispatches with a choice"]
        for row in better:
            own, taken = row.seconds[OWN], row.seconds[row.label]
            lines.append(f"  {row.name}: {row.label}, {1e6 * taken:.1f} us instead of {1e6 * own:.1f}")
        return lines

    def arena_lines(self, *, each: bool = False) -> list[str]:
        """The memory of temporaries, region by region; with ``each`` also what fills each arena."""
        several = len(dict.fromkeys(row.target for row in self.arenas)) > 1
        lines = ["arena, bytes: reserved / lower bound / sum of temporaries"]
        for row in self.arenas:
            of = f"{row.target} " if several else ""
            factors = f", taking {row.factors}" if row.factors else ""
            over = f"{100 * (row.peak / row.lower_bound - 1):.1f}% over" if row.lower_bound else "empty"
            lines.append(
                f"  {of}@{row.function} region {row.region}: {row.peak} / {row.lower_bound} / "
                f"{row.sum_of_temporaries} ({over}); {row.temporaries} temporaries, "
                f"{row.in_place} results in place{factors}"
            )
            if each:
                lines += [
                    f"    {holder.bytes} from {holder.name}, waves {holder.first} to {holder.last}"
                    for holder in row.fullest
                ]
        return lines


def _shortened(sources: list[str], limit: int = 3) -> str:
    rest = len(sources) - limit
    return ", ".join(sources[:limit]) + (f" and {rest} more" if rest > 0 else "")
