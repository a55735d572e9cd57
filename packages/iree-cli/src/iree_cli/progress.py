"""The compiler's progress calls -> one live line on a terminal, nothing elsewhere.

The compiler calls ``progress(event, done, total, text)``: event ``phase`` when a phase begins (``text`` is
its name, ``done`` of ``total`` phases are behind), event ``kernel`` when a dispatch has been compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from iree_cli import console

if TYPE_CHECKING:
    from rich.console import Console


class Listener(Protocol):
    """What the compiler calls."""

    def __call__(self, event: str, done: int, total: int, text: str) -> None: ...


class Display:
    """``[phase 5/9 executable] kernels 12/37 ... 0:00:03`` while the compiler runs."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[phase]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[kernels]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, phase="starting", kernels="")

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: str, done: int, total: int, text: str) -> None:
        if event == "phase":
            shown = f"phase {min(done + 1, total)}/{total} {text}"
            self._progress.update(self._task, completed=done, total=total, phase=shown, kernels="")
        elif event == "kernel":
            self._progress.update(self._task, kernels=f"kernels {done}/{total} {text}")


@contextmanager
def listening(given: Console | None = None) -> Iterator[Listener | None]:
    """A listener that draws on a console (default: stderr), or None where nobody is looking."""
    looking = sys.stderr.isatty() if given is None else given.is_terminal
    if not looking:
        yield None
        return
    with Display(console.stderr() if given is None else given) as display:
        yield display
