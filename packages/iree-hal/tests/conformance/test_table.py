"""The table counts what the suite's tests did, keeps reasons, and takes both kinds of marks apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from iree_hal.conformance import NOUNS, kernels
from iree_hal.conformance.table import kernel_table

JOINS = """
import pytest
from iree_hal.conformance.backend import Backend
from iree_hal.conformance.suite import backend, conformance_marks, context
from iree_hal.conformance.driver import test_driver_is_listed, test_driver_refuses_zero_threads
from iree_hal.conformance.fence import test_empty_fence_is_reached, test_fence_waits_for_all_points
from iree_hal.conformance.kernels import EXPORTS
from iree_hal.executable import ExecutableSpec
BACKEND = Backend("null", executable=lambda: ExecutableSpec("null", b"", EXPORTS), {marks})
"""


def run(path: Path, marks: str, before: str = "") -> tuple[int, str]:
    (path / "test_absent.py").write_text(
        "import pytest\npytest.skip('no machine', allow_module_level=True)\n"
    )
    (path / "test_joins.py").write_text(before + JOINS.replace("{marks}", marks))
    command = [sys.executable, "-m", "iree_hal.conformance.table", "--output", "table.md"]
    done = subprocess.run([*command, "test_joins.py", "test_absent.py"], cwd=path, capture_output=True)
    return done.returncode, (path / "table.md").read_text()


def test_passes_are_counted_by_noun(tmp_path: Path) -> None:
    status, text = run(tmp_path, "label='nothing'")
    assert status == 0
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if " | " in line]
    rows = dict(tuple(line) for line in lines)
    assert rows["noun"] == "nothing"
    assert (rows["driver"], rows["fence"], rows["**all**"]) == ("2", "2", "**4**")
    assert set(NOUNS) <= rows.keys()
    assert "- test_absent.py: no machine" in text
    assert "- `null` is nothing" in text


def test_marks_are_told_apart_and_an_unexpected_pass_fails(tmp_path: Path) -> None:
    not_yet = {"test_empty_fence_is_reached": "work to do", "test_driver_is_listed": "it is done, though"}
    marks = f"never={{'test_driver_refuses_zero_threads': 'not meant to'}}, not_yet={not_yet}"
    broken = "import iree_hal.fence\niree_hal.fence.Fence.query = lambda self: False\n"
    status, text = run(tmp_path, marks, broken)
    assert status == 1
    assert "| driver | 0, 1 failed, 1 never |" in text
    assert "| fence | 0, 1 failed, 1 not yet |" in text
    assert "- never: not meant to: test_driver_refuses_zero_threads" in text
    assert "- not yet: work to do: test_empty_fence_is_reached" in text


def test_a_mark_that_names_nothing_fails(tmp_path: Path) -> None:
    assert run(tmp_path, "never={'test_of_nothing': 'a slip'}")[0] == 1


def test_every_portable_kernel_has_a_meaning_and_a_text() -> None:
    names = [e.name for e in kernels.EXPORTS]
    assert list(kernels.kernel_functions()) == names
    assert all(f"func.func @{n}(" in text for n, text in kernels.kernel_functions().items())
    assert all(f"| `{n}` |" in kernel_table() for n in names)
    assert set(kernels.MEANINGS) == {*names, *(e.name for e in kernels.NATIVE_EXPORTS)}
