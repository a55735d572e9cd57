"""bufferization: crossing between values and memory copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def test_values_and_memory_stay_apart(run_text: Callable[..., Any]) -> None:
    text = """func.func @f(%t: tensor<3xf32>, %m: memref<3xf32>) -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
      %c0 = arith.constant 0 : index
      %v = arith.constant 9.0 : f32
      %before = bufferization.to_tensor %m : memref<3xf32> to tensor<3xf32>
      %b = bufferization.to_buffer %t : tensor<3xf32> to memref<3xf32>
      memref.store %v, %b[%c0] : memref<3xf32>
      %changed = bufferization.to_tensor %b : memref<3xf32> to tensor<3xf32>
      bufferization.materialize_in_destination %changed in writable %m : (tensor<3xf32>, memref<3xf32>) -> ()
      %a = bufferization.alloc_tensor() copy(%t) : tensor<3xf32>
      return %before, %changed, %a : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
    }"""
    t, m = np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32)
    before, changed, copy = run_text(text, t, m)
    np.testing.assert_array_equal(before, [4, 5, 6])
    np.testing.assert_array_equal(changed, [9, 2, 3])
    np.testing.assert_array_equal(m, [9, 2, 3])
    np.testing.assert_array_equal(t, [1, 2, 3])
    np.testing.assert_array_equal(copy, t)
