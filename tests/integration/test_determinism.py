"""Same model, options and versions: same bytes, through every phase file and from another place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import iree_flow
from iree_flow.pipeline import PHASE_NAMES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole(network: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "whole.vmfb"
    iree_flow.compile(network[1], cache=False).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("phase", PHASE_NAMES)
def test_a_phase_can_be_left_and_entered(
    network: tuple[str, Path], whole: bytes, phase: str, tmp_path: Path
) -> None:
    file = tmp_path / "left.mlir"
    iree_flow.compile(network[1], compile_to=phase).save(file)
    iree_flow.compile(file, compile_from=phase).save(tmp_path / "entered.vmfb")
    assert (tmp_path / "entered.vmfb").read_bytes() == whole


def compiled(folder: Path, model: Path, *arguments: str, **environment: str) -> bytes:
    """The artefact of a fresh process in a folder of its own."""
    folder.mkdir()
    code = "from iree_cli.main import main; main()"
    command = [sys.executable, "-c", code, "compile", str(model), "-o", "out.vmfb", *arguments]
    variables = {**os.environ, "IREE_CACHE_DIR": str(folder / "cache"), **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return (folder / "out.vmfb").read_bytes()


@pytest.mark.parametrize("phase", ["dispatch-creation", "hal"])
def test_another_process_continues(
    network: tuple[str, Path], whole: bytes, phase: str, tmp_path: Path
) -> None:
    """It has loaded none of the modules that the phases before needed, those of packed layouts included."""
    file = tmp_path / "left.mlir"
    iree_flow.compile(network[1], compile_to=phase).save(file)
    assert compiled(tmp_path / "other", file, "--compile-from", phase) == whole


def test_hash_seeds_jobs_and_the_cache(network: tuple[str, Path], whole: bytes, tmp_path: Path) -> None:
    model = network[1]
    one = compiled(tmp_path / "a", model, "--no-cache", "--jobs", "1", PYTHONHASHSEED="1")
    cache = str(tmp_path / "shared")
    cold = compiled(tmp_path / "b", model, "--jobs", "2", PYTHONHASHSEED="2", IREE_CACHE_DIR=cache)
    assert any(Path(cache).iterdir())
    warm = compiled(tmp_path / "c", model, PYTHONHASHSEED="3", IREE_CACHE_DIR=cache)
    assert one == cold == warm == whole


def test_another_copy_of_the_sources(network: tuple[str, Path], whole: bytes, tmp_path: Path) -> None:
    copies = []
    for source in sorted(ROOT.glob("packages/*/src")):
        copy = tmp_path / "elsewhere" / source.parent.name
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        copies.append(str(copy))
    path = os.pathsep.join(copies)
    where = subprocess.run(
        [sys.executable, "-c", "import iree_flow; print(iree_flow.__file__)"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(tmp_path)), "the copy is what runs"
    assert compiled(tmp_path / "run", network[1], "--no-cache", PYTHONPATH=path) == whole
