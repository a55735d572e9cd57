"""Coded errors of all packages: no code means two things, and every status is one of the four."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from iree_base.errors import EXIT_ARTIFACT, EXIT_COMPILE, EXIT_RUNTIME, EXIT_USAGE, IreeError

ROOT = Path(__file__).resolve().parent.parent
STATUSES = {EXIT_COMPILE, EXIT_USAGE, EXIT_RUNTIME, EXIT_ARTIFACT}
BUG = 70


def error_classes() -> Iterator[type[IreeError]]:
    for path in sorted(ROOT.glob("packages/*/src/*/errors.py")):
        module = importlib.import_module(f"{path.parent.name}.errors")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, IreeError)
                and value is not IreeError
                and value.__module__ == module.__name__
            ):
                yield value


CLASSES = list(error_classes())


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_class_has_a_table_and_statuses(kind: type[IreeError]) -> None:
    assert kind.package.isupper()
    assert all(0 < number < 1000 for number in kind.table)
    assert len(set(kind.table.values())) == len(kind.table), "two numbers with one meaning"
    statuses = {kind.exit_codes.get(number, kind.exit_code) for number in kind.table}
    assert statuses <= STATUSES | {BUG}
    assert set(kind.exit_codes) <= set(kind.table)
    for text in kind.table.values():
        assert text
        assert "\n" not in text
        assert not text.endswith(".")


def test_two_packages_never_share_a_code() -> None:
    owner: dict[str, str] = {}
    for kind in CLASSES:
        module = kind.__module__.partition(".")[0]
        for number, text in kind.table.items():
            code = f"IREE-{kind.package}-{number:03d}"
            previous = owner.setdefault(code, f"{module}: {text}")
            assert previous == f"{module}: {text}", code
