"""``debug.json``: from a dispatch to the user's source nodes, and why the compiler chose its strategy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from iree_base.postfix import Number
from iree_base.records import field, record
from iree_vm.artifact.schema import check, parse

_SCHEMA = {
    "dispatches": [
        {
            "name": str,
            "sources": [str],
            "strategy?": str,
            "why?": str,
            "asserts?": [{"source": str, "message": str}],
            "work?": {"*": (int, [(int, str)])},
            "*": (str, int, float, bool, None, [(str, int, float)], {"*": (str, int, float, bool, None)}),
        }
    ],
    "*": (str, int, float, bool, None, [(str, int, float)], {"*": (str, int, float, bool, None)}),
}


@record(frozen=True)
class AssertInfo:
    """A runtime check inside a kernel: the source node it guards, and what it says."""

    source: str
    message: str


@record(frozen=True)
class DispatchInfo:
    """What is known about a dispatch; ``name`` is its executable export."""

    name: str
    sources: tuple[str, ...]
    strategy: str = ""
    why: str = ""
    asserts: tuple[AssertInfo, ...] = ()
    work: Mapping[str, Number] = field(default_factory=dict)
    """How much it has to do: ``flops`` and ``transcendentals`` (operations), ``constants``, ``read`` and
    ``written`` (bytes); numbers as in :mod:`iree_base.postfix`.
    """

    def source(self, assert_index: int | None = None) -> str:
        """The source node of a check, or all nodes of the dispatch."""
        if assert_index is not None and 0 <= assert_index < len(self.asserts):
            return self.asserts[assert_index].source
        return ", ".join(self.sources)

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"name": self.name, "sources": list(self.sources)}
        if self.strategy:
            out["strategy"] = self.strategy
        if self.why:
            out["why"] = self.why
        if self.asserts:
            out["asserts"] = [{"source": a.source, "message": a.message} for a in self.asserts]
        if self.work:
            out["work"] = dict(self.work)
        return out


@record(frozen=True)
class DebugInfo:
    """All dispatches by export name, and free-form facts."""

    dispatches: dict[str, DispatchInfo] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(dispatches: Iterable[DispatchInfo], **facts: Any) -> DebugInfo:
        return DebugInfo({d.name: d for d in dispatches}, facts)

    def to_json(self) -> dict[str, Any]:
        return {**self.facts, "dispatches": [d.to_json() for d in self.dispatches.values()]}

    def serialize(self) -> bytes:
        return (json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n").encode()

    @staticmethod
    def deserialize(data: bytes | memoryview) -> DebugInfo:
        """Raises VmError 57."""
        value = parse(data, 57)
        check(value, _SCHEMA, 57)
        dispatches = [
            DispatchInfo(
                d["name"],
                tuple(d["sources"]),
                d.get("strategy", ""),
                d.get("why", ""),
                tuple(AssertInfo(a["source"], a["message"]) for a in d.get("asserts", ())),
                d.get("work", {}),
            )
            for d in value.pop("dispatches")
        ]
        return DebugInfo.of(dispatches, **value)
