"""gpu matrix fragments against numpy; subgroups that do not act as one are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.interpreters.gpu import run_workgroup
from iree_core_ir.text.parser import parse_module


def product(
    element: str, fragment: str, sums: str, transposed: bool, m: int = 4, n: int = 6, k: int = 5
) -> str:
    """A kernel of two subgroups, each with a product of its own."""
    b_pitch, flag = (k, ", transpose") if transposed else (n, "")
    return f"""
func.func @f(%a: memref<?x{element}>, %b: memref<?x{element}>, %c: memref<?x{sums}>) {{
  %s = gpu.subgroup_id : index
  %ka = arith.constant {m * k} : index
  %kb = arith.constant {k * n} : index
  %kc = arith.constant {m * n} : index
  %pa = arith.muli %s, %ka : index
  %pb = arith.muli %s, %kb : index
  %pc = arith.muli %s, %kc : index
  %0 = gpu.subgroup_mma_load_matrix %a[%pa] {{leadDimension = {k} : index}} : memref<?x{element}> -> !gpu.mma_matrix<{m}x{k}x{fragment}, "AOp">
  %1 = gpu.subgroup_mma_load_matrix %b[%pb] {{leadDimension = {b_pitch} : index{flag}}} : memref<?x{element}> -> !gpu.mma_matrix<{k}x{n}x{fragment}, "BOp">
  %2 = gpu.subgroup_mma_load_matrix %c[%pc] {{leadDimension = {n} : index}} : memref<?x{sums}> -> !gpu.mma_matrix<{m}x{n}x{sums}, "COp">
  %3 = gpu.subgroup_mma_compute %0, %1, %2 : !gpu.mma_matrix<{m}x{k}x{fragment}, "AOp">, !gpu.mma_matrix<{k}x{n}x{fragment}, "BOp"> -> !gpu.mma_matrix<{m}x{n}x{sums}, "COp">
  gpu.subgroup_mma_store_matrix %3, %c[%pc] {{leadDimension = {n} : index}} : !gpu.mma_matrix<{m}x{n}x{sums}, "COp">, memref<?x{sums}>
  return
}}"""


def run(text: str, *arrays: Any, **options: Any) -> None:
    run_workgroup(Interpreter(parse_module(text)), "f", arrays, **options)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("element", "dtype"), [("f16", np.float16), ("f32", np.float32)])
def test_float_products(element: str, dtype: Any, transposed: bool) -> None:
    rng = np.random.default_rng(3)
    a, b, c = (rng.standard_normal(s).astype(dtype) for s in ((2, 4, 5), (2, 5, 6), (2, 4, 6)))
    c = c.astype(np.float32)
    stored = np.ascontiguousarray(b.transpose(0, 2, 1)) if transposed else b
    out = c.copy()
    text = product(element, element, "f32", transposed)
    run(text, a.reshape(-1), stored.reshape(-1), out.reshape(-1), block_dim=(8, 1, 1), subgroup_size=4)
    expected = a.astype(np.float64) @ b.astype(np.float64) + c
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_integer_products_wrap() -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.integers(-128, 128, s).astype(np.int8) for s in ((2, 4, 5), (2, 5, 6)))
    c = np.full((2, 4, 6), 2**31 - 10, np.int32)
    out = c.copy()
    run(
        product("i8", "si8", "i32", False), a.reshape(-1), b.reshape(-1), out.reshape(-1),
        block_dim=(8, 1, 1), subgroup_size=4,
    )  # fmt: skip
    total = a.astype(np.int64) @ b.astype(np.int64) + c
    assert (out == total.astype(np.int32)).all()


C = '!gpu.mma_matrix<2x3x{0}, "COp">'


@pytest.mark.parametrize(
    ("name", "element", "expected"),
    [
        ("addf", "f32", lambda x, y: x + y),
        ("subf", "f32", lambda x, y: x - y),
        ("mulf", "f32", lambda x, y: x * y),
        ("divf", "f32", lambda x, y: x / y),
        ("maxf", "f32", np.maximum),
        ("minf", "f32", np.minimum),
        ("addi", "i32", lambda x, y: x + y),
        ("muli", "i32", lambda x, y: x * y),
        ("subi", "i32", lambda x, y: x - y),
        ("divs", "i32", lambda x, y: np.trunc(x / y).astype(np.int32)),
    ],
)
def test_elementwise(name: str, element: str, expected: Any) -> None:
    rng = np.random.default_rng(5)
    x, y = (rng.integers(1, 50, 6).astype({"f32": np.float32, "i32": np.int32}[element]) for _ in range(2))
    out = np.zeros_like(x)
    type = C.format(element)
    text = f"""
func.func @f(%x: memref<?x{element}>, %y: memref<?x{element}>, %o: memref<?x{element}>) {{
  %z = arith.constant 0 : index
  %0 = gpu.subgroup_mma_load_matrix %x[%z] {{leadDimension = 3 : index}} : memref<?x{element}> -> {type}
  %1 = gpu.subgroup_mma_load_matrix %y[%z] {{leadDimension = 3 : index}} : memref<?x{element}> -> {type}
  %2 = gpu.subgroup_mma_elementwise {name} %0, %1 : ({type}, {type}) -> {type}
  gpu.subgroup_mma_store_matrix %2, %o[%z] {{leadDimension = 3 : index}} : {type}, memref<?x{element}>
  return
}}"""
    run(text, x, y, out, block_dim=(4, 1, 1), subgroup_size=4)
    np.testing.assert_array_equal(out, expected(x, y))


def test_constants_conversions_and_signs() -> None:
    out = np.zeros(6, np.float16)
    text = f"""
func.func @f(%o: memref<?xf16>) {{
  %z = arith.constant 0 : index
  %x = arith.constant 1.2 : f32
  %0 = gpu.subgroup_mma_constant_matrix %x : {C.format("f32")}
  %1 = gpu.subgroup_mma_elementwise negatef %0 : ({C.format("f32")}) -> {C.format("f32")}
  %2 = gpu.subgroup_mma_elementwise truncf %1 : ({C.format("f32")}) -> {C.format("f16")}
  gpu.subgroup_mma_store_matrix %2, %o[%z] {{leadDimension = 3 : index}} : {C.format("f16")}, memref<?xf16>
  return
}}"""
    run(text, out, block_dim=(4, 1, 1), subgroup_size=4)
    assert (out == np.float16(-1.2)).all()


def _store(guard: str, index: str, size: int) -> None:
    type = C.format("f32")
    text = f"""
func.func @f(%o: memref<?xf32>) {{
  %t = gpu.thread_id x
  %z = arith.constant 0 : index
  %two = arith.constant 2 : index
  %x = arith.constant 1.0 : f32
  %c = arith.cmpi {guard} : index
  scf.if %c {{
    %0 = gpu.subgroup_mma_constant_matrix %x : {type}
    gpu.subgroup_mma_store_matrix %0, %o[{index}] {{leadDimension = 3 : index}} : {type}, memref<?xf32>
  }}
  return
}}"""
    run(text, np.zeros(size, np.float32), block_dim=(4, 1, 1), subgroup_size=4)


def test_a_subgroup_acts_as_one_or_not_at_all() -> None:
    _store("sge, %t, %z", "%z", 6)
    with pytest.raises(CoreIrError, match="2 of 4 lanes"):
        _store("slt, %t, %two", "%z", 6)
    with pytest.raises(CoreIrError, match="differ"):
        _store("sge, %t, %z", "%t", 16)


def test_fragments_stay_inside_their_memory() -> None:
    with pytest.raises(CoreIrError, match="element 5 is outside"):
        _store("sge, %t, %z", "%z", 5)
