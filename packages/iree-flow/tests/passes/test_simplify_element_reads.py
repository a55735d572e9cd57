"""``simplify-element-reads``: reads at the loop's own index become inputs; other reads stay."""

from __future__ import annotations

import numpy as np
import pytest
from pass_runs import call, names, run

from iree_flow.passes.simplify_element_reads import SimplifyElementReads

CHOICE = """
func.func @main(%x: tensor<?x4xf32> {{iree.dims = ["n", ""]}}, %y: tensor<?x4xf32> {{iree.dims = ["{name}", ""]}})
    -> tensor<?x4xf32> {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %m = tensor.dim %y, %c0 : tensor<?x4xf32>
  %b = util.broadcast_dim %n, %m
  %e = tensor.empty(%b) : tensor<?x4xf32>
  %r = linalg.generic {{indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}}
      outs(%e : tensor<?x4xf32>) {{
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %p = arith.cmpi eq, %n, %c1 : index
    %a = arith.select %p, %c0, %i : index
    %v = tensor.extract %x[%a, %j] : tensor<?x4xf32>
    %q = arith.cmpi eq, %m, %c1 : index
    %c = arith.select %q, %c0, %i : index
    %w = tensor.extract %y[%c, %j] : tensor<?x4xf32>
    %s = arith.subf %v, %w : f32
    linalg.yield %s : f32
  }} -> tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}}
"""

GATHER = """
func.func @main(%x: tensor<4xf32>, %k: tensor<3xi64>) -> tensor<3xf32> {
  %e = tensor.empty() : tensor<3xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%k : tensor<3xi64>) outs(%e : tensor<3xf32>) {
  ^bb0(%p: i64, %o: f32):
    %i = arith.index_cast %p : i64 to index
    %v = tensor.extract %x[%i] : tensor<4xf32>
    linalg.yield %v : f32
  } -> tensor<3xf32>
  return %r : tensor<3xf32>
}
"""


@pytest.mark.parametrize("n", [0, 1, 3])
def test_equal_sizes_are_read_through_maps(n: int) -> None:
    from iree_core_ir.passes.canonicalize import Canonicalize
    from iree_flow.passes.resolve_dims import ResolveDims

    text = CHOICE.format(name="n")
    module = run(text, ResolveDims(), Canonicalize(), SimplifyElementReads())
    assert "tensor.extract" not in names(module) and "arith.select" not in names(module)
    x, y = np.random.default_rng(0).standard_normal((2, n, 4)).astype(np.float32)
    np.testing.assert_array_equal(call(module, x, y)[0], x - y)


@pytest.mark.parametrize(("n", "m"), [(1, 3), (3, 1), (2, 2)])
def test_sizes_that_may_differ_keep_the_choice(n: int, m: int) -> None:
    module = run(CHOICE.format(name="m"), SimplifyElementReads())
    assert names(module).count("tensor.extract") == 2
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((s, 4)).astype(np.float32) for s in (n, m))
    np.testing.assert_array_equal(call(module, x, y)[0], x - y)


def test_a_gather_stays() -> None:
    assert "tensor.extract" in names(run(GATHER, SimplifyElementReads()))
