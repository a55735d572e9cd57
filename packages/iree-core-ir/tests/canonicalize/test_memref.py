"""memref and bufferization: canonical forms keep what is read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from iree_core_ir.interpreter import Interpreter

Canonicalized = Callable[[str], Any]


def buffer() -> np.ndarray[Any, Any]:
    return np.arange(32, dtype=np.float32).reshape(4, 8)


def same_effect(c: Any, *arguments: Any) -> None:
    """Results and final memory agree before and after; memrefs are copied for each run."""
    outcomes = []
    for module in (c.before, c.after):
        own = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        outcomes.append((Interpreter(module).call("f", *own), own))
    for a, b in zip(*[(*results, *own) for results, own in outcomes], strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_static_sizes_of_views_and_allocations(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        """func.func @f(%m: memref<4x8xf32>, %v: f32) -> f32 {
          %c1 = arith.constant 1 : index
          %c2 = arith.constant 2 : index
          %s = memref.subview %m[%c1, 0] [%c2, %c2] [1, %c2] : memref<4x8xf32> to memref<?x?xf32, strided<[8, ?], offset: ?>>
          %t = memref.subview %s[1, 0] [1, %c2] [1, 1] : memref<?x?xf32, strided<[8, ?], offset: ?>> to memref<?xf32, strided<[?], offset: ?>>
          memref.store %v, %t[%c1] : memref<?xf32, strided<[?], offset: ?>>
          %a = memref.alloc(%c2) : memref<?xf32>
          memref.copy %t, %a : memref<?xf32, strided<[?], offset: ?>> to memref<?xf32>
          %r = memref.load %a[%c1] : memref<?xf32>
          return %r : f32
        }"""
    )
    assert "memref.alloc() : memref<2xf32>" in c.text
    assert c.ops.count("memref.subview") == 1 and "memref.cast" not in c.text
    assert (
        "memref.subview %m[2, 0] [1, 2] [1, 2] : memref<4x8xf32> to memref<2xf32, strided<[2], offset: 16>>"
        in c.text
    )
    same_effect(c, buffer(), -1.0)


def test_dims_metadata_and_identities(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        """func.func @f(%m: memref<4x?xf32>, %n: index) -> (index, index, index, index, index, f32) {
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %x = memref.cast %m : memref<4x?xf32> to memref<?x?xf32>
          %0 = memref.dim %x, %c0 : memref<?x?xf32>
          %1 = memref.dim %x, %c1 : memref<?x?xf32>
          %a = memref.alloc(%n) : memref<?xf32>
          %2 = memref.dim %a, %c0 : memref<?xf32>
          memref.dealloc %a : memref<?xf32>
          %b, %o, %s:2, %t:2 = memref.extract_strided_metadata %m : memref<4x?xf32> -> memref<f32>, index, index, index, index, index
          %y = memref.cast %x : memref<?x?xf32> to memref<4x?xf32>
          memref.copy %y, %m : memref<4x?xf32> to memref<4x?xf32>
          %z = memref.collapse_shape %y [[0], [1]] : memref<4x?xf32> into memref<4x?xf32>
          %v = memref.load %z[%c1, %c1] : memref<4x?xf32>
          return %0, %1, %2, %s#0, %t#1, %v : index, index, index, index, index, f32
        }"""
    )
    assert sorted(c.ops) == ["memref.dim", "memref.load"]
    same_effect(c, buffer(), 5)


def test_reshapes_of_buffers_compose(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        """func.func @f(%m: memref<2x2x8xf32>, %v: f32, %i: index) {
          %0 = memref.collapse_shape %m [[0, 1], [2]] : memref<2x2x8xf32> into memref<4x8xf32>
          %1 = memref.collapse_shape %0 [[0, 1]] : memref<4x8xf32> into memref<32xf32>
          memref.store %v, %1[%i] : memref<32xf32>
          %2 = memref.expand_shape %0 [[0, 1], [2]] output_shape [2, 2, 8] : memref<4x8xf32> into memref<2x2x8xf32>
          %3 = memref.transpose %2 (d0, d1, d2) -> (d0, d1, d2) : memref<2x2x8xf32> to memref<2x2x8xf32>
          %c1 = arith.constant 1 : index
          memref.store %v, %3[%c1, %c1, %c1] : memref<2x2x8xf32>
          return
        }"""
    )
    assert sorted(c.ops) == ["memref.collapse_shape", "memref.store", "memref.store"]
    assert "memref.collapse_shape %m [[0, 1, 2]]" in c.text
    same_effect(c, buffer().reshape(2, 2, 8), -1.0, 7)


def test_memory_nobody_reads_goes(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        """func.func @f(%v: f32, %n: index) -> f32 {
          %c0 = arith.constant 0 : index
          %a = memref.alloc(%n) : memref<?xf32>
          memref.store %v, %a[%c0] : memref<?xf32>
          memref.dealloc %a : memref<?xf32>
          %b = memref.alloca() : memref<1xf32>
          memref.store %v, %b[%c0] : memref<1xf32>
          %r = memref.load %b[%c0] : memref<1xf32>
          return %r : f32
        }"""
    )
    assert c.ops == ["memref.alloca", "memref.store", "memref.load"]
    same_effect(c, 2.0, 3)


def test_tensors_and_buffers_round_trip(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        """func.func @f(%t: tensor<4xf32>, %i: index) -> (tensor<4xf32>, tensor<?xf32>) {
          %c4 = arith.constant 4 : index
          %0 = bufferization.to_buffer %t : tensor<4xf32> to memref<4xf32>
          %1 = bufferization.to_tensor %0 : memref<4xf32> to tensor<4xf32>
          %2 = bufferization.alloc_tensor(%c4) : tensor<?xf32>
          bufferization.dealloc_tensor %2 : tensor<?xf32>
          %3 = bufferization.alloc_tensor(%c4) : tensor<?xf32>
          %f = arith.constant 1.0 : f32
          %4 = linalg.fill ins(%f : f32) outs(%3 : tensor<?xf32>) -> tensor<?xf32>
          return %1, %4 : tensor<4xf32>, tensor<?xf32>
        }"""
    )
    assert "bufferization.to_" not in c.text and "dealloc" not in c.text
    assert "bufferization.alloc_tensor() : tensor<4xf32>" in c.text
    same_effect(c, np.arange(4, dtype=np.float32), 0)
