"""Meanings of amx tiles against matrix products of numpy."""

from __future__ import annotations

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module

BF16 = element_type("bf16").dtype


def grouped(b: np.ndarray, group: int) -> np.ndarray:
    """[K][N] -> [K / group][N * group]: the rows that meet one word lie side by side."""
    k, n = b.shape
    return np.ascontiguousarray(b.reshape(k // group, group, n).transpose(0, 2, 1).reshape(k // group, -1))


@pytest.mark.parametrize(("m", "n", "k"), [(16, 16, 32), (13, 5, 6), (1, 1, 2)])
def test_float_product(m: int, n: int, k: int) -> None:
    text = f"""func.func @f(%a: memref<?xbf16>, %b: memref<?xf32>, %c: memref<?xf32>) {{
      %zero = arith.constant 0 : index
      %sa = arith.constant {k + 2} : index
      %sb = arith.constant {n} : index
      %x = amx.tile_load %a[%zero], %sa : memref<?xbf16> into !amx.tile<{m}x{k}xbf16>
      %y = amx.tile_load %b[%zero], %sb : memref<?xf32> into !amx.tile<{k // 2}x{2 * n}xbf16>
      %z = amx.tile_load %c[%zero], %sb : memref<?xf32> into !amx.tile<{m}x{n}xf32>
      %r = amx.tile_mulf %x, %y, %z : !amx.tile<{m}x{k}xbf16>, !amx.tile<{k // 2}x{2 * n}xbf16>, !amx.tile<{m}x{n}xf32>
      amx.tile_store %c[%zero], %r, %sb : memref<?xf32>, !amx.tile<{m}x{n}xf32>
      return
    }}"""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((m, k + 2)).astype(BF16)
    b = rng.standard_normal((k, n)).astype(BF16)
    c = rng.standard_normal((m, n)).astype(np.float32)
    expected = c + a[:, :k].astype(np.float64) @ b.astype(np.float64)
    out = c.copy().reshape(-1)
    Interpreter(parse_module(text)).call("f", a.reshape(-1), grouped(b, 2).reshape(-1).view(np.float32), out)
    np.testing.assert_allclose(out.reshape(m, n), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("signs", ["", "l", "r", "lr"])
def test_integer_product_is_exact(signs: str) -> None:
    left, right = (" zext" if s in signs else "" for s in "lr")
    text = f"""func.func @f(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xi32>) {{
      %zero = arith.constant 0 : index
      %s = arith.constant 8 : index
      %t = arith.constant 12 : index
      %u = arith.constant 3 : index
      %x = amx.tile_load %a[%zero], %s : memref<?xi8> into !amx.tile<5x8xi8>
      %y = amx.tile_load %b[%zero], %t : memref<?xi8> into !amx.tile<2x12xi8>
      %z = amx.tile_zero : !amx.tile<5x3xi32>
      %r = amx.tile_muli %x{left}, %y{right}, %z : !amx.tile<5x8xi8>, !amx.tile<2x12xi8>, !amx.tile<5x3xi32>
      amx.tile_store %c[%zero], %r, %u : memref<?xi32>, !amx.tile<5x3xi32>
      return
    }}"""
    rng = np.random.default_rng(1)
    a, b = rng.integers(-128, 128, (5, 8)).astype(np.int8), rng.integers(-128, 128, (8, 3)).astype(np.int8)
    wide_a, wide_b = (
        (x.view(np.uint8) if s in signs else x).astype(np.int64) for x, s in ((a, "l"), (b, "r"))
    )
    out = np.zeros(15, np.int32)
    Interpreter(parse_module(text)).call("f", a.reshape(-1), grouped(b, 4).reshape(-1), out)
    np.testing.assert_array_equal(out.reshape(5, 3), wide_a @ wide_b)


def test_denormal_operands_count_as_zero() -> None:
    text = """func.func @f(%a: memref<?xf32>, %c: memref<?xf32>) {
      %zero = arith.constant 0 : index
      %x = amx.tile_load %a[%zero], %zero : memref<?xf32> into !amx.tile<1x2xbf16>
      %z = amx.tile_zero : !amx.tile<1x1xf32>
      %r = amx.tile_mulf %x, %x, %z : !amx.tile<1x2xbf16>, !amx.tile<1x2xbf16>, !amx.tile<1x1xf32>
      amx.tile_store %c[%zero], %r, %zero : memref<?xf32>, !amx.tile<1x1xf32>
      return
    }"""
    out = np.ones(1, np.float32)
    a = np.array([1e-39, 1e-15]).astype(BF16).view(np.float32)
    Interpreter(parse_module(text)).call("f", a, out)
    np.testing.assert_allclose(out, np.float32(a.view(BF16)[1]) ** 2)


def test_rows_outside_of_memory_are_an_error() -> None:
    text = """func.func @f(%a: memref<?xf32>) {
      %at = arith.constant 1 : index
      %x = amx.tile_load %a[%at], %at : memref<?xf32> into !amx.tile<4x4xf32>
      return
    }"""
    Interpreter(parse_module(text)).call("f", np.zeros(8, np.float32))
    with pytest.raises(CoreIrError, match="outside of memory of 7"):
        Interpreter(parse_module(text)).call("f", np.zeros(7, np.float32))
