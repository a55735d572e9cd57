"""Products on matrix fragments against the interpreter: layouts, tails, types, both ways to store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iree_codegen.dispatch import Dispatch
from iree_codegen.strategies.gpu import tile_shapes
from iree_codegen.strategies.gpu.matmul import matmul
from iree_codegen.strategies.gpu.tile_shapes import FragmentTile

from .contractions import GPU, check, function
from .test_convolution import convolution
from .test_matmul import product

FRAGMENTS = replace(
    GPU,
    subgroup_size=4,
    matrix_shapes=(
        (4, 4, 8, "f16", "f16", "f32", "f32"),
        (4, 4, 8, "bf16", "bf16", "f32", "f32"),
        (4, 8, 8, "i8", "i8", "i32", "i32"),
    ),
)
"""Small fragments and subgroups, so that tiles are small."""


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_shapes, "TINY", 0)
    monkeypatch.setattr(tile_shapes, "FRAGMENT_TILES", (FragmentTile(16, 16, 16, 8, 8, 1.0, 1.0),))


def transposed(m: int, k: int, n: int, *, left: bool, element: str = "f16", result: str = "f16") -> str:
    """A or B transposed; the f32 sums rounded to ``result``."""
    a, b = (f"{k}x{m}", f"{k}x{n}") if left else (f"{m}x{k}", f"{n}x{k}")
    op = "linalg.matmul_transpose_a" if left else "linalg.matmul_transpose_b"
    return f"""
#full = affine_map<(d0, d1) -> (d0, d1)>
func.func @transposed(%a: tensor<{a}x{element}>, %b: tensor<{b}x{element}>, %out: tensor<{m}x{n}x{result}>)
    -> tensor<{m}x{n}x{result}> {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<{m}x{n}xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %r = {op} ins(%a, %b : tensor<{a}x{element}>, tensor<{b}x{element}>) outs(%f : tensor<{m}x{n}xf32>)
      -> tensor<{m}x{n}xf32>
  %s = linalg.generic {{indexing_maps = [#full, #full], iterator_types = ["parallel", "parallel"]}}
      ins(%r : tensor<{m}x{n}xf32>) outs(%out : tensor<{m}x{n}x{result}>) {{
  ^bb0(%x: f32, %o: {result}):
    %0 = arith.truncf %x : f32 to {result}
    linalg.yield %0 : {result}
  }} -> tensor<{m}x{n}x{result}>
  return %s : tensor<{m}x{n}x{result}>
}}"""


def _has(kernel: Any, name: str) -> bool:
    return any(op.name == name for op in kernel.module.walk())


@pytest.mark.parametrize("shape", [(16, 32, 32), (32, 16, 16), (18, 24, 24), (17, 19, 21)], ids=str)
@pytest.mark.parametrize("element", ["f16", "bf16"])
def test_shapes(shape: tuple[int, int, int], element: str) -> None:
    kernel = check(product(*shape, element), matmul, FRAGMENTS, tolerance=1e-2)
    assert _has(kernel, "gpu.subgroup_mma_compute")
    exact = shape[0] % 16 == 0 and shape[2] % 16 == 0
    assert ("through shared" in kernel.why) != exact


@pytest.mark.parametrize("left", [True, False], ids=["a", "b"])
@pytest.mark.parametrize("shape", [(16, 16, 32), (24, 20, 16)], ids=str)
def test_transposed_factors(left: bool, shape: tuple[int, int, int]) -> None:
    kernel = check(transposed(*shape, left=left), matmul, FRAGMENTS, tolerance=2e-2)
    assert _has(kernel, "gpu.subgroup_mma_compute")


@pytest.mark.parametrize("shape", [(16, 32, 32), (17, 36, 19)], ids=str)
def test_integers(shape: tuple[int, int, int]) -> None:
    kernel = check(product(*shape, "i8", "i32"), matmul, FRAGMENTS, tolerance=0)
    assert _has(kernel, "gpu.subgroup_mma_compute")


def test_loops_over_the_depth_are_not_unrolled() -> None:
    kernel = check(product(16, 48, 16, "f16"), matmul, FRAGMENTS, tolerance=1e-2)
    loops = [op for op in kernel.module.walk() if op.name == "scf.for"]
    assert any("iree.dont_unroll" in loop.attributes for loop in loops)


@pytest.mark.parametrize("channels", [16, 5])
def test_convolutions(channels: int) -> None:
    text = convolution(n=2, c=channels, h=5, w=6, f=20, kernel=3, pad=1, element="f16")
    kernel = check(text, matmul, FRAGMENTS, tolerance=1e-2)
    assert _has(kernel, "gpu.subgroup_mma_compute")


def test_other_elements_are_summed_without_fragments() -> None:
    kernel = matmul(Dispatch(function(product(16, 16, 32))), FRAGMENTS)
    assert kernel is not None
    assert not _has(kernel, "gpu.subgroup_mma_compute")
