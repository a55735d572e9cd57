"""If, Loop and Scan that are decided when the model runs: the imported IR, the machine's code and the reference
target give onnxruntime's numbers, synchronously and not, and under verification."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from control_models import HEAD, MODELS, build
from onnx import parser

import iree_flow
import iree_hal
import iree_vm
from iree_input_onnx.testing import run_model


def wanted_of(model: onnx.ModelProto, calls: Any) -> list[Any]:
    """What onnxruntime gives for each of several calls."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    return [session.run(None, dict(zip(names, inputs, strict=True))) for inputs in calls]


def check(found: Any, wanted: Any) -> None:
    for a, b in zip(found if isinstance(found, (tuple, list)) else (found,), wanted, strict=True):
        if a.size == b.size == 0:  # what a loop without an iteration would have given: its rank
            assert a.ndim == b.ndim
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_imported(name: str) -> None:
    text, calls = MODELS[name]
    model = build(text)
    for inputs, wanted in zip(calls, wanted_of(model, calls), strict=True):
        check(run_model(model, inputs), wanted)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_compiled_for_two_targets(name: str) -> None:
    text, calls = MODELS[name]
    model = build(text)
    artifact = iree_flow.compile(model, target=["llvm-cpu", "reference"])
    wanted = wanted_of(model, calls)
    for driver in ("local-task", "reference"):
        module = iree_vm.load(artifact, device=iree_hal.create_device(driver))
        for inputs, expected in zip([*calls, *calls], [*wanted, *wanted], strict=True):
            check(module.main(*inputs), expected)
            check(module.main_async(*inputs).result(60), expected)


VERIFIED = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from control_models import MODELS, build
import iree_flow, iree_vm
for name in ("if-captured", "loop-for", "loop-scan-dyn", "if-in-loop"):
    text, calls = MODELS[name]
    module = iree_vm.load(iree_flow.compile(build(text), target="llvm-cpu"))
    found = [module.main(*inputs) for inputs in calls]
    arrays = [a for r in found for a in (r if isinstance(r, tuple) else (r,))]
    np.savez(sys.argv[2] + name, *arrays)
"""


def test_under_verification(tmp_path: Path) -> None:
    """Poisoned arenas and shuffled tiles change nothing."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", VERIFIED, here, f"{tmp_path}/"]
    subprocess.run(command, env={**os.environ, "IREE_VERIFY": "1"}, check=True)
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == 4
    for path in files:
        text, calls = MODELS[path.stem]
        wanted = [a for outputs in wanted_of(build(text), calls) for a in outputs]
        with np.load(path) as found:
            check([found[key] for key in found.files], wanted)


RANKS = """
g (float[n,k] x) => (float[m] y, float[t] w) {
  shape = Shape(x)
  one = Constant<value_int=1>() at = Constant<value_ints=[1]>() last = Constant<value_ints=[-1]>()
  width = Gather(shape, one)
  single = Equal(width, one)
  z = If (single) <
    then_branch = g1 () => (float[p] a) { a = Squeeze(x, at) },
    else_branch = g2 () => (float[q,r] b) { b = Identity(x) }
  >
  e = Exp(z)
  sums = ReduceSum<keepdims=1>(e, last)
  y = Reshape(sums, last)
  w = Neg(y)
}"""


def test_what_follows_branches_of_different_ranks_is_there_for_each() -> None:
    """The sum is over rows where there are several columns, else over all."""
    model = build(RANKS)
    module = iree_vm.load(iree_flow.compile(model, target="llvm-cpu"))
    rng = np.random.default_rng(0)
    calls = [(rng.standard_normal((3, width)).astype(np.float32),) for width in (1, 4)]
    for inputs, wanted in zip(calls, wanted_of(model, calls), strict=True):
        check(module.main(*inputs), wanted)


def test_a_branch_that_cannot_run_stops_the_program() -> None:
    text = """
    g (float[3] x, bool c) => (float[k] y) {
      y = If (c) <
        then_branch = g1 () => (float[3] a) { a = Exp(x) },
        else_branch = g2 () => (float[4] b) { w = Constant<value=float[4] {1.0,2.0,3.0,4.0}>() b = Add(x, w) }
      >
    }"""
    module = iree_vm.load(iree_flow.compile(parser.parse_model(HEAD + text), target="llvm-cpu"))
    x = np.arange(3, dtype=np.float32)
    np.testing.assert_allclose(module.main(x, np.array(True)), np.exp(x), rtol=1e-6)
    with pytest.raises(iree_vm.VmError, match="cannot run"):
        module.main(x, np.array(False))


def test_silero_vad_as_it_is_shipped(model_file: Callable[[str], Path]) -> None:
    """One artefact, any batch, both sampling rates."""
    path = model_file("silero_vad")
    module = iree_vm.load(iree_flow.compile(path, target="llvm-cpu"))
    rng = np.random.default_rng(0)
    calls = [
        (
            rng.standard_normal((batch, size)).astype(np.float32) * np.float32(0.1),
            rng.standard_normal((2, batch, 128)).astype(np.float32),
            np.array(rate),
        )
        for rate, size in ((16000, 576), (8000, 288))
        for batch in (1, 3)
    ]
    for inputs, wanted in zip(calls, wanted_of(onnx.load(path), calls), strict=True):
        check(module.main(*inputs), wanted)
