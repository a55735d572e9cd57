"""Recurrent layers whose steps several workgroups share: the same bits on any number of threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tiny
from onnx import helper

import iree_flow
import iree_hal
import iree_vm
from iree_flow.verify_dispatches import OPERATIONS, verify_dispatches

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
THREADS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Layer:
    kind: str
    steps: int
    batch: int
    size: int
    direction: str
    dynamic: bool
    """Steps and rows are known when called."""
    lengths: bool

    @staticmethod
    def random(seed: int) -> Layer:
        rng = np.random.default_rng(seed)
        return Layer(
            ("LSTM", "GRU", "RNN")[seed % 3],
            int(rng.integers(1, 20)),
            int(rng.choice([1, 1, 2, 3, 8])),
            int(rng.integers(120, 520)),
            ("forward", "reverse", "bidirectional")[int(rng.integers(3))],
            bool(rng.integers(2)),
            bool(rng.integers(4) == 0),
        )

    def save(self, path: Path, seed: int = 0) -> tuple[Path, list[Any]]:
        """The model, and arrays for its inputs."""
        rng = np.random.default_rng(seed)
        d = 2 if self.direction == "bidirectional" else 1
        g, n, width = GATES[self.kind], self.size, 24
        t, b = ("t", "b") if self.dynamic else (self.steps, self.batch)
        weights = {
            "W": rng.standard_normal((d, g * n, width)) * 0.3,
            "R": rng.standard_normal((d, g * n, n)) * 0.8 / n**0.5,
            "B": rng.standard_normal((d, 2 * g * n)) * 0.3,
        }
        inputs: list[Any] = [("X", tiny.F32, [t, b, width])]
        arrays: list[Any] = [rng.standard_normal((self.steps, self.batch, width)).astype(np.float32)]
        if self.lengths:
            inputs.append(("lengths", helper.TensorProto.INT32, [b]))
            # No row of no steps: its last states are the first ones here, and 0 for onnxruntime.
            arrays.append(rng.integers(1, self.steps + 1, self.batch).astype(np.int32))
        states = ["h", "c"] if self.kind == "LSTM" else ["h"]
        for name in states:
            inputs.append((name, tiny.F32, [d, b, n]))
            arrays.append(rng.standard_normal((d, self.batch, n)).astype(np.float32))
        # Of a GRU both forms: one has two stages.
        more = {"linear_before_reset": seed % 2} if self.kind == "GRU" else {}
        given = ["X", "W", "R", "B", "lengths" if self.lengths else "", *states]
        outputs = [("Y", [t, d, b, n]), *((f"Y_{name}", [d, b, n]) for name in states)]
        node = helper.make_node(
            self.kind, given, [name for name, _ in outputs], hidden_size=n, direction=self.direction, **more
        )
        made = {name: array.astype(np.float32) for name, array in weights.items()}
        tiny.save(path, [node], inputs, [(name, tiny.F32, shape) for name, shape in outputs], **made)
        return path, arrays


def compiled(layer: Layer, folder: Path, seed: int = 0) -> tuple[Path, Path, list[Any]]:
    """Model, artefact, inputs."""
    model, arrays = layer.save(folder / "layer.onnx", seed)
    artefact = folder / "layer.vmfb"
    iree_flow.compile(model).save(artefact)
    return model, artefact, arrays


@pytest.mark.parametrize(
    "seed", [seed if seed < 9 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(60)]
)
def test_any_number_of_threads_gives_the_same_bits(seed: int, tmp_path: Path) -> None:
    layer = Layer.random(seed)
    model, artefact, arrays = compiled(layer, tmp_path, seed)
    session = ort.InferenceSession(model)
    wanted = session.run(None, dict(zip([i.name for i in session.get_inputs()], arrays, strict=True)))
    alone = iree_vm.load(artefact, threads=1).main(*arrays)
    for a, b in zip(alone, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5, err_msg=repr(layer))
    for threads in THREADS:
        module = iree_vm.load(artefact, threads=threads)
        for _ in range(10):
            for a, b in zip(module.main(*arrays), alone, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=repr(layer))


SHARED = Layer("LSTM", 6, 1, 256, "bidirectional", False, False)
"""Two layers of shared steps side by side."""


def test_other_sizes_of_one_artefact(tmp_path: Path) -> None:
    """The workspace grows with the batch; no steps and no rows are fine too."""
    layer = Layer("LSTM", 3, 2, 192, "forward", True, False)
    model, artefact, _ = compiled(layer, tmp_path)
    session = ort.InferenceSession(model)
    module = iree_vm.load(artefact, threads=2)
    rng = np.random.default_rng(1)
    for steps, batch in [(1, 1), (7, 1), (2, 40), (3, 0), (0, 2), (50, 3)]:
        shapes = {"X": (steps, batch, 24), "h": (1, batch, 192), "c": (1, batch, 192)}
        feed = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        got = module.main(*feed.values())
        if not steps or not batch:  # which onnxruntime does not take
            assert got[0].shape == (steps, 1, batch, 192)
            if batch:
                np.testing.assert_array_equal(got[1], feed["h"])
                np.testing.assert_array_equal(got[2], feed["c"])
            continue
        for a, b in zip(got, session.run(None, feed), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


def test_guards_hazards_and_shuffled_workgroups(tmp_path: Path) -> None:
    _, artefact, arrays = compiled(SHARED, tmp_path)
    wanted = iree_vm.load(artefact, threads=1).main(*arrays)
    for driver in ("local-sync", "local-task"):
        device = iree_hal.create_device(driver, verify=True)
        got = iree_vm.load(artefact, device=device).main(*arrays)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def test_forms_of_the_kernel_agree(tmp_path: Path) -> None:
    model, arrays = SHARED.save(tmp_path / "layer.onnx")
    stopped = iree_flow.compile(model, compile_to="dispatch-creation")
    checks = list(verify_dispatches(stopped.module, stopped.session, arrays, seed=1, operations=OPERATIONS))
    assert any("recurrence" in check.name for check in checks)
    for check in checks:
        assert check.ok, check.failures


def test_the_workspace_survives_a_phase_file(tmp_path: Path) -> None:
    model, artefact, _ = compiled(SHARED, tmp_path)
    for phase in ("executable", "hal"):
        file = tmp_path / f"{phase}.mlir"
        iree_flow.compile(model, compile_to=phase).save(file)
        assert "workspace" in file.read_text()
        iree_flow.compile(file, compile_from=phase).save(tmp_path / "again.vmfb")
        assert (tmp_path / "again.vmfb").read_bytes() == artefact.read_bytes()
    assert "hal.command_buffer.clear_buffer target(0[" in file.read_text()


@pytest.mark.parametrize("calls", [40, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("threads", [2, 8])
def test_callers_without_enough_processors(threads: int, calls: int, tmp_path: Path) -> None:
    """Several callers at once, more threads than processors: nobody hangs, and all get the same bits."""
    _, artefact, arrays = compiled(SHARED, tmp_path)
    wanted = iree_vm.load(artefact, threads=1).main(*arrays)
    module = iree_vm.load(artefact, threads=threads)
    wrong: list[str] = []

    def call() -> None:
        for number in range(calls):
            for a, b in zip(module.main(*arrays), wanted, strict=True):
                if not np.array_equal(a, b):
                    wrong.append(f"call {number}: {np.abs(a - b).max()}")
                    return

    callers = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(600)
        assert not caller.is_alive()
    assert wrong == []
