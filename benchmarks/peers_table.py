"""A report of ``peers.py`` as tables in the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import peers_summary
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
        if not cell["failure"] and not peers_summary.counts(name, cell):
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


def show_entry(entry: Mapping[str, Any], console: Console | None = None) -> None:
    console = console or terminal()
    threads = f"{entry['threads']} thread" + "s" * (entry["threads"] > 1)
    quiet = f", {entry['quiet_rounds']} quiet" if entry["threads"] > 1 else ""
    heading = f"{entry['title']} - {threads}, {entry['rounds']} rounds{quiet}"
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        justify = "left" if name in ("engine", "note") else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "note")  # type: ignore[arg-type]
    for row in rows(entry):
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def terminal() -> Console:
    """The terminal; a file gets lines as long as they need to be."""
    return Console(width=None if sys.stdout.isatty() else 180)


TITLES = {
    "f32": "best f32 peer / ours",
    "all_rounds_wall": "wall, all rounds: best f32 peer / ours",
    "high": "best f32 peer / ours, high",
    "medium": "OpenVINO default / ours, medium",
    "cold": "cold start: onnxruntime / ours",
    "peak": "peak memory: onnxruntime / ours",
}


def show_summary(result: Mapping[str, Any], console: Console | None = None) -> None:
    console = console or terminal()
    for threads, parts in result["summary"].items():
        for key, part in parts.items():
            measure = "CPU time" if threads == "1" else "wall time of quiet rounds"
            what = f" ({measure})" if key in ("f32", "high", "medium") else ""
            table = Table(
                title=f"{TITLES[key]}{what}, threads: {threads}", title_justify="left", box=box.SIMPLE_HEAD
            )
            for name in ("", "ratio", "peer"):
                table.add_column(name, justify="right" if name == "ratio" else "left")
            for model, found in part["models"].items():
                table.add_row(model, number(found["ratio"]), found["peer"])
            table.add_section()
            for family, value in part["families"].items():
                table.add_row(family, number(value), "mean")
            table.add_row("all", number(part["all"]), "mean")
            console.print(table)
            if part["missing"]:
                console.print(Text("without a ratio: " + ", ".join(part["missing"])))
    console.print(Text(f"f32 peers: {', '.join(ENGINES[name].title for name in BEST_OF)}"))
