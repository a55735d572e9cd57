"""Numbers -> plots as SVG text, and a page that holds them: no script, nothing loaded from anywhere."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

COLOURS = ("#2563eb", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#64748b", "#db2777", "#0891b2", "#84cc16")

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #7b8794; --line: #d9dee3; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa5b1; --line: #3e4c59; --paper: #14181d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
p.note { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.86rem; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; }
th:first-child, td:first-child, td.text { text-align: left; }
td.text { white-space: normal; }
tr.ours td { font-weight: 600; }
svg { max-width: 100%; height: auto; display: block; margin: 0.5rem 0 1.5rem; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); } svg .mark { stroke: var(--ink); }
"""


def escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def short(value: float) -> str:
    """A number for an axis or a label."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e4 or size < 1e-3:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:.0f}" if size >= 100 else f"{value:.3g}"


def page(title: str, parts: Sequence[str]) -> str:
    """A whole HTML page of ``parts``, which are markup already."""
    body = "\n".join(parts)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], marked: Sequence[int] = ()) -> str:
    """Rows of text; the first and the last column are words, the others numbers."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(
            f'<td class="text">{escape(cell)}</td>'
            if column in (0, len(head) - 1)
            else f"<td>{escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr{' class=ours' if index in marked else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{top}</tr>{"".join(lines)}</table></div>'


def ratio_bars(values: Mapping[str, float], notes: Mapping[str, str], marks: Sequence[float] = (1.0,)) -> str:
    """Horizontal bars that grow from 1 on a logarithmic axis: above 1 to the right, below to the left."""
    left, width, step = 150, 560, 22
    known = [value for value in values.values() if value == value and value > 0]
    reach = max([2.0, *(max(v, 1 / v) for v in known), *(max(m, 1 / m) for m in marks)]) * 1.05
    span = math.log(reach)

    def x(value: float) -> float:
        return left + width * (0.5 + 0.5 * math.log(value) / span)

    height = step * len(values) + 26
    parts = [_open(left + width + 150, height)]
    for mark in marks:
        parts.append(f'<line class="mark" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="2" y2="{height - 20}"/>')
        parts.append(
            f'<text class="soft" x="{x(mark):.1f}" y="{height - 6}" text-anchor="middle">{short(mark)}</text>'
        )
    for index, (name, value) in enumerate(values.items()):
        y = index * step + 6
        parts.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
        if not (value == value and value > 0):
            parts.append(f'<text class="soft" x="{x(1) + 6:.1f}" y="{y + 11}">none</text>')
            continue
        start, end = sorted((x(1.0), x(value)))
        colour = COLOURS[2] if value >= 1 else COLOURS[3]
        parts.append(
            f'<rect x="{start:.1f}" y="{y}" width="{max(end - start, 1):.1f}" height="14" fill="{colour}"/>'
        )
        label = f"{value:.2f} {notes.get(name, '')}".strip()
        parts.append(f'<text x="{max(end, x(1)) + 6:.1f}" y="{y + 11}">{escape(label)}</text>')
    return "".join([*parts, "</svg>"])


def grouped_bars(groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """One group of horizontal bars a key, each group scaled to its own largest value."""
    left, width, step = 170, 480, 15
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    known = {
        title: {name: value for name, value in group.items() if value == value and value > 0}
        for title, group in groups.items()
    }
    rows = sum(len(group) for group in known.values())
    height = rows * step + 14 * len(known) + 10
    parts = [_open(left + width + 160, height)]
    y = 4.0
    for title, group in known.items():
        if not group:
            continue
        largest = max(group.values())
        parts.append(f'<text x="{left - 10}" y="{y + 11}" text-anchor="end">{escape(title)}</text>')
        for name, value in group.items():
            long = width * value / largest
            size = f'width="{max(long, 1):.1f}" height="{step - 3}"'
            parts.append(f'<rect x="{left}" y="{y}" {size} fill="{colour[name]}"/>')
            label = f"{short(value)} {unit} {name}"
            parts.append(f'<text x="{left + long + 6:.1f}" y="{y + 10}">{escape(label)}</text>')
            y += step
        y += 14
    return "".join([*parts, "</svg>"])


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str, slopes: bool = True
) -> str:
    """Points joined by lines on two logarithmic axes; ``slopes`` draws a grey line of proportional growth."""
    left, top, width, height = 70, 14, 520, 300
    points = [(x, y) for line in series.values() for x, y in line if x > 0 and y > 0 and y == y]
    if not points:
        return f'<p class="note">nothing measured: {escape(up)} against {escape(across)}</p>'
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low, y_high = min(y for _, y in points) / 1.3, max(y for _, y in points) * 1.3

    def place(x: float, y: float) -> tuple[float, float]:
        wide = math.log(x_high / x_low) or 1.0
        return (
            left + width * math.log(x / x_low) / wide,
            top + height * (1 - math.log(y / y_low) / math.log(y_high / y_low)),
        )

    parts = [_open(left + width + 190, top + height + 44)]
    for x in sorted({x for x, _ in points}):
        at, _ = place(x, y_low)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{top + height}"/>')
        parts.append(
            f'<text class="soft" x="{at:.1f}" y="{top + height + 16}" text-anchor="middle">{short(x)}</text>'
        )
    for power in range(math.ceil(math.log10(y_low)), math.floor(math.log10(y_high)) + 1):
        _, at = place(x_low, 10.0**power)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{at:.1f}" y2="{at:.1f}"/>')
        label = short(10.0**power)
        parts.append(f'<text class="soft" x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">{escape(across)}</text>'
    )
    parts.append(f'<text x="{left + 6}" y="{top + 12}">{escape(up)}</text>')
    for index, (name, line) in enumerate(series.items()):
        known = [(x, y) for x, y in line if x > 0 and y > 0 and y == y]
        if not known:
            continue
        colour = COLOURS[index % len(COLOURS)]
        if slopes:
            # From the last point down along y ~ x.
            x_end, y_end = known[-1]
            x_start = max(x_low, x_end * y_low / y_end)
            (a, b), (c, d) = place(x_start, y_end * x_start / x_end), place(x_end, y_end)
            ends = f'x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}"'
            parts.append(f'<line class="grid" stroke-dasharray="4 4" {ends}/>')
        placed = [place(x, y) for x, y in known]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        y = top + 18 + 18 * index
        parts.append(f'<rect x="{left + width + 14}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + width + 30}" y="{y}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _open(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">'
    )
