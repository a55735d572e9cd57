"""docs/hal-conformance.md is of this suite: its nouns, its kernels, and a column for every file that joins."""

from __future__ import annotations

import importlib
from pathlib import Path

from iree_hal.conformance import NOUNS
from iree_hal.conformance.table import BEFORE, KERNELS, joined, kernel_table

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "hal-conformance.md").read_text(encoding="utf-8")


def test_the_page_is_of_this_suite() -> None:
    assert TEXT.startswith(BEFORE)
    assert TEXT.endswith("\n".join([KERNELS, kernel_table()]))
    rows = [line.split("|")[1].strip() for line in TEXT.splitlines() if line.startswith("| ")]
    assert rows[1 : len(NOUNS) + 1] == list(NOUNS)


def test_every_file_that_joins_has_a_column() -> None:
    header = next(line for line in TEXT.splitlines() if line.startswith("| noun |"))
    assert header.count("|") - 2 == len(joined(ROOT))


def test_nouns_are_the_files_of_the_suite() -> None:
    folder = ROOT / "packages" / "iree-hal" / "src" / "iree_hal" / "conformance"
    suite = importlib.import_module("iree_hal.conformance.suite")
    with_tests = {path.stem for path in folder.glob("*.py") if "\ndef test_" in path.read_text()}
    assert with_tests == set(NOUNS)
    owners = {value.__module__ for name, value in vars(suite).items() if name.startswith("test_")}
    assert owners == {f"iree_hal.conformance.{noun}" for noun in NOUNS}


def test_no_two_nouns_have_a_test_of_one_name() -> None:
    """The suite is imported with ``*``: one would hide the other."""
    names: dict[str, str] = {}
    for noun in NOUNS:
        module = importlib.import_module(f"iree_hal.conformance.{noun}")
        for name, value in vars(module).items():
            if name.startswith("test_") and value.__module__ == module.__name__:
                assert name not in names, f"{name} in {noun} and {names[name]}"
                names[name] = noun
