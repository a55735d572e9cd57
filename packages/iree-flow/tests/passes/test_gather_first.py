"""``gather-first``: tables are gathered before anything is computed from them."""

from __future__ import annotations

import numpy as np
from pass_runs import names, run, same

from iree_core_ir.constants import ConstantStore
from iree_flow.passes.gather_first import GatherFirst

TEXT = """func.func @main(%i: tensor<2x3xi64>) -> tensor<2x3x4xf32> {
  %t = arith.constant dense_resource<t> : tensor<50x4xi8>
  %e = tensor.empty() : tensor<50x4xf32>
  %f = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel"]} ins(%t : tensor<50x4xi8>) outs(%e : tensor<50x4xf32>) {
  ^bb0(%q: i8, %o: f32):
    %c = arith.constant 0.5 : f32
    %x = arith.sitofp %q : i8 to f32
    %r = arith.mulf %x, %c : f32
    linalg.yield %r : f32
  } -> tensor<50x4xf32>
  %g = tensor.empty() : tensor<2x3x4xf32>
  %h = linalg_ext.gather axis(0) ins(%f, %i : tensor<50x4xf32>, tensor<2x3xi64>) outs(%g : tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %h : tensor<2x3x4xf32>
}"""


def store() -> ConstantStore:
    constants = ConstantStore()
    table = np.random.default_rng(0).integers(-128, 128, (50, 4)).astype(np.int8)
    constants.add_array(table, "i8", key="t")
    return constants


def test_the_table_is_gathered_as_it_is() -> None:
    constants = store()
    module = run(TEXT, GatherFirst(), constants=constants)
    order = names(module)
    assert order.index("linalg_ext.gather") < order.index("linalg.generic")
    assert "tensor<50x4xf32>" not in str(module)
    same(TEXT, module, np.array([[0, 49, 7], [7, 7, 1]]), constants=constants)


def test_a_result_that_others_read_is_made_once() -> None:
    text = TEXT.replace(
        "return %h",
        "%s = tensor.extract_slice %f[0, 0] [2, 4] [1, 1] : tensor<50x4xf32> to tensor<2x4xf32>\n  return %h",
    )
    text = text.replace("-> tensor<2x3x4xf32> {", "-> (tensor<2x3x4xf32>, tensor<2x4xf32>) {")
    text = text.replace("return %h : tensor<2x3x4xf32>", "return %h, %s : tensor<2x3x4xf32>, tensor<2x4xf32>")
    order = names(run(text, GatherFirst(), constants=store()))
    assert order.index("linalg.generic") < order.index("linalg_ext.gather")
