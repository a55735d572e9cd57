"""Rows of text as tables in the terminal: with rich where that is installed, else plain columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence

WIDTH = 180
"""Of a line that goes to a file."""


def show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str], totals: int = 0
) -> None:
    """Print one table. ``words`` are the columns set to the left; the last ``totals`` rows stand apart."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        _plain(title, columns, rows, words)
        return
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        last = index == len(columns) - 1
        justify = "left" if name in words else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=not last)  # type: ignore[arg-type]
    for index, row in enumerate(rows):
        if totals and index == len(rows) - totals:
            table.add_section()
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _plain(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str]) -> None:
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    print(title)
    for row in (columns, *rows):
        cells = [
            cell.ljust(width) if name in words else cell.rjust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
    print()
