"""A report of ``peers.py`` as one HTML page: tables and plots, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import peers_summary
import peers_table
import plots
from engines import ENGINES

MARKS = {"f32": (1.0, 1.25), "high": (1.0, 2.0), "medium": (1.0, 1.15), "cold": (1.0, 2.0)}


def page(result: Mapping[str, Any]) -> str:
    """The whole page. ``result`` is what ``peers.py --json`` writes."""
    machine = result["machine"]
    versions = peers_table.versions(result)
    where = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    parts = [f'<p class="note">{plots.escape(result["date"])}, {plots.escape(f"{where}. {versions}.")}</p>']
    for threads, found in result["summary"].items():
        parts += summary(threads, found)
    for threads in sorted({entry["threads"] for entry in result["entries"]}):
        some = [entry for entry in result["entries"] if entry["threads"] == threads]
        parts += plotted(some, threads)
    parts.append("<h2>All figures</h2>")
    for entry in result["entries"]:
        quiet = (
            f", {entry['quiet_rounds']} of them quiet"
            if entry["threads"] > 1 or entry["quiet_rounds"]
            else ""
        )
        heading = f"{entry['title']}, threads: {entry['threads']}, {entry['rounds']} rounds{quiet}"
        parts.append(f"<h3>{plots.escape(heading)}</h3>")
        ours = [index for index, name in enumerate(entry["engines"]) if ENGINES[name].ours]
        parts.append(plots.table(peers_table.COLUMNS, peers_table.rows(entry), ours))
    return plots.page("Beside other engines", parts)


def summary(threads: str, found: Mapping[str, Any]) -> list[str]:
    parts = []
    for key, part in found.items():
        parts.append(f"<h2>{plots.escape(peers_table.TITLES[key])}, threads: {threads}</h2>")
        means = ", ".join(f"{name} {value:.2f}" for name, value in part["families"].items())
        text = f"Geometric mean {part['all']:.2f} over {len(part['models'])} models; {means}."
        if part["missing"]:
            text += " Without a ratio: " + ", ".join(part["missing"]) + "."
        parts.append(f"<p>{plots.escape(text)}</p>")
        values = {name: entry["ratio"] for name, entry in part["models"].items()}
        notes = {name: entry["peer"] for name, entry in part["models"].items()}
        parts.append(plots.ratio_bars(values, notes, MARKS.get(key, (1.0,))))
    return parts


def plotted(entries: Sequence[Mapping[str, Any]], threads: int) -> list[str]:
    kinds = (
        ("cpu_us", "CPU time a call", 1e-3, "ms"),
        ("wall_us", "Wall time a call", 1e-3, "ms"),
        ("cold_s", "Cold start", 1.0, "s"),
        ("peak_bytes", "Peak memory", 1e-6, "MB"),
        ("compile_cpu_s", "Compiling, CPU time", 1.0, "s"),
    )
    parts = []
    for key, title, scale, unit in kinds:
        groups = {
            entry["model"]: {
                ENGINES[name].title: cell[key] * scale
                for name, cell in entry["engines"].items()
                if peers_summary.counts(name, cell, entry["family"])
            }
            for entry in entries
        }
        parts.append(f"<h2>{title}, threads: {threads}</h2>")
        parts.append(plots.grouped_bars(groups, unit))
    return parts
