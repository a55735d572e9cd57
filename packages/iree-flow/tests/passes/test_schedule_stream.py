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
