"""Products of unsigned by constant signed bytes: exactly the interpreter's results, whatever the sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen.integer_panels import filter_parameters, filter_shape, pack_filters
from iree_codegen.layouts import constant_layout
from iree_codegen.select_strategy import generate
from iree_codegen.testing import interpret_kernel
from iree_core_ir.constant_transforms import inverse_function
from iree_target_llvm.description import describe, host_features
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import function, pack_constant

HAS_DOTS = "avx512vnni" in host_features()
Array = np.ndarray[Any, Any]


def machine() -> Any:
    options = {"cpu": "x86-64-v4", "features": "+avx512vnni", "triple": "x86_64-unknown-linux-gnu"}
    return describe(options)


def product(m: int | None, n: int, k: int, *, transposed: bool = False, quantized: bool = True) -> str:
    """``a b`` in i32, and from it a quantized result (or the sums themselves)."""
    rows = "?" if m is None else m
    dims = "iree.dims = array<i64: 3, -1>" if m is None else ""
    scalar = "%m: index, " if m is None else ""
    size = "%m" if m is None else ""
    b = f"tensor<{n}x{k}xi8>" if transposed else f"tensor<{k}x{n}xi8>"
    element = "i8" if quantized else "i32"
    out = f"tensor<{rows}x{n}x{element}>"
    finish = (
        """
    %e = arith.sitofp %s : i32 to f32
    %x = arith.mulf %e, %c : f32
    %y = math.roundeven %x : f32
    %v = arith.fptoui %y : f32 to i8"""
        if quantized
        else "%v = arith.addi %s, %s : i32"
    )
    return f"""
func.func @product(%a: tensor<{rows}x{k}xi8> {{{dims}}}, %b: {b} {{iree.constant}}, %scale: tensor<{n}xf32>,
    {scalar}%out: {out} {{{dims}}}) -> {out} {{
  %zero = arith.constant 0 : i32
  %e0 = tensor.empty({size}) : tensor<{rows}x{n}xi32>
  %f = linalg.fill ins(%zero : i32) outs(%e0 : tensor<{rows}x{n}xi32>) -> tensor<{rows}x{n}xi32>
  %p = linalg.generic {{indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>,
        affine_map<(d0, d1, d2) -> {"(d1, d2)" if transposed else "(d2, d1)"}>, affine_map<(d0, d1, d2) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%a, %b : tensor<{rows}x{k}xi8>, {b}) outs(%f : tensor<{rows}x{n}xi32>) {{
  ^bb0(%x: i8, %y: i8, %o: i32):
    %u = arith.extui %x : i8 to i32
    %w = arith.extsi %y : i8 to i32
    %t = arith.muli %u, %w : i32
    %s = arith.addi %o, %t : i32
    linalg.yield %s : i32
  }} -> tensor<{rows}x{n}xi32>
  %e1 = tensor.empty({size}) : {out}
  %r = linalg.generic {{indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>,
        affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}}
      ins(%p, %scale : tensor<{rows}x{n}xi32>, tensor<{n}xf32>) outs(%e1 : {out}) {{
  ^bb0(%s: i32, %c: f32, %o: {element}):
    {finish}
    linalg.yield %v : {element}
  }} -> {out}
  return %r : {out}
}}"""


def pack(func: Any, layout: Any, weights: Array) -> Array:
    """The weights as wanted; ``func`` is told."""
    found = pack_constant(func, layout, weights)
    back = inverse_function(layout.kind)(found, layout.parameters, weights.shape)
    np.testing.assert_array_equal(back, weights)
    return np.asarray(found)


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize(
    ("m", "n", "k", "transposed"),
    [
        (1, 16, 4, False), (1, 33, 7, True), (5, 17, 1, False), (14, 32, 64, False), (29, 50, 130, True),
        (40, 96, 65, False), (None, 33, 12, False), (3, 2, 3, False),
    ],
)  # fmt: skip
def test_results_are_exact(m: int | None, n: int, k: int, transposed: bool, quantized: bool) -> None:
    description = machine()
    rng = np.random.default_rng(n * k)
    a = rng.integers(-128, 128, (19 if m is None else m, k)).astype(np.int8)
    b = rng.integers(-128, 128, (n, k) if transposed else (k, n)).astype(np.int8)
    scale = rng.uniform(0.0001, 0.01, n).astype(np.float32)
    text = product(m, n, k, transposed=transposed, quantized=quantized)
    func, plain = function(text), function(text)
    (layout,) = constant_layout(func, description)
    assert (layout.kind, layout.argument) == ("integer-panels", 1)
    packed = pack(func, layout, b)
    inputs: dict[int, Any] = {0: a, 1: b, 2: scale} | ({3: len(a)} if m is None else {})
    kernel = generate(func, description)
    assert kernel.strategy == "integer-matmul"
    expected = run_reference(plain, inputs)

    given = {**inputs, 1: packed}
    np.testing.assert_array_equal(interpret_kernel(kernel, func, given)[0], expected[0])
    if HAS_DOTS:
        compiled = compile_function(func, description)
        np.testing.assert_array_equal(run_native(func, compiled, given)[0], expected[0])


def test_without_the_instruction_there_is_no_layout() -> None:
    func = function(product(5, 32, 8))
    description = describe({"cpu": "x86-64-v4", "triple": "x86_64-unknown-linux-gnu"})
    assert all(layout.kind != "integer-panels" for layout in constant_layout(func, description))
    assert generate(func, description).strategy != "integer-matmul"


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (14, 4, 3, 3), (33, 10, 1, 1), (5, 3, 7, 7)])
def test_filters_are_unpacked_as_they_were(shape: tuple[int, ...]) -> None:
    source = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    parameters = filter_parameters(14)
    wanted = filter_shape(shape, parameters)
    found = pack_filters([source], parameters, wanted, np.dtype(np.int8))
    assert found.shape == wanted
    np.testing.assert_array_equal(inverse_function("integer-filters")(found, parameters, shape), source)
