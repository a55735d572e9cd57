"""``fuse-elementwise``: chains become one generic; nothing expensive is computed more often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_runs import floats, names, run, same

from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg
from iree_flow.passes.fuse_elementwise import FuseElementwise

ROWS = """
#full = affine_map<(i, j) -> (i, j)>
#turned = affine_map<(i, j) -> (j, i)>
#row = affine_map<(i, j) -> (i)>
func.func @main(%x: tensor<4x5xf32>, %v: tensor<4xf32>) -> {result} {{
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x5xf32>
  {body}
}}
"""


def fused(text: str) -> Any:
    return run(text, ConvertElementwiseToLinalg(), FuseElementwise())


def generics(module: Any) -> int:
    return names(module).count("linalg.generic")


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_chain_is_one_op(length: int) -> None:
    steps = [f"%v{i + 1} = math.tanh %v{i} : tensor<3x4xf32>" for i in range(length)]
    lines = "\n  ".join(steps)
    text = f"""
func.func @main(%v0: tensor<3x4xf32>) -> tensor<3x4xf32> {{
  {lines}
  return %v{length} : tensor<3x4xf32>
}}"""
    module = fused(text)
    assert generics(module) == 1
    same(text, module, *floats((3, 4)))


def test_a_value_with_two_readers_stays() -> None:
    text = """
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %a = math.tanh %x : tensor<4xf32>
  %b = math.exp %a : tensor<4xf32>
  %c = math.absf %a : tensor<4xf32>
  return %b, %c : tensor<4xf32>, tensor<4xf32>
}"""
    module = fused(text)
    assert generics(module) == 3
    same(text, module, *floats((4,)))


BROADCAST = """
  %t = tensor.empty() : tensor<4xf32>
  %a = {op} %v : tensor<4xf32>
  %r = linalg.generic {{indexing_maps = [#full, #row, #full], iterator_types = ["parallel", "parallel"]}}
      ins(%x, %a : tensor<4x5xf32>, tensor<4xf32>) outs(%e : tensor<4x5xf32>) {{
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  }} -> tensor<4x5xf32>
  return %r : tensor<4x5xf32>
"""


@pytest.mark.parametrize(("op", "moves"), [("math.absf", True), ("math.tanh", False), ("math.sqrt", False)])
def test_what_is_broadcast_moves_in_when_it_is_cheap(op: str, moves: bool) -> None:
    text = ROWS.format(result="tensor<4x5xf32>", body=BROADCAST.format(op=op))
    module = fused(text)
    assert generics(module) == (1 if moves else 2)
    same(text, module, np.abs(floats((4, 5))[0]), np.abs(floats((4,))[0]))


TRANSPOSED = """
  %te = tensor.empty() : tensor<5x4xf32>
  %t = linalg.transpose ins(%x : tensor<4x5xf32>) outs(%te : tensor<5x4xf32>) permutation = [1, 0]
  %a = math.absf %t : tensor<5x4xf32>
  %b = math.exp %t : tensor<5x4xf32>
  return %a, %b : tensor<5x4xf32>, tensor<5x4xf32>
"""


def test_data_movement_folds_into_every_reader() -> None:
    text = ROWS.format(result="(tensor<5x4xf32>, tensor<5x4xf32>)", body=TRANSPOSED)
    module = fused(text)
    assert generics(module) == 2
    assert "linalg.transpose" not in names(module)
    same(text, module, *floats((4, 5), (4,)))


REDUCTION = """
  %re = tensor.empty() : tensor<4xf32>
  %rz = linalg.fill ins(%zero : f32) outs(%re : tensor<4xf32>) -> tensor<4xf32>
  %a = arith.mulf %x, %x : tensor<4x5xf32>
  %r = linalg.generic {indexing_maps = [#full, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<4x5xf32>) outs(%rz : tensor<4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.addf %p, %o : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  return %r : tensor<4xf32>
"""


def test_a_reduction_takes_what_it_reads() -> None:
    text = ROWS.format(result="tensor<4xf32>", body=REDUCTION)
    module = fused(text)
    assert generics(module) == 1
    same(text, module, *floats((4, 5), (4,)))


def test_sources_are_kept() -> None:
    text = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = math.tanh %x : tensor<4xf32> loc("/first")
  %b = math.absf %a : tensor<4xf32> loc("/second")
  return %b : tensor<4xf32>
}"""
    (op,) = [op for op in fused(text).walk() if op.name == "linalg.generic"]
    assert "/first" in op.location.user_text()
    assert "/second" in op.location.user_text()
