"""``python -m iree_hal.conformance.table``: the suite's outcome as a table, drivers by nouns.

It runs the test files that join the suite (those given, or all under ``packages/``) and writes Markdown:
per driver and noun how many tests pass, and every mark with its reason. With ``--page`` the text around
the table is written too, as docs/hal-conformance.md holds it. The exit status is pytest's.

The same as a pytest plugin: ``pytest -p iree_hal.conformance.table --conformance-table FILE ...``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from iree_base.records import field, record
from iree_hal.conformance import NOUNS, kernels
from iree_hal.conformance.backend import Backend
from iree_hal.device_info import match_device
from iree_hal.driver import devices

PROPERTY = "conformance"
MOST_NAMES = 8
OUTCOMES = ("passed", "failed", "never", "not yet")

BEFORE = """\
# HAL conformance

What is true of every driver is written once, as the tests of `iree_hal.conformance`; a driver joins with a
small file (see the package's docstring). This page is written by
`python -m iree_hal.conformance.table --page docs/hal-conformance.md`.

A cell counts the tests that pass. *never* means that the device is not meant to do it, *not yet* that the
work is not done: those tests run, and one that passes fails the run until its mark is taken away.

The contract has no events: barriers order the commands of a command buffer, timeline semaphores and fences
order everything else.
"""

KERNELS = """\
## The suite's kernels

A backend gives one executable with these exports, in this order. `x`, `y`, `z` are the ids of a workgroup;
constants are 32-bit words; bindings are named by what a dispatch does to them. Each is there as kernel IR
(`iree_hal.conformance.kernels.kernel_functions()`) and as an object for devices with the dispatch ABI.
"""


def label_of(backend: Backend) -> str:
    """The name of a backend's column: its label, or its driver and options."""
    options = ", ".join(k if v is True else f"{k}={v}" for k, v in backend.options.items())
    return backend.label or (f"{backend.driver} ({options})" if options else backend.driver)


@record
class Table:
    """Outcomes counted by driver and noun; reasons by driver."""

    counts: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    reasons: dict[str, dict[tuple[str, str], set[tuple[str, str]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    absent: dict[str, str] = field(default_factory=dict)
    """Test file -> why it was left out as a whole."""
    devices: dict[str, str] = field(default_factory=dict)
    """Driver -> the device that took part."""

    def add(self, label: str, noun: str, name: str, outcome: str, reason: str = "") -> None:
        self.counts[label][noun][outcome] += 1
        if outcome != "passed":
            self.reasons[label][outcome, reason].add((noun, name))

    def markdown(self) -> str:
        """The table, then the reasons."""
        labels = list(self.counts)
        rows = [[noun, *(_cell(self.counts[k][noun]) for k in labels)] for noun in NOUNS]
        totals = [sum(self.counts[k].values(), Counter()) for k in labels]
        rows.append(["**all**", *(f"**{_cell(total)}**" for total in totals)])
        lines = ["| " + " | ".join(["noun", *labels]) + " |", "|---|" + "---:|" * len(labels)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines += ["", *(f"- `{driver}` is {name}" for driver, name in sorted(self.devices.items()))]
        for label in labels:
            if self.reasons[label]:
                lines += ["", f"### {label}", ""]
            for (outcome, reason), names in sorted(self.reasons[label].items()):
                lines.append(f"- {outcome}: {reason or 'see the log'}: {_names(names)}")
        if self.absent:
            lines += ["", "### Not run", ""]
            lines += [f"- {path}: {reason}" for path, reason in sorted(self.absent.items())]
        return "\n".join(lines) + "\n"


def _cell(counts: Counter[str]) -> str:
    parts = [f"{counts['passed']}"]
    parts += [f"{counts[outcome]} {outcome}" for outcome in OUTCOMES[1:] if counts[outcome]]
    return ", ".join(parts)


def _names(tests: set[tuple[str, str]]) -> str:
    """The tests of a reason, or how many of each noun where there are many."""
    if len(tests) <= MOST_NAMES:
        return ", ".join(sorted(name for _, name in tests))
    nouns = Counter(noun for noun, _ in tests)
    return ", ".join(f"{noun} {count}" for noun, count in sorted(nouns.items()))


def kernel_table() -> str:
    """What the portable kernels are, as a table."""
    lines = ["| export | constants | bindings | scratch | meaning |", "|---|---:|---|---:|---|"]
    for e in kernels.EXPORTS:
        bindings = ", ".join(e.bindings) or "none"
        meaning = kernels.MEANINGS[e.name]
        lines.append(f"| `{e.name}` | {e.n_constants} | {bindings} | {e.scratch_bytes or ''} | {meaning} |")
    return "\n".join(lines) + "\n"


def page(table: Table) -> str:
    """The documentation page."""
    return "\n".join([BEFORE, table.markdown(), KERNELS, kernel_table()])


class Collector:
    """The pytest plugin: takes part in a run and writes the table at its end."""

    def __init__(self, path: Path | None, whole_page: bool) -> None:
        self.path = path
        self.whole_page = whole_page
        self.table = Table()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            backend = getattr(getattr(item, "module", None), "BACKEND", None)
            module = getattr(getattr(item, "function", None), "__module__", "")
            if isinstance(backend, Backend) and module.startswith("iree_hal.conformance."):
                name = getattr(item, "originalname", item.name)
                place = (label_of(backend), module.rpartition(".")[2], name)
                item.user_properties.append((PROPERTY, place))
                if backend.driver not in self.table.devices:
                    self.table.devices[backend.driver] = _device(backend.driver)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self.table.absent[report.nodeid] = str(report.longrepr[2]).removeprefix("Skipped: ")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place: Any = dict(report.user_properties).get(PROPERTY)
        if place is None or (report.when != "call" and report.outcome == "passed"):
            return
        if report.when == "teardown" and report.outcome != "failed":
            return
        label, noun, name = place
        self.table.add(label, noun, name, *_outcome(report))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        text = page(self.table) if self.whole_page else self.table.markdown()
        if self.path is None:
            print("\n" + text)
        else:
            self.path.write_text(text, encoding="utf-8")


def _device(driver: str) -> str:
    """The name of the device that a driver opens when nobody chooses."""
    infos = devices(driver)
    return infos[match_device(infos, "", driver)].name


def _outcome(report: pytest.TestReport) -> tuple[str, str]:
    """(one of OUTCOMES, reason) of a report."""
    if report.outcome == "passed":
        return "passed", ""
    if report.outcome == "failed":
        return "failed", ""
    text = getattr(report, "wasxfail", "")
    if not text and isinstance(report.longrepr, tuple):
        text = str(report.longrepr[2]).removeprefix("Skipped: ")
    for kind in ("never", "not yet"):
        if text.startswith(f"{kind}: "):
            return kind, text.removeprefix(f"{kind}: ")
    return "never", text


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--conformance-table FILE``, when loaded with ``-p``."""
    parser.addoption("--conformance-table", type=Path, help="write the table, drivers by nouns, here")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--conformance-table", default=None)
    if path is not None:
        config.pluginmanager.register(Collector(path, whole_page=False))


def joined(root: Path) -> list[Path]:
    """The test files below ``root`` that join the suite."""
    files = root.glob("packages/*/tests/**/test_*.py")
    join = "\nfrom iree_hal.conformance.suite import *"
    return sorted(path for path in files if join in path.read_text(encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="iree_hal.conformance.table", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="test files that join the suite (default: all)")
    parser.add_argument("--output", type=Path, help="write the table here (default: print it)")
    parser.add_argument("--page", type=Path, help="write the documentation page here")
    options = parser.parse_args(arguments)
    files: Iterable[Path] = options.files or joined(Path.cwd())
    collector = Collector(options.page or options.output, whole_page=options.page is not None)
    words = ["-q", "-p", "no:cacheprovider", "--no-header", "-r", "N", *map(str, files)]
    return int(pytest.main(words, plugins=[collector]))


if __name__ == "__main__":
    sys.exit(main())
