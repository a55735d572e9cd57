"""``sink-reshapes``: elementwise ops move before the reshape of what they read, when every operand allows."""

from __future__ import annotations

import numpy as np
import pytest
from pass_runs import call, floats, names, run, same

from iree_flow.passes.sink_reshapes import SinkReshapes

PROGRAM = """
#full = affine_map<(b, s, h) -> (b, s, h)>
#last = affine_map<(b, s, h) -> (h)>
#part = affine_map<(b, s, h) -> (s, h)>
func.func @main(%x: tensor<?x4xf32>, %w: tensor<4x5xf32>, %o: tensor<{other}xf32>, %n: index) -> tensor<?x3x5xf32> {{
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %m = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%m) : tensor<?x5xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x5xf32>) -> tensor<?x5xf32>
  %p = linalg.matmul ins(%x, %w : tensor<?x4xf32>, tensor<4x5xf32>) outs(%f : tensor<?x5xf32>) -> tensor<?x5xf32>
  %q = tensor.expand_shape %p [[0, 1], [2]] output_shape [%n, 3, 5] : tensor<?x5xf32> into tensor<?x3x5xf32>
  %t = tensor.empty(%n) : tensor<?x3x5xf32>
  %r = linalg.generic {{indexing_maps = [#full, {map}, #full], iterator_types = ["parallel", "parallel", "parallel"]}}
      ins(%q, %o : tensor<?x3x5xf32>, tensor<{other}xf32>) outs(%t : tensor<?x3x5xf32>) {{
  ^bb0(%a: f32, %b: f32, %c: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  }} -> tensor<?x3x5xf32>
  return %r : tensor<?x3x5xf32>
}}
"""


@pytest.mark.parametrize(
    ("other", "map", "sunk"), [("?x3x5", "#full", True), ("5", "#last", True), ("3x5", "#part", False)]
)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_bias_and_residual_sink_a_partial_broadcast_stays(other: str, map: str, sunk: bool, n: int) -> None:
    text = PROGRAM.format(other=other, map=map)
    module = run(text, SinkReshapes())
    order = names(module)
    assert (order.index("linalg.generic") < order.index("tensor.expand_shape")) == sunk
    rng = np.random.default_rng(n)
    shape = [n if size == "?" else int(size) for size in other.split("x")]
    inputs = [rng.standard_normal(s).astype(np.float32) for s in ((3 * n, 4), (4, 5), shape)]
    expected = (inputs[0] @ inputs[1]).reshape(n, 3, 5) + inputs[2]
    np.testing.assert_allclose(call(module, *inputs, n)[0], expected, rtol=1e-5, atol=1e-5)


ROW = """
func.func @main(%x: tensor<{m}x4xf32>, %w: tensor<4x5xf32>, %b: tensor<{result}xf32>) -> tensor<{result}xf32> {{
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<{m}x5xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<{m}x5xf32>) -> tensor<{m}x5xf32>
  %p = linalg.matmul ins(%x, %w : tensor<{m}x4xf32>, tensor<4x5xf32>) outs(%f : tensor<{m}x5xf32>) -> tensor<{m}x5xf32>
  %q = tensor.collapse_shape %p [[0, 1]] : tensor<{m}x5xf32> into tensor<{result}xf32>
  %t = tensor.empty() : tensor<{result}xf32>
  %r = linalg.generic {{indexing_maps = [{i}, {i}, {i}], iterator_types = ["parallel"]}}
      ins(%q, %b : tensor<{result}xf32>, tensor<{result}xf32>) outs(%t : tensor<{result}xf32>) {{
  ^bb0(%a: f32, %c: f32, %o: f32):
    %s = arith.addf %a, %c : f32
    linalg.yield %s : f32
  }} -> tensor<{result}xf32>
  return %r : tensor<{result}xf32>
}}
"""


@pytest.mark.parametrize(("m", "sunk"), [(1, True), (3, False)])
def test_the_bias_of_one_row_sinks_below_the_collapse(m: int, sunk: bool) -> None:
    text = ROW.format(m=m, result=5 * m, i="affine_map<(i) -> (i)>")
    module = run(text, SinkReshapes())
    order = names(module)
    assert (order.index("linalg.generic") < order.index("tensor.collapse_shape")) == sunk
    same(text, module, *floats((m, 4), (4, 5), (5 * m,)))
