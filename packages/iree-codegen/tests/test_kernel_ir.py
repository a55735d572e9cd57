"""Kernel IR means what the dispatch means: both run in the interpreter, before and after legalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen.decompose import decomposed
from iree_codegen.dispatch import Dispatch
from iree_codegen.strategies.matmul import matmul
from iree_codegen.strategies.plain_loops import plain_loops
from iree_codegen.strategies.transpose import transpose
from iree_codegen.strategies.vector_loops import vector_loops
from iree_codegen.testing import check_kernel
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op

from .conftest import function

STRATEGIES = {"plain": plain_loops, "vector": vector_loops, "matmul": matmul, "transpose": transpose}

ELEMENTWISE = """
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>
func.func @elementwise(%a: tensor<60x37xf32>, %b: tensor<37xf32>, %out: tensor<60x37xf32>) -> tensor<60x37xf32> {
  %0 = linalg.generic {indexing_maps = [#full, #row, #full], iterator_types = ["parallel", "parallel"]}
      ins(%a, %b : tensor<60x37xf32>, tensor<37xf32>) outs(%out : tensor<60x37xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.mulf %x, %y : f32
    %t = math.exp %s : f32
    %u = math.tanh %t : f32
    linalg.yield %u : f32
  } -> tensor<60x37xf32>
  return %0 : tensor<60x37xf32>
}"""
SOFTMAX = """
func.func @softmax(%a: tensor<6x45xf32>, %out: tensor<6x45xf32>) -> tensor<6x45xf32> {
  %r = linalg_ext.softmax dimension(1) ins(%a : tensor<6x45xf32>) outs(%out : tensor<6x45xf32>) -> tensor<6x45xf32>
  return %r : tensor<6x45xf32>
}"""
PRODUCT = """
func.func @product(%a: tensor<28x12xf32>, %b: tensor<12x70xf32>, %out: tensor<28x70xf32>) -> tensor<28x70xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<28x70xf32>) -> tensor<28x70xf32>
  %r = linalg.matmul ins(%a, %b : tensor<28x12xf32>, tensor<12x70xf32>) outs(%f : tensor<28x70xf32>)
      -> tensor<28x70xf32>
  return %r : tensor<28x70xf32>
}"""
TRANSPOSE = """
func.func @transpose(%a: tensor<35x50xf32>, %out: tensor<50x35xf32>) -> tensor<50x35xf32> {
  %r = linalg.transpose ins(%a : tensor<35x50xf32>) outs(%out : tensor<50x35xf32>) permutation = [1, 0]
  return %r : tensor<50x35xf32>
}"""
HALVES = """
#id = affine_map<(d0) -> (d0)>
func.func @halves(%a: tensor<70xbf16>, %out: tensor<70xf16>) -> tensor<70xf16> {
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%a : tensor<70xbf16>) outs(%out : tensor<70xf16>) {
  ^bb0(%x: bf16, %o: f16):
    %s = arith.addf %x, %x : bf16
    %t = arith.extf %s : bf16 to f32
    %u = arith.truncf %t : f32 to f16
    linalg.yield %u : f16
  } -> tensor<70xf16>
  return %0 : tensor<70xf16>
}"""
POOLING = """
func.func @pool(%a: tensor<1x3x9x20xf32>, %out: tensor<1x3x5x10xf32>) -> tensor<1x3x5x10xf32> {
  %v = arith.constant 0xFF800000 : f32
  %k = tensor.empty() : tensor<3x3xf32>
  %f = linalg.fill ins(%v : f32) outs(%out : tensor<1x3x5x10xf32>) -> tensor<1x3x5x10xf32>
  %p = tensor.pad %a low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %l: index, %m: index):
    tensor.yield %v : f32
  } : tensor<1x3x9x20xf32> to tensor<1x3x11x22xf32>
  %r = linalg.pooling_nchw_max {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>}
      ins(%p, %k : tensor<1x3x11x22xf32>, tensor<3x3xf32>) outs(%f : tensor<1x3x5x10xf32>) -> tensor<1x3x5x10xf32>
  return %r : tensor<1x3x5x10xf32>
}"""
CASES = {
    "elementwise": (ELEMENTWISE, ("plain", "vector")),
    "softmax": (SOFTMAX, ("plain", "vector")),
    "product": (PRODUCT, ("plain", "vector", "matmul")),
    "transpose": (TRANSPOSE, ("plain", "vector", "transpose")),
    "halves": (HALVES, ("plain", "vector")),
    "pooling": (POOLING, ("plain", "vector")),
}


def random_inputs(func: Any) -> dict[int, Any]:
    from iree_base.element_types import element_type

    rng = np.random.default_rng(0)
    found = {}
    for argument in func.regions[0].block.args[:-1]:
        dtype = element_type(str(argument.type.element_type)).dtype
        found[argument.index] = rng.standard_normal(argument.type.shape).astype(dtype)
    return found


@pytest.mark.parametrize("name", CASES)
def test_interpreted_kernels(description: Any, name: str) -> None:
    text, strategies = CASES[name]
    func = function(text)
    given = random_inputs(func)
    for strategy in strategies:
        kernel = STRATEGIES[strategy](Dispatch(decomposed(func)), description)
        if kernel is not None:
            check_kernel(kernel, func, given, description, workgroups=5)


@pytest.mark.parametrize("name", CASES)
def test_kernels_survive_their_text(description: Any, name: str) -> None:
    text, strategies = CASES[name]
    func = function(text)
    for strategy in strategies:
        kernel = STRATEGIES[strategy](Dispatch(decomposed(func)), description)
        if kernel is not None:
            printed = print_op(kernel.module)
            assert print_op(parse_module(printed)) == printed


def test_generation_is_deterministic(description: Any) -> None:
    func = function(PRODUCT)
    texts = {print_op(matmul(Dispatch(func), description).module) for _ in range(3)}  # type: ignore[union-attr]
    assert len(texts) == 1
