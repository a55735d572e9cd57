"""What a compile has to say about itself: placement, memory, read-backs, time per phase."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class PlacementRow:
    """Which target took an op (or dispatch), and why."""

    name: str
    target: str
    why: str
    sources: list[str] = field(default_factory=list)


@dataclass
class ArenaRow:
    """The arena of one region, in bytes; per symbolic zone ``factors`` names the dims to multiply by."""

    function: str
    region: int
    factors: str
    peak: int
    lower_bound: int
    sum_of_temporaries: int


@dataclass
class DispatchRow:
    """One executable: strategy, why, and the source nodes it computes."""

    name: str
    target: str
    strategy: str
    why: str
    sources: list[str]
    object_bytes: int
    cached: bool


@dataclass
class CompileReport:
    """Filled by the phases; ``Artifact.report`` holds it."""

    source: str = ""
    configuration: dict[str, Any] = field(default_factory=dict)
    phases: list[tuple[str, float]] = field(default_factory=list)
    """(phase, CPU seconds of this process)."""
    placement: list[PlacementRow] = field(default_factory=list)
    arenas: list[ArenaRow] = field(default_factory=list)
    read_backs: list[str] = field(default_factory=list)
    """Source nodes whose result the host must read before it can go on."""
    dispatches: list[DispatchRow] = field(default_factory=list)
    n_dispatches: int = 0
    constant_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
