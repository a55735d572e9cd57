"""``resolve-dims``: sizes come from arguments and index arithmetic, equal ones are one value."""

from __future__ import annotations

import pytest
from pass_runs import floats, names, run, same

from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg
from iree_flow.passes.resolve_dims import ResolveDims

CHAIN = """
func.func @main(%x: tensor<?x?xf32> {iree.dims = ["n", "m"]}, %y: tensor<?x?xf32> {iree.dims = ["m", "n"]})
    -> (tensor<?x?xf32>, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x?xf32>
  %k = tensor.dim %y, %c1 : tensor<?x?xf32>
  %e = tensor.empty(%n, %k) : tensor<?x?xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x?xf32>) -> tensor<?x?xf32>
  %p = linalg.matmul ins(%x, %y : tensor<?x?xf32>, tensor<?x?xf32>) outs(%f : tensor<?x?xf32>) -> tensor<?x?xf32>
  %q = math.tanh %p : tensor<?x?xf32>
  %a = tensor.dim %q, %c0 : tensor<?x?xf32>
  %b = tensor.dim %q, %c1 : tensor<?x?xf32>
  return %q, %a, %b : tensor<?x?xf32>, index, index
}
"""


def test_dims_of_one_name_are_one_value() -> None:
    module = run(CHAIN, ConvertElementwiseToLinalg(), ResolveDims())
    assert names(module).count("tensor.dim") == 1
    terminator = module.body.block.first.regions[0].block.terminator
    assert terminator.operands[1] is terminator.operands[2]
    for n in (0, 1, 4):
        same(CHAIN, module, *floats((n, 3), (3, n)))


@pytest.mark.parametrize("n", [0, 2, 3])
def test_dims_through_shape_ops(n: int) -> None:
    text = """
func.func @main(%x: tensor<?x6xf32> {iree.dims = ["n", ""]}) -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %n = tensor.dim %x, %c0 : tensor<?x6xf32>
  %e = tensor.expand_shape %x [[0], [1, 2]] output_shape [%n, 2, 3] : tensor<?x6xf32> into tensor<?x2x3xf32>
  %s = tensor.extract_slice %e[0, 0, 0] [%n, 1, 3] [1, 1, 1] : tensor<?x2x3xf32> to tensor<?x1x3xf32>
  %k = tensor.concat dim(1) %s, %e : (tensor<?x1x3xf32>, tensor<?x2x3xf32>) -> tensor<?x3x3xf32>
  %a = tensor.dim %k, %c0 : tensor<?x3x3xf32>
  %b = tensor.dim %k, %c1 : tensor<?x3x3xf32>
  %c = tensor.dim %e, %c2 : tensor<?x2x3xf32>
  return %a, %b, %c : index, index, index
}"""
    module = run(text, ResolveDims())
    assert names(module).count("tensor.dim") == 1
    assert not {"tensor.concat", "tensor.expand_shape"} & set(names(module))
    same(text, module, *floats((n, 6)))


def test_a_computed_axis_is_left_alone() -> None:
    text = """
func.func @main(%x: tensor<?x?xf32>, %i: index) -> index {
  %d = tensor.dim %x, %i : tensor<?x?xf32>
  return %d : index
}"""
    module = run(text, ResolveDims())
    assert "tensor.dim" in names(module)
    same(text, module, *floats((2, 5)), 1)
