"""Transposes through shared memory against the interpreter: ranks, tails, fused elementwise ops."""

from __future__ import annotations

import pytest

from iree_codegen.dispatch import Dispatch
from iree_codegen.strategies.gpu.transpose import transpose

from .contractions import CPU, GPU, check, function


def moved(shape: tuple[int, ...], permutation: tuple[int, ...], element: str = "f32") -> str:
    source = "x".join(map(str, shape))
    target = "x".join(str(shape[i]) for i in permutation)
    return f"""
func.func @moved(%a: tensor<{source}x{element}>, %out: tensor<{target}x{element}>) -> tensor<{target}x{element}> {{
  %r = linalg.transpose ins(%a : tensor<{source}x{element}>) outs(%out : tensor<{target}x{element}>)
      permutation = {list(permutation)}
  return %r : tensor<{target}x{element}>
}}"""


@pytest.mark.parametrize(
    ("shape", "permutation"),
    [((32, 64), (1, 0)), ((33, 50), (1, 0)), ((2, 20, 35), (0, 2, 1)), ((2, 17, 3, 19), (0, 3, 2, 1))],
    ids=str,
)
def test_transposes(shape: tuple[int, ...], permutation: tuple[int, ...]) -> None:
    check(moved(shape, permutation), transpose, GPU, tolerance=0)


@pytest.mark.parametrize("element", ["f16", "i8", "i64"])
def test_types(element: str) -> None:
    check(moved((34, 20), (1, 0), element), transpose, GPU, tolerance=0)


FUSED = """
#id = affine_map<(d0, d1) -> (d0, d1)>
#swapped = affine_map<(d0, d1) -> (d1, d0)>
#row = affine_map<(d0, d1) -> (d1)>
func.func @fused(%a: tensor<40x35xf32>, %b: tensor<35x40xf32>, %c: tensor<40xf32>, %out: tensor<35x40xf32>)
    -> tensor<35x40xf32> {
  %r = linalg.generic {indexing_maps = [#swapped, #id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%a, %b, %c : tensor<40x35xf32>, tensor<35x40xf32>, tensor<40xf32>) outs(%out : tensor<35x40xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32, %o: f32):
    %0 = arith.mulf %x, %y : f32
    %1 = arith.addf %0, %z : f32
    linalg.yield %1 : f32
  } -> tensor<35x40xf32>
  return %r : tensor<35x40xf32>
}"""


def test_fused_elementwise_ops() -> None:
    check(FUSED, transpose, GPU)


def test_what_is_left_to_others() -> None:
    assert transpose(Dispatch(function(moved((32, 64), (1, 0)))), CPU) is None
    assert transpose(Dispatch(function(moved((8, 64), (1, 0)))), GPU) is None
    assert transpose(Dispatch(function(moved((4, 32, 64), (1, 0, 2)))), GPU) is None
