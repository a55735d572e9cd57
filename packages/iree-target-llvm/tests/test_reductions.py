"""Reductions and fused row chains: sums, extrema, arg-maxima, softmax, normalizations, pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_target_llvm.testing import run_native, run_reference

from .conftest import assert_close, compile_with, function


def reduction(op: str, type: str, shape: tuple[int, ...], dims: tuple[int, ...], initial: str) -> str:
    """``op`` over ``dims`` of a tensor."""
    rank = len(shape)
    names = [f"d{i}" for i in range(rank)]
    kept = [i for i in range(rank) if i not in dims]
    kinds = ", ".join('"reduction"' if i in dims else '"parallel"' for i in range(rank))
    full = f"affine_map<({', '.join(names)}) -> ({', '.join(names)})>"
    reduced = f"affine_map<({', '.join(names)}) -> ({', '.join(names[i] for i in kept)})>"
    a = f"tensor<{'x'.join(map(str, shape))}x{type}>"
    b = "tensor<" + "".join(f"{shape[i]}x" for i in kept) + f"{type}>"
    constant = initial if type == "i1" else f"{initial} : {type}"
    return f"""
func.func @reduce(%a: {a}, %out: {b}) -> {b} {{
  %z = arith.constant {constant}
  %f = linalg.fill ins(%z : {type}) outs(%out : {b}) -> {b}
  %r = linalg.generic {{indexing_maps = [{full}, {reduced}], iterator_types = [{kinds}]}}
      ins(%a : {a}) outs(%f : {b}) {{
  ^bb0(%x: {type}, %o: {type}):
    %s = {op} %o, %x : {type}
    linalg.yield %s : {type}
  }} -> {b}
  return %r : {b}
}}"""


SHAPES = [
    ((70,), (0,)),
    ((5, 131), (1,)),
    ((131, 21), (0,)),
    ((3, 7, 19), (1, 2)),
    ((6, 5, 18), (0, 2)),
    ((4, 3), (1,)),
]


@pytest.mark.parametrize(("shape", "dims"), SHAPES)
def test_sum(check: Any, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    a = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    check(reduction("arith.addf", "f32", shape, dims, "0.0"), {0: a}, tolerance=1e-5)


@pytest.mark.parametrize(
    ("op", "type", "initial"),
    [
        ("arith.addi", "i32", "3"),
        ("arith.addi", "i64", "0"),
        ("arith.muli", "i32", "1"),
        ("arith.maxsi", "i8", "-128"),
        ("arith.minui", "i16", "-1"),
        ("arith.andi", "i1", "true"),
        ("arith.ori", "i1", "false"),
        ("arith.maximumf", "f32", "0xFF800000"),
        ("arith.minimumf", "f64", "0x7FF0000000000000"),
        ("arith.mulf", "f64", "1.0"),
        ("arith.maxnumf", "f32", "0xFF800000"),
        ("arith.addf", "f16", "0.0"),
        ("arith.addf", "bf16", "0.0"),
    ],
)
@pytest.mark.parametrize(("shape", "dims"), [((5, 83), (1,)), ((83, 5), (0,))])
def test_kinds(
    check: Any, op: str, type: str, initial: str, shape: tuple[int, ...], dims: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    dtype = element_type(type).dtype
    if type == "i1":
        a = rng.integers(0, 10, shape) < (9 if "and" in op else 1)
    elif dtype.kind in "iu":
        a = rng.integers(-9, 9, shape).astype(dtype)
    else:
        a = rng.uniform(0.5, 1.5, shape).astype(dtype)
    # Sums of halves depend on the order; only the plain order is the interpreter's.
    tolerance = 2e-2 if type in ("f16", "bf16") else 1e-6
    check(reduction(op, type, shape, dims, initial), {0: a}, tolerance=tolerance)


@pytest.mark.parametrize("k", [4, 8, 16, 32, 64, 100])
@pytest.mark.parametrize("body", ["product", "distance"])
def test_sums_over_bytes(best: Any, k: int, body: str) -> None:
    """LLVM has instructions for both; it once took one lane of theirs for the sum."""
    steps = {
        "product": """
    %p = arith.extui %x : i8 to i32
    %q = arith.extsi %y : i8 to i32
    %m = arith.muli %p, %q : i32""",
        "distance": """
    %p = arith.extui %x : i8 to i32
    %q = arith.extui %y : i8 to i32
    %d = arith.subi %p, %q : i32
    %m = math.absi %d : i32""",
    }
    text = f"""
