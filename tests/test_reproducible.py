"""Same model, options and versions: same bytes; every phase can be left and entered.

Two hash seeds, one and two compile processes, warm and cold cache, another working directory; and
``--compile-to`` X then ``--compile-from`` X for every X.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny


def compile_in_process(folder: Path, model: Path, *arguments: str, **environment: str) -> bytes:
    """The artefact's bytes, compiled by a fresh process in its own folder."""
    folder.mkdir()
    code = "from iree_cli.main import main; main()"
    command = [sys.executable, "-c", code, "compile", str(model), "-o", "out.vmfb", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return (folder / "out.vmfb").read_bytes()


def test_identical_bytes(tmp_path: Path) -> None:
    model = tiny.convolution(tmp_path / "model.onnx")
    first = compile_in_process(tmp_path / "a", model, "--no-cache", "--jobs", "1", PYTHONHASHSEED="1")
    second = compile_in_process(tmp_path / "b", model, "--no-cache", "--jobs", "2", PYTHONHASHSEED="2")
    assert first == second
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cold = compile_in_process(tmp_path / "c", model, PYTHONHASHSEED="3", **cache)
    warm = compile_in_process(tmp_path / "d", model, PYTHONHASHSEED="4", **cache)
    assert cold == warm == first
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    again = compile_in_process(tmp_path / "e", tiny.convolution(moved / "model.onnx"), "--no-cache")
    assert again == first


def phases() -> list[str]:
    from iree_flow.pipeline import PHASE_NAMES

    return list(PHASE_NAMES)


@pytest.mark.parametrize("make", [tiny.mlp, tiny.convolution], ids=lambda make: make.__name__)
@pytest.mark.parametrize("phase", phases())
def test_every_phase_can_be_left_and_entered(make, phase: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import iree_flow

    model = make(tmp_path / "model.onnx")
    iree_flow.compile(model).save(tmp_path / "whole.vmfb")
    iree_flow.compile(model, compile_to=phase).save(tmp_path / "model.mlir")
    model.unlink()
    iree_flow.compile(tmp_path / "model.mlir", compile_from=phase).save(tmp_path / "continued.vmfb")
    assert (tmp_path / "continued.vmfb").read_bytes() == (tmp_path / "whole.vmfb").read_bytes()
