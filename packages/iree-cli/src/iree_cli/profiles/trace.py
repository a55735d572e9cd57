"""A report as a trace that chrome://tracing and Perfetto show."""

from __future__ import annotations

import json
from typing import Any

from iree_cli import console
from iree_cli.profiles.report import Report


def trace_json(report: Report) -> str:
    """The commands of one call side by side, with what is known of each; times are microseconds.

    The format is the JSON object form of Chrome's trace events (complete events, ``ph`` ``X``).
    """
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": report.title}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "commands"}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "floor"}},
    ]
    start = 0.0
    for line in report.commands:
        facts = console.plain(line.to_json())
        event = {
            "ph": "X",
            "pid": 1,
            "ts": start / 1e3,
            "name": line.name,
            "cat": line.strategy or "transfer",
        }
        events.append({**event, "tid": 1, "dur": line.nanoseconds / 1e3, "args": facts})
        if line.bound is not None:
            events.append(
                {**event, "tid": 2, "dur": line.bound.nanoseconds / 1e3, "args": {"by": line.bound.by}}
            )
        start += line.nanoseconds
    return json.dumps(
        {"traceEvents": events, "displayTimeUnit": "ns", "otherData": console.plain(report.facts)}
    )
