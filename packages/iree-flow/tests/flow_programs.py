"""Programs the tests compile: MLIR text by name, with inputs of the right shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.constants import ConstantStore
from iree_core_ir.text.parser import parse_module

MATMUL = """
func.func @main(%x: tensor<?x8xf32> {iree.name = "x", iree.dims = ["batch", ""]},
                %y: tensor<?x8xf32> {iree.name = "y", iree.dims = ["batch", ""]})
    -> (tensor<?x4xf32> {iree.name = "z", iree.dims = ["batch", ""]}) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense_resource<w> : tensor<8x4xf32>
  %b = arith.constant dense_resource<b> : tensor<4xf32>
  %d = tensor.dim %x, %c0 : tensor<?x8xf32>
  %s = arith.addf %x, %y : tensor<?x8xf32>
  %e = tensor.empty(%d) : tensor<?x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %m = linalg.matmul ins(%s, %w : tensor<?x8xf32>, tensor<8x4xf32>) outs(%f : tensor<?x4xf32>) -> tensor<?x4xf32>
  %r = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%m, %b : tensor<?x4xf32>, tensor<4xf32>) outs(%e : tensor<?x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %t = arith.addf %p, %q : f32
    %u = arith.maximumf %t, %zero : f32
    linalg.yield %u : f32
  } -> tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}