func.func @sums(%a: tensor<5x{k}xi8>, %b: tensor<{k}xi8>, %out: tensor<5xi32>) -> tensor<5xi32> {{
  %z = arith.constant 0 : i32
  %f = linalg.fill ins(%z : i32) outs(%out : tensor<5xi32>) -> tensor<5xi32>
  %r = linalg.generic {{indexing_maps = [affine_map<(m, k) -> (m, k)>, affine_map<(m, k) -> (k)>,
      affine_map<(m, k) -> (m)>], iterator_types = ["parallel", "reduction"]}}
      ins(%a, %b : tensor<5x{k}xi8>, tensor<{k}xi8>) outs(%f : tensor<5xi32>) {{
  ^bb0(%x: i8, %y: i8, %o: i32):{steps[body]}
    %s = arith.addi %o, %m : i32
    linalg.yield %s : i32
  }} -> tensor<5xi32>
  return %r : tensor<5xi32>
}}"""
    func = function(text)
    rng = np.random.default_rng(k)
    inputs = {
        0: rng.integers(-128, 128, (5, k)).astype(np.int8),
        1: rng.integers(-128, 128, k).astype(np.int8),
    }
    compiled = compile_with(func, best, "vector-loops")
    assert compiled is not None
    (got,), (expected,) = run_native(func, compiled, inputs), run_reference(func, inputs)
    assert_close(got, expected)


def test_nan_wins_in_extrema(check: Any) -> None:
    a = np.random.default_rng(0).standard_normal((4, 50)).astype(np.float32)
    a[1, 3] = a[2, 49] = np.nan
    a[3, :] = -np.inf
    check(reduction("arith.maximumf", "f32", (4, 50), (1,), "0xFF800000"), {0: a})
    check(reduction("arith.minimumf", "f32", (4, 50), (1,), "0x7F800000"), {0: a})


def test_argmax(check: Any) -> None:
    text = """
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
func.func @argmax(%a: tensor<6x45xf32>, %v: tensor<6xf32>, %p: tensor<6xi64>) -> (tensor<6xf32>, tensor<6xi64>) {
  %low = arith.constant 0xFF800000 : f32
  %zero = arith.constant 0 : i64
  %v0 = linalg.fill ins(%low : f32) outs(%v : tensor<6xf32>) -> tensor<6xf32>
  %p0 = linalg.fill ins(%zero : i64) outs(%p : tensor<6xi64>) -> tensor<6xi64>
  %0:2 = linalg.generic {indexing_maps = [#full, #row, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<6x45xf32>) outs(%v0, %p0 : tensor<6xf32>, tensor<6xi64>) {
  ^bb0(%x: f32, %m: f32, %i: i64):
    %j = linalg.index 1 : index
    %k = arith.index_cast %j : index to i64
    %c = arith.cmpf ogt, %x, %m : f32
    %n = arith.select %c, %x, %m : f32
    %q = arith.select %c, %k, %i : i64
    linalg.yield %n, %q : f32, i64
  } -> (tensor<6xf32>, tensor<6xi64>)
  return %0#0, %0#1 : tensor<6xf32>, tensor<6xi64>
}"""
    check(text, {0: np.random.default_rng(0).standard_normal((6, 45)).astype(np.float32)}, required=False)


@pytest.mark.parametrize("n", [1, 7, 16, 40, 129])
@pytest.mark.parametrize("dimension", [1, 0])
def test_softmax(check: Any, n: int, dimension: int) -> None:
    text = f"""
func.func @softmax(%a: tensor<5x{n}xf32>, %out: tensor<5x{n}xf32>) -> tensor<5x{n}xf32> {{
  %r = linalg_ext.softmax dimension({dimension}) ins(%a : tensor<5x{n}xf32>) outs(%out : tensor<5x{n}xf32>)
      -> tensor<5x{n}xf32>
  return %r : tensor<5x{n}xf32>
}}"""
    a = np.random.default_rng(0).standard_normal((5, n)).astype(np.float32) * 20
    check(text, {0: a}, tolerance=1e-6, required=dimension == 1)
    if n > 7 and dimension == 1:
        a[0, 3] = np.nan
        a[1, :] = -np.inf
        a[2, 5] = np.inf
        check(text, {0: a}, tolerance=1e-6, required=dimension == 1)


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("columns", [3, 50, 64])
def test_dynamic_softmax(check: Any, rows: int, columns: int) -> None:
    dims = "{iree.dims = array<i64: 1, 2>}"
    text = f"""
func.func @softmax(%a: tensor<?x?xf32> {dims}, %m: index, %n: index, %out: tensor<?x?xf32> {dims})
    -> tensor<?x?xf32> {{
  %r = linalg_ext.softmax dimension(1) ins(%a : tensor<?x?xf32>) outs(%out : tensor<?x?xf32>) -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}}"""
    a = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)
    check(text, {0: a, 1: rows, 2: columns}, tolerance=1e-6)


def test_layer_norm_shaped_chain(check: Any) -> None:
    text = """
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#column = affine_map<(d0, d1) -> (d1)>
func.func @norm(%a: tensor<9x150xf32>, %b: tensor<9x150xf32>, %g: tensor<150xf32>, %out: tensor<9x150xf32>)
    -> tensor<9x150xf32> {
  %zero = arith.constant 0.0 : f32
  %scale = arith.constant 0.00666666683 : f32
  %eps = arith.constant 1.0e-5 : f32
  %e2 = tensor.empty() : tensor<9x150xf32>
  %e1 = tensor.empty() : tensor<9xf32>
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<9xf32>) -> tensor<9xf32>
  %x = linalg.add ins(%a, %b : tensor<9x150xf32>, tensor<9x150xf32>) outs(%e2 : tensor<9x150xf32>)
      -> tensor<9x150xf32>
  %sum = linalg.generic {indexing_maps = [#full, #row], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<9x150xf32>) outs(%z1 : tensor<9xf32>) {
  ^bb0(%v: f32, %o: f32):
    %s = arith.addf %v, %o : f32
    linalg.yield %s : f32
  } -> tensor<9xf32>
  %squares = linalg.generic {indexing_maps = [#full, #row, #row], iterator_types = ["parallel", "reduction"]}
      ins(%x, %sum : tensor<9x150xf32>, tensor<9xf32>) outs(%z1 : tensor<9xf32>) {
  ^bb0(%v: f32, %t: f32, %o: f32):
    %mean = arith.mulf %t, %scale : f32
    %d = arith.subf %v, %mean : f32
    %q = arith.mulf %d, %d : f32
    %s = arith.addf %q, %o : f32
    linalg.yield %s : f32
  } -> tensor<9xf32>
  %r = linalg.generic {indexing_maps = [#full, #row, #row, #column, #full], iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum, %squares, %g : tensor<9x150xf32>, tensor<9xf32>, tensor<9xf32>, tensor<150xf32>)
      outs(%out : tensor<9x150xf32>) {
  ^bb0(%v: f32, %t: f32, %q: f32, %w: f32, %o: f32):
    %mean = arith.mulf %t, %scale : f32
    %d = arith.subf %v, %mean : f32
    %var = arith.mulf %q, %scale : f32
    %p = arith.addf %var, %eps : f32
    %i = math.rsqrt %p : f32
    %n = arith.mulf %d, %i : f32
    %y = arith.mulf %n, %w : f32
    linalg.yield %y : f32
  } -> tensor<9x150xf32>
  return %r : tensor<9x150xf32>
}"""
    rng = np.random.default_rng(0)
    inputs = {0: rng.standard_normal((9, 150)), 1: rng.standard_normal((9, 150)), 2: rng.standard_normal(150)}
    check(text, {k: v.astype(np.float32) for k, v in inputs.items()}, tolerance=1e-5)


def test_intermediate_that_is_a_result_too(check: Any) -> None:
    text = """
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
func.func @both(%a: tensor<7x60xf32>, %s: tensor<7xf32>, %out: tensor<7x60xf32>) -> (tensor<7xf32>, tensor<7x60xf32>) {
  %zero = arith.constant 0.0 : f32
  %z = linalg.fill ins(%zero : f32) outs(%s : tensor<7xf32>) -> tensor<7xf32>
  %sum = linalg.generic {indexing_maps = [#full, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<7x60xf32>) outs(%z : tensor<7xf32>) {
  ^bb0(%v: f32, %o: f32):
    %t = arith.addf %v, %o : f32
    linalg.yield %t : f32
  } -> tensor<7xf32>
  %r = linalg.generic {indexing_maps = [#full, #row, #full], iterator_types = ["parallel", "parallel"]}
      ins(%a, %sum : tensor<7x60xf32>, tensor<7xf32>) outs(%out : tensor<7x60xf32>) {
  ^bb0(%v: f32, %t: f32, %o: f32):
    %u = arith.divf %v, %t : f32
    linalg.yield %u : f32
  } -> tensor<7x60xf32>
  return %sum, %r : tensor<7xf32>, tensor<7x60xf32>
}"""
    a = np.random.default_rng(0).uniform(0.5, 1, (7, 60)).astype(np.float32)
    check(text, {0: a})


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "sum"])
def test_pooling(check: Any, stride: int, kind: str) -> None:
    h, w = (13 + 2 - 3) // stride + 1, (22 + 2 - 3) // stride + 1
    initial = "0xFF800000" if kind == "max" else "0.0"
    out = f"tensor<1x5x{h}x{w}xf32>"
    text = f"""
func.func @pool(%a: tensor<1x5x13x22xf32>, %out: {out}) -> {out} {{
  %v = arith.constant {initial} : f32
  %k = tensor.empty() : tensor<3x3xf32>
  %f = linalg.fill ins(%v : f32) outs(%out : {out}) -> {out}
  %p = tensor.pad %a low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%i: index, %j: index, %l: index, %m: index):
    tensor.yield %v : f32
  }} : tensor<1x5x13x22xf32> to tensor<1x5x15x24xf32>
  %r = linalg.pooling_nchw_{kind} {{dilations = dense<1> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}}
      ins(%p, %k : tensor<1x5x15x24xf32>, tensor<3x3xf32>) outs(%f : {out}) -> {out}
  return %r : {out}
}}"""
    check(text, {0: np.random.default_rng(0).standard_normal((1, 5, 13, 22)).astype(np.float32)})
