"""Interpreted at every phase down to stream, from the phase's file, a model gives onnxruntime's numbers."""

from __future__ import annotations

from pathlib import Path

import networks
import numpy as np
import onnxruntime
import pytest

import iree_flow
import probe
from iree_core_ir.constants import ConstantStore
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_flow.phase_file import constants_path
from iree_flow.pipeline import PHASE_NAMES

INTERPRETED = PHASE_NAMES[: PHASE_NAMES.index("stream") + 1]
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def expected(network: tuple[str, Path]) -> list[list[np.ndarray]]:
    """onnxruntime's outputs by seed; two inputs must differ, or agreement would prove nothing."""
    name, path = network
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    found = [session.run(None, dict(zip(names, networks.feed(name, seed), strict=True))) for seed in SEEDS]
    assert probe.error(found[0][0], found[1][0]) >= probe.DISTINCT
    return found


@pytest.mark.parametrize("phase", INTERPRETED)
def test_a_phase_file_means_the_model(
    network: tuple[str, Path], expected: list[list[np.ndarray]], phase: str, tmp_path: Path
) -> None:
    name, path = network
    file = tmp_path / f"{phase}.mlir"
    iree_flow.compile(path, compile_to=phase).save(file)
    constants = ConstantStore.load(constants_path(file))
    module = parse_module(file.read_text(), file.name, constants=constants)
    interpreter = Interpreter(module, constants)
    for seed, reference in zip(SEEDS, expected, strict=True):
        found = interpreter.call("main", *networks.feed(name, seed))
        for value, wanted in zip(found, reference, strict=True):
            assert probe.error(value, wanted) <= probe.TOLERANCE, (phase, seed)
