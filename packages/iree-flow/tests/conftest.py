"""A target that lives in the tests: executables are IR text, run by the interpreter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iree_core_ir.plugins import manager

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def fixture_target() -> Iterator[None]:
    """Registers the targets ``fixture`` (accepts all), ``picky`` (refuses matmul) and ``lattice`` (particular
    about layouts and alignment) as a plugin would.
    """
    from fixture_target import FixtureTarget, LatticeTarget

    def getters() -> dict[str, Callable[[], Any]]:
        return {
            "fixture": FixtureTarget,
            "picky": lambda: FixtureTarget("picky", refuses="linalg.matmul"),
            "lattice": LatticeTarget,
        }

    manager().register(SimpleNamespace(__name__="fixture", api=(1, 0), iree_targets=getters))
    yield
