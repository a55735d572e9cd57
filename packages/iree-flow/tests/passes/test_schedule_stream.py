"""``schedule-stream``: slices are offsets, chains plan tightly, storage is shared only where it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import iree_flow
from iree_core_ir.interpreter import Interpreter

SLICES = """
func.func @main(%x: tensor<4x3xf32>) -> (tensor<2x3xf32>, tensor<1x3xf32>) {
  %a = math.tanh %x : tensor<4x3xf32>
  %s = tensor.extract_slice %a[1, 0] [2, 3] [1, 1] : tensor<4x3xf32> to tensor<2x3xf32>
  %t = tensor.extract_slice %x[3, 0] [1, 3] [1, 1] : tensor<4x3xf32> to tensor<1x3xf32>
  %b = math.exp %s : tensor<2x3xf32>
  return %b, %t : tensor<2x3xf32>, tensor<1x3xf32>
}
"""

CHAIN = """
func.func @main(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<8x8xf32> {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x8xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
{steps}
  return %v{n} : tensor<8x8xf32>
}}
"""
STEP = (
    "  %v{b} = linalg.matmul ins(%{a}, %w : tensor<8x8xf32>, tensor<8x8xf32>)"
    " outs(%f : tensor<8x8xf32>) -> tensor<8x8xf32>"
)


def stream(text: str) -> Any:
    return iree_flow.compile(text, target="fixture", compile_to="stream")


def count(file: Any, name: str) -> int:
    return sum(op.name == name for op in file.module.walk())


def test_contiguous_slices_cost_no_dispatch() -> None:
    file = stream(SLICES)
    assert count(file, "stream.cmd.dispatch") == 2
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    b, t = Interpreter(file.module, file.session.constants).call("main", x)
    np.testing.assert_allclose(b, np.exp(np.tanh(x))[1:3], rtol=1e-6)
    np.testing.assert_array_equal(t, x[3:])


@pytest.mark.parametrize("n", [3, 6])
def test_a_chain_needs_what_lives_at_once(n: int) -> None:
    steps = [STEP.format(a="x" if i == 0 else f"v{i}", b=i + 1) for i in range(n)]
    file = stream(CHAIN.format(steps="\n".join(steps), n=n))
    (arena,) = file.report.arenas
    assert arena.peak == arena.lower_bound <= 2 * 256
    assert arena.sum_of_temporaries == (n - 1) * 256


def test_a_target_that_binds_no_slices_gets_copies() -> None:
    loose, strict = (iree_flow.compile(SLICES, target=t, compile_to="stream") for t in ("fixture", "lattice"))
    before = count(loose, "stream.cmd.copy")
    assert count(strict, "stream.cmd.copy") == before + 1
    x = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    for file in (loose, strict):
        b, t = Interpreter(file.module, file.session.constants).call("main", x)
        np.testing.assert_allclose(b, np.exp(np.tanh(x))[1:3], rtol=1e-6)
        np.testing.assert_array_equal(t, x[3:])


def test_the_arena_is_aligned_as_the_target_asks() -> None:
    steps = "\n".join(STEP.format(a="x" if i == 0 else f"v{i}", b=i + 1) for i in range(4))
    text = CHAIN.format(steps=steps, n=4).replace("8x8", "5x5")
    peaks = [
        iree_flow.compile(text, target=target, compile_to="stream").report.arenas[0].peak
        for target in ("fixture", "lattice")
    ]
    assert peaks == [2 * 128, 2 * 256]


CONCAT = """
func.func @main(%x: tensor<{n}x4xf32>, %y: tensor<{n}x4xf32>) -> {results} {{
  %a = math.tanh %x : tensor<{n}x4xf32>
  %b = math.exp %y : tensor<{n}x4xf32>
  %c = tensor.concat dim(0) {inputs} : (tensor<{n}x4xf32>, tensor<{n}x4xf32>) -> tensor<{m}x4xf32>
  %d = math.absf %c : tensor<{m}x4xf32>
  return {values} : {types}
}}
"""


def concat(n: int, inputs: str, values: str = "%d") -> str:
    sizes = {"%d": 2 * n, "%c": 2 * n, "%a": n}
    types = ", ".join(f"tensor<{sizes[value]}x4xf32>" for value in values.split(", "))
    return CONCAT.format(n=n, m=2 * n, inputs=inputs, values=values, types=types, results=f"({types})")


@pytest.mark.parametrize(
    ("inputs", "values", "copies"),
    [
        ("%a, %b", "%d", 0),
        ("%a, %b", "%c", 0),
        ("%a, %b", "%d, %c", 0),
        ("%a, %a", "%d", 1),
        ("%a, %x", "%d", 1),
        ("%x, %y", "%d", 2),
        ("%a, %b", "%d, %a", 1),
    ],
)
def test_what_a_concatenation_joins_is_written_in_its_place(inputs: str, values: str, copies: int) -> None:
    file = stream(concat(16, inputs, values))
    assert count(file, "stream.cmd.copy") == copies
    assert not any(
        "concat" in op.sym_name.value for op in file.module.body.block if op.name == "flow.executable"
    )
    x, y = np.random.default_rng(2).standard_normal((2, 16, 4)).astype(np.float32)
    made = {"%x": x, "%y": y, "%a": np.tanh(x), "%b": np.exp(y)}
    made["%c"] = np.concatenate([made[name] for name in inputs.split(", ")])
    made["%d"] = np.abs(made["%c"])
    found = Interpreter(file.module, file.session.constants).call("main", x, y)
    for got, name in zip(found, values.split(", "), strict=True):
        np.testing.assert_allclose(got, made[name], rtol=1e-6)


def test_pieces_of_one_concatenation_are_made_together() -> None:
    file = stream(concat(16, "%a, %b"))
    assert count(file, "stream.cmd.concurrent") == 1
    (arena,) = file.report.arenas
    assert arena.peak == 2 * 16 * 4 * 4


@pytest.mark.parametrize(("n", "copies"), [(16, 0), (3, 1)])
def test_a_piece_that_could_not_be_bound_is_copied(n: int, copies: int) -> None:
    """256 bytes a piece suit the target, 48 do not."""
    file = iree_flow.compile(concat(n, "%a, %b"), target="lattice", compile_to="stream")
    assert count(file, "stream.cmd.copy") == copies


TIED = """
func.func @main(%x: tensor<16x4xf32>) -> (tensor<16x4xf32>, tensor<32x4xf32>) {
  %a = math.tanh %x : tensor<16x4xf32>
  %b = math.exp %x : tensor<16x4xf32>
  %c = tensor.concat dim(0) %a, %b : (tensor<16x4xf32>, tensor<16x4xf32>) -> tensor<32x4xf32>
  %t = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%x : tensor<16x4xf32>) outs(%a : tensor<16x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.addf %p, %o : f32
    linalg.yield %s : f32
  } -> tensor<16x4xf32>
  %d = math.absf %c : tensor<32x4xf32>
  return %t, %d : tensor<16x4xf32>, tensor<32x4xf32>
}
"""


def test_no_result_takes_over_the_memory_of_a_concatenation() -> None:
    file = stream(TIED)
    x = np.random.default_rng(3).standard_normal((16, 4)).astype(np.float32)
    t, d = Interpreter(file.module, file.session.constants).call("main", x)
    np.testing.assert_allclose(t, x + np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(d, np.abs(np.concatenate([np.tanh(x), np.exp(x)])), rtol=1e-6)


SUM = """
func.func @main(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<8x8xf32> {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x8xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %t = linalg.matmul ins(%w, %x : tensor<8x8xf32>, tensor<8x8xf32>) outs(%f : tensor<8x8xf32>) -> tensor<8x8xf32>
  %m = linalg.matmul ins(%x, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%f : tensor<8x8xf32>) -> tensor<8x8xf32>
  %u = arith.addf %m, %t : tensor<8x8xf32>
  %v = linalg.matmul ins(%u, %{last} : tensor<8x8xf32>, tensor<8x8xf32>) outs(%f : tensor<8x8xf32>) -> tensor<8x8xf32>
  return %v : tensor<8x8xf32>
}}
"""


@pytest.mark.parametrize(("last", "expected"), [("w", 1), ("t", 0)])
def test_a_result_takes_the_memory_of_an_operand_that_ends(
    last: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the target lets it, and only at the operand's last use; inputs are never taken."""
    from fixture_target import FixtureTarget

    def all_read(target: Any, function: Any, description: Any) -> range:
        return range(len(function.regions[0].block.args) - 1)

    monkeypatch.setattr(FixtureTarget, "replaced_arguments", all_read, raising=False)
    file = stream(SUM.format(last=last))
    (arena,) = file.report.arenas
    assert arena.in_place == expected
    x, w = np.random.default_rng(0).standard_normal((2, 8, 8)).astype(np.float32)
    v = np.asarray(Interpreter(file.module, file.session.constants).call("main", x, w)).reshape(8, 8)
    t = w @ x
    np.testing.assert_allclose(v, (x @ w + t) @ (w if last == "w" else t), rtol=1e-4, atol=1e-4)
