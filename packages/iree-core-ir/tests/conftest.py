"""Fixtures of the core tests: golden texts, kept beside the tests, rewritten by ``--update-golden``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another package's conftest may have added it
        parser.addoption("--update-golden", action="store_true", help="rewrite golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)`` compares with ``golden/<name>`` in the folder of the test file."""
    update = request.config.getoption("--update-golden", default=False)
    folder = Path(request.path).parent / "golden"

    def check(name: str, text: str) -> None:
        path = folder / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run with --update-golden and review it"
        assert text == path.read_text(encoding="utf-8")

    return check
