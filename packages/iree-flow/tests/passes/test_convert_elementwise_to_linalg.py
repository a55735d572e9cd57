"""``convert-elementwise-to-linalg``: arithmetic on tensors becomes structured, scalars stay."""

from __future__ import annotations

import numpy as np
import pytest
from pass_runs import floats, names, run, same

from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg

UNARY = """
func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {{
  %r = {op} %x : tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}}
"""
SELECT = """
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>, %k: i64) -> (tensor<4xf32>, i64) {
  %c = arith.cmpf olt, %x, %y : tensor<4xf32>
  %r = arith.select %c, %x, %y : tensor<4xi1>, tensor<4xf32>
  %one = arith.constant 1 : i64
  %s = arith.addi %k, %one : i64
  return %r, %s : tensor<4xf32>, i64
}
"""


@pytest.mark.parametrize("op", ["math.tanh", "math.absf", "arith.negf"])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_unary_ops(op: str, rows: int) -> None:
    text = UNARY.format(op=op)
    module = run(text, ConvertElementwiseToLinalg())
    assert names(module).count("linalg.generic") == 1
    same(text, module, *floats((rows, 3)))


def test_comparisons_and_scalars() -> None:
    module = run(SELECT, ConvertElementwiseToLinalg())
    assert names(module).count("linalg.generic") == 2
    assert "arith.addi" in [op.name for op in module.body.block.first.regions[0].block]
    same(SELECT, module, *floats((4,), (4,)), np.int64(7))


def test_an_operand_twice_is_read_once_per_use() -> None:
    text = """
func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
  %r = arith.mulf %x, %x : tensor<3xf32>
  return %r : tensor<3xf32>
}"""
    same(text, run(text, ConvertElementwiseToLinalg()), *floats((3,)))