"""

LAYER_NORM = """
#full = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
func.func @main(%x: tensor<3x16xf32> {iree.name = "x"}) -> (tensor<3x16xf32> {iree.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %n = arith.constant 16.0 : f32
  %eps = arith.constant 1.0e-05 : f32
  %re = tensor.empty() : tensor<3xf32>
  %fe = tensor.empty() : tensor<3x16xf32>
  %rz = linalg.fill ins(%zero : f32) outs(%re : tensor<3xf32>) -> tensor<3xf32>
  %sum = linalg.generic {indexing_maps = [#full, #row], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<3x16xf32>) outs(%rz : tensor<3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %t = arith.addf %o, %a : f32
    linalg.yield %t : f32
  } -> tensor<3xf32>
  %centered = linalg.generic {indexing_maps = [#full, #row, #full], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum : tensor<3x16xf32>, tensor<3xf32>) outs(%fe : tensor<3x16xf32>) {
  ^bb0(%a: f32, %s: f32, %o: f32):
    %m = arith.divf %s, %n : f32
    %t = arith.subf %a, %m : f32
    linalg.yield %t : f32
  } -> tensor<3x16xf32>
  %squares = linalg.generic {indexing_maps = [#full, #row], iterator_types = ["parallel", "reduction"]}
      ins(%centered : tensor<3x16xf32>) outs(%rz : tensor<3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %q = arith.mulf %a, %a : f32
    %t = arith.addf %o, %q : f32
    linalg.yield %t : f32
  } -> tensor<3xf32>
  %r = linalg.generic {indexing_maps = [#full, #row, #full], iterator_types = ["parallel", "parallel"]}
      ins(%centered, %squares : tensor<3x16xf32>, tensor<3xf32>) outs(%fe : tensor<3x16xf32>) {
  ^bb0(%a: f32, %s: f32, %o: f32):
    %v = arith.divf %s, %n : f32
    %w = arith.addf %v, %eps : f32
    %q = math.sqrt %w : f32
    %t = arith.divf %a, %q : f32
    linalg.yield %t : f32
  } -> tensor<3x16xf32>
  return %r : tensor<3x16xf32>
}
"""

CONVOLUTION = """
func.func @main(%x: tensor<1x3x9x9xf32> {iree.name = "x"}) -> (tensor<1x8x9x9xf32> {iree.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense_resource<conv_w> : tensor<8x3x3x3xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f32
  } : tensor<1x3x9x9xf32> to tensor<1x3x11x11xf32>
  %e = tensor.empty() : tensor<1x8x9x9xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x8x9x9xf32>) -> tensor<1x8x9x9xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
      ins(%p, %w : tensor<1x3x11x11xf32>, tensor<8x3x3x3xf32>) outs(%f : tensor<1x8x9x9xf32>) -> tensor<1x8x9x9xf32>
  %r = math.tanh %c : tensor<1x8x9x9xf32>
  %s = arith.addf %r, %c : tensor<1x8x9x9xf32>
  return %s : tensor<1x8x9x9xf32>
}
"""

PASS_THROUGH = """
func.func @main(%x: tensor<4xf32> {iree.name = "x"})
    -> (tensor<4xf32> {iree.name = "a"}, tensor<4xf32> {iree.name = "b"}, tensor<2x2xf32> {iree.name = "c"},
        tensor<4xf32> {iree.name = "d"}) {
  %k = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %s = arith.addf %x, %k : tensor<4xf32>
  %t = tensor.expand_shape %s [[0, 1]] output_shape [2, 2] : tensor<4xf32> into tensor<2x2xf32>
  return %x, %s, %t, %k : tensor<4xf32>, tensor<4xf32>, tensor<2x2xf32>, tensor<4xf32>
}
"""

TIED = """
func.func @main(%x: tensor<6xf32> {iree.name = "x"}, %u: tensor<2xf32> {iree.name = "u"})
    -> (tensor<6xf32> {iree.name = "y"}, tensor<6xf32> {iree.name = "z"}) {
  %s = math.absf %x : tensor<6xf32>
  %a = linalg.add ins(%s, %s : tensor<6xf32>, tensor<6xf32>) outs(%s : tensor<6xf32>) -> tensor<6xf32>
  %b = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%a : tensor<6xf32>) outs(%x : tensor<6xf32>) {
  ^bb0(%p: f32, %o: f32):
    %t = arith.subf %o, %p : f32
    linalg.yield %t : f32
  } -> tensor<6xf32>
  return %a, %b : tensor<6xf32>, tensor<6xf32>
}
"""

DIAMOND = """
func.func @main(%x: tensor<5x7xf32> {iree.name = "x"}) -> (tensor<5x5xf32> {iree.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<7x5xf32>
  %t = linalg.transpose ins(%x : tensor<5x7xf32>) outs(%e : tensor<7x5xf32>) permutation = [1, 0]
  %ex = math.exp %x : tensor<5x7xf32>
  %sq = arith.mulf %t, %t : tensor<7x5xf32>
  %o = tensor.empty() : tensor<5x5xf32>
  %f = linalg.fill ins(%zero : f32) outs(%o : tensor<5x5xf32>) -> tensor<5x5xf32>
  %m = linalg.matmul ins(%ex, %sq : tensor<5x7xf32>, tensor<7x5xf32>) outs(%f : tensor<5x5xf32>) -> tensor<5x5xf32>
  %n = linalg.matmul ins(%x, %t : tensor<5x7xf32>, tensor<7x5xf32>) outs(%f : tensor<5x5xf32>) -> tensor<5x5xf32>
  %r = arith.addf %m, %n : tensor<5x5xf32>
  return %r : tensor<5x5xf32>
}
"""

CHOSEN_SIZE = """
func.func @main(%x: tensor<?xf32> {iree.name = "x", iree.dims = ["n"]})
    -> (tensor<?xf32> {iree.name = "y", iree.dims = ["m"]}) {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %c7 = arith.constant 7 : index
  %n = tensor.dim %x, %c0 : tensor<?xf32>
  %b = arith.cmpi slt, %n, %c3 : index
  %m = arith.select %b, %c7, %c3 : index
  %z = arith.constant 2.0 : f32
  %e = tensor.empty(%m) : tensor<?xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  return %f : tensor<?xf32>
}
"""

CONCAT = """
func.func @main(%x: tensor<1x?x3xf32> {iree.name = "x", iree.dims = ["", "n", ""]})
    -> (tensor<1x?x3xf32> {iree.name = "y", iree.dims = ["", "m", ""]},
        tensor<1x7x3xf32> {iree.name = "z"}) {
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %k = arith.constant dense_resource<conv_w> : tensor<8x3x3x3xf32>
  %n = tensor.dim %x, %c1 : tensor<1x?x3xf32>
  %a = math.tanh %x : tensor<1x?x3xf32>
  %b = math.exp %x : tensor<1x?x3xf32>
  %ab = tensor.concat dim(1) %a, %b, %x, %a : (tensor<1x?x3xf32>, tensor<1x?x3xf32>, tensor<1x?x3xf32>, tensor<1x?x3xf32>)
      -> tensor<1x?x3xf32>
  %s = math.absf %ab : tensor<1x?x3xf32>
  %deep = tensor.concat dim(1) %ab, %s : (tensor<1x?x3xf32>, tensor<1x?x3xf32>) -> tensor<1x?x3xf32>
  %t = arith.addf %deep, %deep : tensor<1x?x3xf32>
  %w = tensor.extract_slice %k[0, 0, 0, 0] [1, 1, 3, 3] [1, 1, 1, 1] : tensor<8x3x3x3xf32> to tensor<1x3x3xf32>
  %u = tensor.extract_slice %x[0, 0, 0] [1, 2, 3] [1, 1, 1] : tensor<1x?x3xf32> to tensor<1x2x3xf32>
  %v = math.floor %u : tensor<1x2x3xf32>
  %z = tensor.concat dim(1) %v, %w, %u : (tensor<1x2x3xf32>, tensor<1x3x3xf32>, tensor<1x2x3xf32>) -> tensor<1x7x3xf32>
  return %t, %z : tensor<1x?x3xf32>, tensor<1x7x3xf32>
}
"""

PROGRAMS: dict[str, tuple[str, tuple[tuple[int, ...], ...]]] = {
    "matmul": (MATMUL, ((5, 8), (5, 8))),
    "matmul-one-row": (MATMUL, ((1, 8), (1, 8))),
    "matmul-empty": (MATMUL, ((0, 8), (0, 8))),
    "layer-norm": (LAYER_NORM, ((3, 16),)),
    "convolution": (CONVOLUTION, ((1, 3, 9, 9),)),
    "pass-through": (PASS_THROUGH, ((4,),)),
    "tied": (TIED, ((6,), (2,))),
    "chosen-size": (CHOSEN_SIZE, ((2,),)),
    "concat": (CONCAT, ((1, 4, 3),)),
    "diamond": (DIAMOND, ((5, 7),)),
}


def constants() -> ConstantStore:
    """The weights the programs name."""
    rng = np.random.default_rng(7)
    store = ConstantStore()
    for key, shape in (("w", (8, 4)), ("b", (4,)), ("conv_w", (8, 3, 3, 3))):
        store.add_array(rng.standard_normal(shape, np.float32), key=key)
    return store


def program(name: str, seed: int = 0) -> tuple[Any, ConstantStore, list[Any]]:
    """(module, constants, inputs)."""
    text, shapes = PROGRAMS[name]
    store = constants()
    rng = np.random.default_rng(seed)
    return parse_module(text, constants=store), store, [rng.standard_normal(s, np.float32) for s in shapes]
