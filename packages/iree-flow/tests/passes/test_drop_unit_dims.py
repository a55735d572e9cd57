"""``drop-unit-dims``: ops read and write without the axes of size 1 that only reshapes put there."""

from __future__ import annotations

from typing import Any

import pytest
from pass_runs import floats, names, run, same

from iree_core_ir.dialects import linalg
from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg
from iree_flow.passes.drop_unit_dims import DropUnitDims

CHAIN = """
func.func @main(%x: tensor<{n}x8xf32>, %w: tensor<1x8xf32>) -> tensor<{n}x8xf32> {{
  %a = tensor.expand_shape %x [[0, 1], [2]] output_shape [1, {size}, 8] : tensor<{n}x8xf32> into tensor<1x{n}x8xf32>
  %b = math.tanh %a : tensor<1x{n}x8xf32>
  %c = tensor.collapse_shape %b [[0, 1], [2]] : tensor<1x{n}x8xf32> into tensor<{n}x8xf32>
  return %c : tensor<{n}x8xf32>
}}
"""


def dropped(text: str) -> Any:
    return run(text, ConvertElementwiseToLinalg(), DropUnitDims())


def ranks(module: Any) -> list[int]:
    return [len(op.iterator_types) for op in module.walk() if isinstance(op, linalg.Generic)]


def test_a_batch_of_one_between_reshapes_is_gone() -> None:
    text = CHAIN.format(n=3, size=3)
    module = dropped(text)
    assert ranks(module) == [2]
    assert not {"tensor.expand_shape", "tensor.collapse_shape"} & set(names(module))
    same(text, module, *floats((3, 8), (1, 8)))


def test_reshapes_that_serve_nobody_are_gone_without_canonicalization() -> None:
    text = CHAIN.format(n=3, size=3)
    module = run(text, ConvertElementwiseToLinalg(), DropUnitDims(), clean=False)
    assert not {"tensor.expand_shape", "tensor.collapse_shape"} & set(names(module))


ROWS = """
#full = affine_map<(b, i, j) -> (b, i, j)>
#kept = affine_map<(b, i, j) -> (b, i, 0)>
func.func @main(%x: tensor<1x3x8xf32>) -> tensor<1x3x1xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x3x1xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %t = math.tanh %x : tensor<1x3x8xf32>
  %s = tensor.collapse_shape %t [[0, 1], [2]] : tensor<1x3x8xf32> into tensor<3x8xf32>
  %re = tensor.empty() : tensor<3xf32>
  %rz = linalg.fill ins(%zero : f32) outs(%re : tensor<3xf32>) -> tensor<3xf32>
  %r = linalg.reduce ins(%s : tensor<3x8xf32>) outs(%rz : tensor<3xf32>) dimensions = [1]
    (%a: f32, %o: f32) {
      %u = arith.addf %a, %o : f32
      linalg.yield %u : f32
    }
  %k = tensor.expand_shape %r [[0, 1, 2]] output_shape [1, 3, 1] : tensor<3xf32> into tensor<1x3x1xf32>
  %q = math.exp %k : tensor<1x3x1xf32>
  return %q : tensor<1x3x1xf32>
}
"""


def test_reduced_dims_that_are_kept() -> None:
    module = dropped(ROWS)
    assert max(ranks(module)) == 2
    assert min(ranks(module)) == 1
    same(ROWS, module, *floats((1, 3, 8)))


SOFTMAX = """
func.func @main(%x: tensor<1x4x6xf32>) -> tensor<1x4x6xf32> {{
  %e = tensor.empty() : tensor<1x4x6xf32>
  %r = linalg_ext.softmax dimension({axis}) ins(%x : tensor<1x4x6xf32>) outs(%e : tensor<1x4x6xf32>) -> tensor<1x4x6xf32>
  return %r : tensor<1x4x6xf32>
}}
"""


@pytest.mark.parametrize(("axis", "rank"), [(2, 2), (1, 2), (0, 3)])
def test_softmax_keeps_its_own_axis(axis: int, rank: int) -> None:
    text = SOFTMAX.format(axis=axis)
    module = dropped(text)
    (op,) = [op for op in module.walk() if op.name == "linalg_ext.softmax"]
    assert op.results[0].type.rank == rank
    same(text, module, *floats((1, 4, 6)))


POOLED = """
func.func @main(%x: tensor<{n}x3x6x6xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<{n}x4x1x1xf32> {{
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %count = arith.constant dense<16.0> : tensor<{n}x4x1x1xf32>
  %e = tensor.empty() : tensor<{n}x4x4x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<{n}x4x4x4xf32>) -> tensor<{n}x4x4x4xf32>
  %c = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}}
      ins(%x, %w : tensor<{n}x3x6x6xf32>, tensor<4x3x3x3xf32>) outs(%f : tensor<{n}x4x4x4xf32>) -> tensor<{n}x4x4x4xf32>
  %r = math.absf %c : tensor<{n}x4x4x4xf32>
  %pe = tensor.empty() : tensor<{n}x4xf32>
  %pf = linalg.fill ins(%zero : f32) outs(%pe : tensor<{n}x4xf32>) -> tensor<{n}x4xf32>
  %p = linalg.reduce ins(%r : tensor<{n}x4x4x4xf32>) outs(%pf : tensor<{n}x4xf32>) dimensions = [2, 3]
    (%a: f32, %o: f32) {{
      %u = arith.addf %a, %o : f32
      linalg.yield %u : f32
    }}
  %k = tensor.expand_shape %p [[0], [1, 2, 3]] output_shape [{n}, 4, 1, 1] : tensor<{n}x4xf32> into tensor<{n}x4x1x1xf32>
  %m = arith.divf %k, %count : tensor<{n}x4x1x1xf32>
  return %m : tensor<{n}x4x1x1xf32>
}}
"""


@pytest.mark.parametrize(("n", "loops"), [(1, 1), (2, 2)])
def test_a_reduction_ends_the_form_of_a_convolution(n: int, loops: int) -> None:
    """The mean's sum and division have the same loops, the convolution and its epilogue keep theirs."""
    text = POOLED.format(n=n)
    module = dropped(text)
    kept, divided = [len(op.iterator_types) for op in module.walk() if isinstance(op, linalg.Generic)]
    assert (kept, divided) == (4, loops)
    same(text, module, *floats((n, 3, 6, 6), (4, 3, 3, 3)))


def test_dynamic_dims_are_no_units() -> None:
    text = """
func.func @main(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %a = math.tanh %x : tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}"""
    module = dropped(text)
    assert ranks(module) == [2]
    same(text, module, *floats((1, 8)))
