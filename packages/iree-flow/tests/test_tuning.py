"""Tuning: candidates are what would be compiled, the fastest clear winner is taken, results are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iree_flow
from iree_flow import tuning
from iree_flow.chosen_description import OWN, TUNED
from iree_flow.tuning import Choice

pytest.importorskip("iree_target_llvm", reason="kernels that differ take a target with choices")

PRODUCT = """
func.func @main(%x: tensor<64x96xf32> {iree.name = "x"}) -> tensor<64x160xf32> {
  %w = arith.constant dense_resource<w> : tensor<96x160xf32>
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<64x160xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<64x160xf32>) -> tensor<64x160xf32>
  %m = linalg.matmul ins(%x, %w : tensor<64x96xf32>, tensor<96x160xf32>) outs(%f : tensor<64x160xf32>)
    -> tensor<64x160xf32>
  return %m : tensor<64x160xf32>
}
""".replace("dense_resource<w>", "dense<0.5>")
DYNAMIC = PRODUCT.replace("tensor<64x", "tensor<?x").replace(
    "%e = tensor.empty()",
    "%c = arith.constant 0 : index\n  %n = tensor.dim %x, %c : tensor<?x96xf32>\n  %e = tensor.empty(%n)",
)


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tuning, "ROUNDS", 2)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is measured, with results made up: candidates get faster from one to the next."""
    seen: list[list[str]] = []

    def measure(function: Any, candidates: Any, format: str, device: Any) -> Choice:
        labels = [candidate.label for candidate in candidates]
        seen.append(labels)
        return Choice(labels[-1], tuple((label, 1.0 / i) for i, label in enumerate(labels, 1)))

    monkeypatch.setattr(tuning, "measure", measure)
    return seen


@pytest.fixture
def variants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates that differ for sure: narrower vectors."""
    from iree_target_llvm.target import LlvmCpuTarget

    def offer(self: Any, description: Any) -> dict[str, Any]:
        narrow = replace(description, vector_bits=128, registers=16, masks=False)
        return {"same": description, "narrow": narrow}

    monkeypatch.setattr(LlvmCpuTarget, "tuning_variants", offer)


def compile(text: str, **options: Any) -> Any:
    return iree_flow.compile(text, target="llvm-cpu", **options)


def test_only_different_code_is_measured(variants: None, measured: list[list[str]]) -> None:
    file = compile(PRODUCT, tune=True, compile_to="dispatch-creation")
    assert measured == [[OWN, "narrow"]]
    (row,) = file.report.tuning
    assert (row.label, row.seconds) == ("narrow", {OWN: 1.0, "narrow": 0.5})
    (executable,) = [op for op in file.module.walk() if op.name == "flow.executable"]
    assert executable.attributes[TUNED].value == "narrow"


def test_results_are_kept(variants: None, measured: list[list[str]]) -> None:
    first = compile(PRODUCT, tune=True).report.tuning
    assert compile(PRODUCT, tune=True).report.tuning == first
    assert len(measured) == 1
    compile(PRODUCT, tune=True, cache=False)
    assert len(measured) == 2
    for entry in tuning.disk_cache().entries():
        entry.path.write_text("damaged")
    compile(PRODUCT, tune=True)
    assert len(measured) == 3


def test_sizes_known_at_run_time_are_not_tuned(variants: None, measured: list[list[str]]) -> None:
    compile(DYNAMIC, tune=True)
    assert measured == []


def test_what_was_chosen_is_what_runs(variants: None, measured: list[list[str]], tmp_path: Path) -> None:
    import iree_vm

    plain, tuned = compile(PRODUCT), compile(PRODUCT, tune=True)
    assert bytes(plain.executable(0)) != bytes(tuned.executable(0))
    x = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32)
    for artifact in (plain, tuned):
        result = iree_vm.load(artifact, threads=1).main(x)
        assert np.allclose(result, x @ np.full((96, 160), 0.5, np.float32), atol=1e-3)


def test_measuring_runs_on_the_device(variants: None) -> None:
    (row,) = compile(PRODUCT, tune=True).report.tuning
    assert set(row.seconds) == {OWN, "narrow"}
    assert all(0 < seconds < 1 for seconds in row.seconds.values())


def test_a_target_that_offers_nothing_is_left_alone(measured: list[list[str]]) -> None:
    pytest.importorskip("iree_target_reference", reason="a target is a package of its own")
    assert not iree_flow.compile(PRODUCT, target="reference", tune=True).report.tuning
    assert measured == []


def test_the_targets_own_candidates_compile() -> None:
    from iree_target_llvm.description import describe
    from iree_target_llvm.tuning import tuning_variants

    description = describe({})
    found = tuning_variants(description)
    assert found
    assert all(other.features == description.features for other in found.values())
    assert all(other != description for other in found.values())
    compile(PRODUCT, tune=True)
