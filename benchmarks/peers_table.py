"""A report of ``peers.py`` as tables in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import peers_summary
import terminal
from engines import BEST_OF, ENGINES

COLUMNS = (
    "engine",
    "CPU ms",
    "wall ms",
    "quiet ms",
    "/ ours",
    "cold s",
    "peak MB",
    "compile s",
    "size MB",
    "error",
    "note",
)


def number(value: float, digits: int = 3) -> str:
    """``value`` with about ``digits`` digits, empty where there is none."""
    if value != value:
        return ""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}"


def rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """The cells of one entry's table, columns as in ``COLUMNS``."""
    ours = peers_summary.time_of(entry, "ours", "cpu_us")
    peer, _ = peers_summary.best(entry, "cpu_us")
    found = []
    for name, cell in entry["engines"].items():
        cpu = cell["cpu_us"]
        notes = [cell["failure"]] if cell["failure"] else []
        if not cell["failure"] and not peers_summary.counts(name, cell, entry["family"]):
            notes.append("wrong")
        if name == peer:
            notes.append("best f32 peer")
        if cell["error_float64"] == cell["error_float64"]:
            notes.append(f"{number(cell['error_float64'], 2)} from float64")
        found.append(
            [
                ENGINES[name].title,
                number(cpu / 1e3),
                number(cell["wall_us"] / 1e3),
                number(cell["quiet_wall_us"] / 1e3),
                number(cpu / ours),
                number(cell["cold_s"]),
                number(cell["peak_bytes"] / 1e6) if cell["peak_bytes"] else "",
                number(cell["compile_cpu_s"]),
                number(cell["artifact_bytes"] / 1e6) if not cell["failure"] else "",
                number(cell["error"], 2),
                "; ".join(notes),
            ]
        )
    return found


def show_entry(entry: Mapping[str, Any]) -> None:
    threads = f"{entry['threads']} thread" + "s" * (entry["threads"] > 1)
    quiet = f", {entry['quiet_rounds']} quiet" if entry["threads"] > 1 or entry["quiet_rounds"] else ""
    heading = f"{entry['title']} - {threads}, {entry['rounds']} rounds{quiet}"
    terminal.show(heading, COLUMNS, rows(entry), ("engine", "note"))


TITLES = {
    "f32": "best f32 peer / ours",
    "all_rounds_wall": "wall, all rounds: best f32 peer / ours",
    "high": "best f32 peer / ours, high",
    "medium": "OpenVINO default / ours, medium",
    "int8": "best of onnxruntime and OpenVINO / ours, QDQ models",
    "cold": "cold start: onnxruntime / ours",
    "peak": "peak memory: onnxruntime / ours",
}


def show_summary(result: Mapping[str, Any]) -> None:
    """A row a model, a column a comparison; then the means."""
    for threads, parts in result["summary"].items():
        keys = list(parts)
        names = list(dict.fromkeys(name for part in parts.values() for name in part["models"]))
        families = list(dict.fromkeys(name for part in parts.values() for name in part["families"]))
        found = [
            [name, *(_cell(parts[key]["models"].get(name)) for key in keys), _peer(parts, name)]
            for name in names
        ]
        for family in families:
            means = (number(parts[key]["families"].get(family, float("nan"))) for key in keys)
            found.append([f"mean, {family}", *means, ""])
        found.append(["mean, all", *(number(parts[key]["all"]) for key in keys), ""])
        measure = "CPU time" if threads == "1" else "wall time of quiet rounds"
        title = f"Ratios, threads: {threads} ({measure}; above 1, ours is better)"
        columns = ("model", *keys, "best f32 peer")
        terminal.show(title, columns, found, ("model", "best f32 peer"), len(families) + 1)
        for key, part in parts.items():
            missing = f"; without: {', '.join(part['missing'])}" if part["missing"] else ""
            print(f"{key}: {TITLES[key]}{missing}")
    print(f"f32 peers: {', '.join(ENGINES[name].title for name in BEST_OF)}")
    print(f"versions: {versions(result)}")


def versions(result: Mapping[str, Any]) -> str:
    """The engines that are there, with what is installed of each."""
    return ", ".join(f"{ENGINES[name].title} {found}" for name, found in result["versions"].items() if found)


def _cell(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else number(found["ratio"])


def _peer(parts: Mapping[str, Any], model: str) -> str:
    for key in ("f32", "int8", "all_rounds_wall"):
        if key in parts and model in parts[key]["models"]:
            return ENGINES[parts[key]["models"][model]["peer"]].title
    return ""
