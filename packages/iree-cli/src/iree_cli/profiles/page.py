"""A report as one HTML file that needs nothing else: a bar of the call, and a table to sort."""

from __future__ import annotations

import html
import json
from typing import Any

from iree_cli import console
from iree_cli.profiles.report import Line, Report
from iree_cli.profiles.table import COLUMNS, RIGHT, cells, summary

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
p.facts { opacity: .75; }
.bar { display: flex; height: 3rem; border: 1px solid var(--line); }
.bar div { min-width: 0; flex-basis: 0; border-right: 1px solid var(--line); }
.bar div:hover { outline: 2px solid currentColor; z-index: 1; }
.key span { display: inline-block; width: 1em; height: 1em; vertical-align: -.15em; margin: 0 .3em 0 1em; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.wide { white-space: normal; overflow-wrap: anywhere; min-width: 16rem; }
th { cursor: pointer; position: sticky; top: 0; background: Canvas; }
.right { text-align: right; }
.mark { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
"""

_SCRIPT = """
for (const table of document.querySelectorAll('table')) {
  table.querySelectorAll('th').forEach((head, column) => head.addEventListener('click', () => {
    const body = table.tBodies[0], down = head.dataset.down !== '1';
    table.querySelectorAll('th').forEach(h => delete h.dataset.down);
    if (down) head.dataset.down = '1';
    const key = row => { const cell = row.cells[column];
      return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value); };
    [...body.rows].sort((a, b) => { const x = key(a), y = key(b);
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); }).forEach(row => body.append(row));
  }));
}
"""


def page(report: Report) -> str:
    """The HTML text."""
    facts = ", ".join(f"{name} {value}" for name, value in console.plain(report.facts).items())
    title = html.escape(report.title)
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        f'<p class="facts">{html.escape(facts)}</p>',
        *(f"<p>{html.escape(text)}</p>" for text in summary(report)),
        "<h2>The call, command by command</h2>",
        '<div class="bar">' + "".join(map(_slice, report.commands)) + "</div>",
        '<p class="key">of the floor reached:'
        + "".join(f'<span style="background:{_colour(r)}"></span>{text}' for r, text in _KEY)
        + "</p>",
        "<h2>Dispatches</h2>",
        _table(report.lines),
        "<h2>Commands in order</h2>",
        _table(report.commands),
        f'<script type="application/json" id="profile">{_embedded(report.to_json())}</script>',
        f"<script>{_SCRIPT}</script>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


_KEY: tuple[tuple[float | None, str], ...] = ((1.0, "100%"), (0.5, "50%"), (0.0, "0%"), (None, "not known"))


def _colour(reached: float | None) -> str:
    """Red for far from the floor, green for at it, grey where nothing is known."""
    return "#8888" if reached is None else f"hsl({120 * min(reached, 1.0):.0f} 60% 50%)"


def _slice(line: Line) -> str:
    tip = f"{line.name}: {line.nanoseconds / 1e3:,.1f} us, {100 * line.share:.1f}%"
    if line.reached is not None and line.bound is not None:
        tip += f", {100 * line.reached:.0f}% of the floor ({line.bound.by})"
    return (
        f'<div title="{html.escape(tip)}" '
        f'style="flex-grow:{line.nanoseconds:.0f};background:{_colour(line.reached)}"></div>'
    )


def _table(lines: tuple[Line, ...]) -> str:
    head = "".join(f"<th{_side(column)}>{html.escape(column)}</th>" for column in COLUMNS)
    rows = "\n".join(f"<tr>{_row(line)}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _row(line: Line) -> str:
    bound = None if line.bound is None else line.bound.nanoseconds
    values = (line.nanoseconds, line.share, line.count, line.flops_rate, line.bytes_rate, bound, line.reached)
    texts = [*cells(line)[:-1], ", ".join(line.sources)]
    result = []
    for number, (column, text) in enumerate(zip(COLUMNS, texts, strict=True)):
        value = f' data-value="{values[number] or 0}"' if number < len(values) else ""
        side = ' class="wide"' if column == "nodes" else _side(column)
        mark = (
            f'<span class="mark" style="background:{_colour(line.reached)}"></span>'
            if column == "reached"
            else ""
        )
        tip = f' title="{html.escape(line.why)}"' if column == "strategy" else ""
        result.append(f"<td{side}{value}{tip}>{mark}{html.escape(text)}</td>")
    return "".join(result)


def _side(column: str) -> str:
    return ' class="right"' if column in RIGHT else ""


def _embedded(value: Any) -> str:
    """JSON that no text in it can end the element of."""
    return json.dumps(console.plain(value)).replace("<", "\\u003c")
