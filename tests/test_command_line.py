"""The command on real models, each call a process of its own: compile, look, run, measure, check."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import probe
import zoo

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_magika_from_file_to_answer(iree: Command, model_file: Callable[[str], Path], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = model_file("magika")
    facts = json.loads(good(iree("compile", model, "-o", "magika.vmfb", "--json")))
    assert facts["bytes"] == (tmp_path / "magika.vmfb").stat().st_size
    assert len(facts["report"]["dispatches"]) > 0

    feed = zoo.MODELS["magika"].feed(0)
    np.savez(tmp_path / "in.npz", **feed)
    assert good(iree("run", "magika.vmfb", "--input", "@in.npz", "--output", "@out.npz")) == ""
    with np.load(tmp_path / "out.npz") as archive:
        found = archive["target_label"]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert probe.error(found, session.run(None, feed)[0]) <= probe.TOLERANCE

    inspected = json.loads(good(iree("inspect", "magika.vmfb", "--json")))
    (function,) = inspected["manifest"]["functions"]
    assert [entry["name"] for entry in function["inputs"]] == ["bytes"]
    assert good(iree("verify", "magika.vmfb")) == "magika.vmfb: ok\n"
    measured = good(iree("benchmark", "magika.vmfb", "--input", "@in.npz", "--calls", 3, "--json"))
    assert json.loads(measured)["microseconds"]["calls"] == 3


def test_fixed_shapes_and_the_report(iree: Command, tmp_path: Path) -> None:
    model = tiny.mlp(tmp_path / "mlp.onnx")
    said = good(iree("compile", model, "--input-shape", "x=3x8", "--report"))
    assert "dispatch" in said
    (function,) = json.loads(good(iree("inspect", "mlp.vmfb", "--json")))["manifest"]["functions"]
    assert function["inputs"][0]["shape"] == [3, 8]
    assert iree("run", "mlp.vmfb", "--input", "2x8xf32=0").returncode == 2


def test_the_arena_report_says_what_fills_it(iree: Command, tmp_path: Path) -> None:
    model = tiny.convolution(tmp_path / "net.onnx")
    said = good(iree("compile", model, "--arena-report"))
    assert "lower bound" in said
    assert "% over" in said
    assert "in place" in said
    (row,) = json.loads(good(iree("compile", model, "--json")))["report"]["arenas"]
    assert row["lower_bound"] <= row["peak"] <= row["sum_of_temporaries"]
    assert f"{row['fullest'][0]['bytes']} from " in said


def test_phases_are_dumped_and_read_back(iree: Command, tmp_path: Path) -> None:
    model = tiny.convolution(tmp_path / "net.onnx")
    good(iree("compile", model, "--dump-phases-to", "phases", "-o", "whole.vmfb"))
    dumped = sorted((tmp_path / "phases").glob("*.mlir"))
    assert len(dumped) >= 5
    for path in dumped:
        good(iree("opt", path, "-o", "again.mlir"))
    text = good(iree("compile", model, "--compile-to", "input", "-o", "-"))
    assert "func.func" in text


@pytest.mark.parametrize("make", [tiny.mlp, tiny.convolution, tiny.gather], ids=lambda make: make.__name__)
def test_the_reference_target_gives_the_same_answer(make: Any, iree: Command, tmp_path: Path) -> None:
    model = make(tmp_path / "net.onnx")
    given = {"mlp": "5x8xf32=random", "convolution": "random:3", "gather": "0 9 3 4 5"}[make.__name__]
    answers = []
    for target in ("llvm-cpu", "reference"):
        good(iree("compile", model, "--target", target, "-o", "net.vmfb"))
        good(iree("run", "net.vmfb", "--input", given, "--output", "@out.npy"))
        answers.append(np.load(tmp_path / "out.npy"))
    assert probe.error(answers[0], answers[1]) <= 1e-5


def test_the_effective_configuration(iree: Command, tmp_path: Path) -> None:
    model = tiny.add(tmp_path / "add.onnx")
    facts = json.loads(good(iree("compile", model, "--jobs", 2, "--print-config", "--json")))
    assert facts["jobs"] == {"value": 2, "from": "command line"}
    assert facts["output"] == {"value": "add.vmfb", "from": "worked out"}
    assert facts["target"]["value"]
    assert not (tmp_path / "add.vmfb").exists()
