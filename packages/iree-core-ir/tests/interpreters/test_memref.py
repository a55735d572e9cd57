"""memref: buffers are numpy views, written in place; bounds and contiguity checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_core_ir.errors import CoreIrError

Run = Callable[..., Any]


def grid() -> np.ndarray[Any, Any]:
    return np.arange(32, dtype=np.float32).reshape(4, 8)


def test_load_and_store_are_bounds_checked(run_text: Run) -> None:
    text = """func.func @f(%m: memref<?x8xf32>, %i: index, %j: index) -> f32 {
      %0 = memref.load %m[%i, %j] : memref<?x8xf32>
      %c = arith.constant 100.0 : f32
      memref.store %c, %m[%j, %i] : memref<?x8xf32>
      return %0 : f32
    }"""
    x = grid()
    assert run_text(text, x, 1, 2) == (10,)
    assert x[2, 1] == 100
    for i, j in ((4, 0), (0, 8), (-1, 0), (0, -1)):
        with pytest.raises(CoreIrError, match="outside dim"):
            run_text(text, x, i, j)


def test_views_share_memory(run_text: Run) -> None:
    text = """func.func @f(%m: memref<4x8xf32>, %i: index, %v: f32) {
      %0 = memref.subview %m[%i, 1] [2, 3] [2, 2] : memref<4x8xf32> to memref<2x3xf32, strided<[16, 2], offset: ?>>
      %1 = memref.subview %0[0, 0] [1, 3] [1, 1] : memref<2x3xf32, strided<[16, 2], offset: ?>> to memref<3xf32, strided<[2], offset: ?>>
      linalg.fill ins(%v : f32) outs(%1 : memref<3xf32, strided<[2], offset: ?>>)
      %2 = memref.transpose %m (d0, d1) -> (d1, d0) : memref<4x8xf32> to memref<8x4xf32, strided<[1, 8]>>
      %c7 = arith.constant 7 : index
      %c3 = arith.constant 3 : index
      memref.store %v, %2[%c7, %c3] : memref<8x4xf32, strided<[1, 8]>>
      %3 = memref.collapse_shape %m [[0, 1]] : memref<4x8xf32> into memref<32xf32>
      memref.store %v, %3[%c7] : memref<32xf32>
      %4 = memref.expand_shape %m [[0, 1], [2]] output_shape [2, 2, 8] : memref<4x8xf32> into memref<2x2x8xf32>
      %c1 = arith.constant 1 : index
      memref.store %v, %4[%c1, %c1, %c1] : memref<2x2x8xf32>
      return
    }"""
    x, expected = grid(), grid()
    run_text(text, x, 1, -1.0)
    expected[1, 1:7:2] = expected[3, 7] = expected[0, 7] = expected[3, 1] = -1
    np.testing.assert_array_equal(x, expected)
    with pytest.raises(CoreIrError, match="leaves dim 0 of size 4"):
        run_text(text, grid(), 2, 0.0)


def test_copy_handles_overlap(run_text: Run) -> None:
    text = """func.func @f(%m: memref<8xf32>) {
      %0 = memref.subview %m[0] [7] [1] : memref<8xf32> to memref<7xf32>
      %1 = memref.subview %m[1] [7] [1] : memref<8xf32> to memref<7xf32, strided<[1], offset: 1>>
      memref.copy %0, %1 : memref<7xf32> to memref<7xf32, strided<[1], offset: 1>>
      return
    }"""
    x = np.arange(8, dtype=np.float32)
    run_text(text, x)
    np.testing.assert_array_equal(x, [0, 0, 1, 2, 3, 4, 5, 6])


def test_metadata_and_reinterpret_cast(run_text: Run) -> None:
    text = """func.func @f(%m: memref<4x8xf32>, %i: index) -> (index, index, index, index, index, f32, f32) {
      %s = memref.subview %m[1, %i] [2, 3] [2, 2] : memref<4x8xf32> to memref<2x3xf32, strided<[16, 2], offset: ?>>
      %b, %o, %n:2, %t:2 = memref.extract_strided_metadata %s : memref<2x3xf32, strided<[16, 2], offset: ?>> -> memref<f32>, index, index, index, index, index
      %first = memref.load %b[] : memref<f32>
      %r = memref.reinterpret_cast %b to offset: [%o], sizes: [%n#0, %n#1], strides: [%t#0, %t#1] : memref<f32> to memref<?x?xf32, strided<[?, ?], offset: ?>>
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %v = memref.load %r[%c1, %c2] : memref<?x?xf32, strided<[?, ?], offset: ?>>
      return %o, %n#0, %n#1, %t#0, %t#1, %first, %v : index, index, index, index, index, f32, f32
    }"""
    x = grid()
    assert run_text(text, x, 3) == (11, 2, 3, 16, 2, 0.0, x[3, 7])


def test_metadata_of_a_part_of_the_callers_array(run_text: Run) -> None:
    """A static offset counts from the base the type implies, wherever numpy's memory begins."""
    text = """func.func @f(%m: memref<3xf32>) -> (index, f32) {
      %b, %o, %n, %t = memref.extract_strided_metadata %m : memref<3xf32> -> memref<f32>, index, index, index
      %v = memref.load %b[] : memref<f32>
      return %o, %v : index, f32
    }"""
    assert run_text(text, grid()[2, 1:4]) == (0, 17.0)


def test_reinterpret_cast_must_stay_inside(run_text: Run) -> None:
    text = """func.func @f(%m: memref<4x8xf32>, %n: index) -> f32 {
      %r = memref.reinterpret_cast %m to offset: [0], sizes: [%n], strides: [1] : memref<4x8xf32> to memref<?xf32>
      %c = arith.constant 31 : index
      %v = memref.load %r[%c] : memref<?xf32>
      return %v : f32
    }"""
    assert run_text(text, grid(), 32) == (31.0,)
    with pytest.raises(CoreIrError, match="a buffer of 32"):
        run_text(text, grid(), 33)


def test_view_of_bytes(run_text: Run) -> None:
    text = """func.func @f(%m: memref<?xi8>, %s: index, %n: index) -> memref<?x2xf32> {
      %v = memref.view %m[%s][%n] : memref<?xi8> to memref<?x2xf32>
      return %v : memref<?x2xf32>
    }"""
    raw = np.arange(40, dtype=np.int8)
    (view,) = run_text(text, raw, 8, 3)
    np.testing.assert_array_equal(view, raw[8:32].view(np.float32).reshape(3, 2))
    view[0, 0] = 0
    assert not raw[8:12].any()
    with pytest.raises(CoreIrError, match=r"bytes 8\.\.48 of a buffer of 40"):
        run_text(text, raw, 8, 5)


def test_views_that_would_need_a_copy_are_an_error(run_text: Run) -> None:
    text = """func.func @f(%m: memref<?x?xf32, strided<[?, ?], offset: ?>>) -> memref<?xf32, strided<[?], offset: ?>> {
      %0 = memref.collapse_shape %m [[0, 1]] : memref<?x?xf32, strided<[?, ?], offset: ?>> into memref<?xf32, strided<[?], offset: ?>>
      return %0 : memref<?xf32, strided<[?], offset: ?>>
    }"""
    (flat,) = run_text(text, grid())
    assert flat.shape == (32,)
    with pytest.raises(CoreIrError, match="not contiguous"):
        run_text(text, grid().T)


def test_alloc_dim_rank_cast_and_globals(run_text: Run) -> None:
    text = """memref.global "private" @counter : memref<1xi32> = dense<5>
    func.func private @bump() {
      %g = memref.get_global @counter : memref<1xi32>
      %c0 = arith.constant 0 : index
      %v = memref.load %g[%c0] : memref<1xi32>
      %w = arith.addi %v, %v : i32
      memref.store %w, %g[%c0] : memref<1xi32>
      return
    }
    func.func @f(%n: index) -> (index, index, i32) {
      %a = memref.alloc(%n) : memref<?x3xf32>
      %c0 = arith.constant 0 : index
      %d = memref.dim %a, %c0 : memref<?x3xf32>
      %r = memref.rank %a : memref<?x3xf32>
      %x = memref.cast %a : memref<?x3xf32> to memref<2x3xf32>
      memref.dealloc %x : memref<2x3xf32>
      func.call @bump() : () -> ()
      func.call @bump() : () -> ()
      %g = memref.get_global @counter : memref<1xi32>
      %v = memref.load %g[%c0] : memref<1xi32>
      return %d, %r, %v : index, index, i32
    }"""
    assert run_text(text, 2) == (2, 2, 20)
    with pytest.raises(CoreIrError, match=r"is not memref<2x3xf32>"):
        run_text(text, 3)
