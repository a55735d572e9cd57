"""What the tests across packages share: the measured models, and the command in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]

import zoo  # noqa: E402

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The ``.onnx`` file of a model of ``benchmarks/zoo.py`` by name.

    Kept in ``build/models`` (or ``IREE_MODELS``). Models exported from torch are skipped where neither the
    file nor torch is there; a trained one that cannot be fetched fails in continuous integration and skips
    elsewhere.
    """
    cache = Path(os.environ.get("IREE_MODELS") or ROOT / "build" / "models")

    def get(name: str) -> Path:
        model = zoo.MODELS[name]
        if not (cache / model.filename).exists():
            missing = [module for module in model.needs if importlib.util.find_spec(module) is None]
            if missing:
                pytest.skip(f"exporting {name} needs {', '.join(missing)}: nox -s models")
        try:
            return zoo.prepare(name, cache)
        except subprocess.CalledProcessError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{name} cannot be fetched: {error}")

    return get


@pytest.fixture
def iree(tmp_path: Path) -> Command:
    """``iree(*arguments)`` in a process of its own, in the test's folder."""

    def call(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
        code = "from iree_cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )

    return call


@pytest.fixture(scope="session")
def magika_artifact(model_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """magika compiled for the default target, once a session and process."""
    import iree_flow

    path = tmp_path_factory.mktemp("magika") / "magika.vmfb"
    iree_flow.compile(model_file("magika")).save(path)
    return path
