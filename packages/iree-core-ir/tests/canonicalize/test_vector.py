"""vector: canonical forms keep the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_core_ir.interpreter import Interpreter

Canonicalized = Callable[[str], Any]
V = np.arange(8, dtype=np.float32)
W = np.arange(32, dtype=np.float32).reshape(4, 8)
ARGUMENTS = "%v: vector<8xf32>, %w: vector<4x8xf32>, %f: f32, %i: index, %m: memref<16xf32>"


def same(c: Any) -> None:
    outcomes = []
    for module in (c.before, c.after):
        memory = np.arange(16, dtype=np.float32)
        results = Interpreter(module).call("f", V.copy(), W.copy(), 2.5, 3, memory)
        outcomes.append((*results, memory))
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


CASES = [
    # body defining %r, its type, the ops left
    ("%r = vector.broadcast %v : vector<8xf32> to vector<8xf32>", "vector<8xf32>", []),
    ("%0 = vector.broadcast %f : f32 to vector<8xf32>\n%r = vector.broadcast %0 : vector<8xf32> to vector<4x8xf32>", "vector<4x8xf32>", ["vector.broadcast"]),
    ("%r = vector.splat %f : vector<8xf32>", "vector<8xf32>", ["vector.broadcast"]),
    ("%c = arith.constant 2.0 : f32\n%r = vector.broadcast %c : f32 to vector<4x8xf32>", "vector<4x8xf32>", []),
    ("%0 = vector.shape_cast %w : vector<4x8xf32> to vector<32xf32>\n%r = vector.shape_cast %0 : vector<32xf32> to vector<4x8xf32>", "vector<4x8xf32>", []),
    ("%0 = vector.broadcast %f : f32 to vector<32xf32>\n%r = vector.shape_cast %0 : vector<32xf32> to vector<4x8xf32>", "vector<4x8xf32>", ["vector.broadcast"]),
    ("%0 = vector.transpose %w, [1, 0] : vector<4x8xf32> to vector<8x4xf32>\n%r = vector.transpose %0, [1, 0] : vector<8x4xf32> to vector<4x8xf32>", "vector<4x8xf32>", []),
    ("%0 = vector.bitcast %v : vector<8xf32> to vector<8xi32>\n%1 = vector.bitcast %0 : vector<8xi32> to vector<16xi16>\n%r = vector.bitcast %1 : vector<16xi16> to vector<8xf32>", "vector<8xf32>", []),
    ("%0 = vector.extract %w[1] : vector<8xf32> from vector<4x8xf32>\n%r = vector.extract %0[%i] : f32 from vector<8xf32>", "f32", ["vector.extract"]),
    ("%0 = vector.broadcast %f : f32 to vector<4x8xf32>\n%r = vector.extract %0[1, %i] : f32 from vector<4x8xf32>", "f32", []),
    ("%0 = vector.broadcast %v : vector<8xf32> to vector<4x8xf32>\n%r = vector.extract %0[%i] : vector<8xf32> from vector<4x8xf32>", "vector<8xf32>", []),
    ("%0 = vector.insert %f, %v [3] : f32 into vector<8xf32>\n%r = vector.extract %0[3] : f32 from vector<8xf32>", "f32", []),
    ("%0 = vector.insert %f, %v [3] : f32 into vector<8xf32>\n%r = vector.extract %0[4] : f32 from vector<8xf32>", "f32", ["vector.extract"]),
    ("%0 = vector.insert %v, %w [3] : vector<8xf32> into vector<4x8xf32>\n%r = vector.extract %0[3, %i] : f32 from vector<4x8xf32>", "f32", ["vector.insert", "vector.extract"]),
    ("%0 = vector.insert %v, %w [3] : vector<8xf32> into vector<4x8xf32>\n%r = vector.extract %0[3, 2] : f32 from vector<4x8xf32>", "f32", ["vector.extract"]),
    ("%c = arith.constant 2.0 : f32\n%0 = vector.insert %c, %v [3] : f32 into vector<8xf32>\n%r = vector.insert %f, %0 [3] : f32 into vector<8xf32>", "vector<8xf32>", ["vector.insert"]),
    ("%c = arith.constant 5 : index\n%0 = vector.insertelement %f, %v[%c : index] : vector<8xf32>\n%r = vector.extractelement %0[%c : index] : vector<8xf32>", "f32", []),
    ("%0 = vector.from_elements %f, %f : vector<2xf32>\n%r = vector.extract %0[1] : f32 from vector<2xf32>", "f32", []),
    ("%c = arith.constant 2.0 : f32\n%d = arith.constant 3.0 : f32\n%r = vector.from_elements %c, %d : vector<2xf32>", "vector<2xf32>", []),
    ("%r = vector.shuffle %v, %v [8, 9, 10, 11, 12, 13, 14, 15] : vector<8xf32>, vector<8xf32>", "vector<8xf32>", []),
    ("%r = vector.extract_strided_slice %w {offsets = [0], sizes = [4], strides = [1]} : vector<4x8xf32> to vector<4x8xf32>", "vector<4x8xf32>", []),
    ("%r = vector.insert_strided_slice %v, %v {offsets = [0], strides = [1]} : vector<8xf32> into vector<8xf32>", "vector<8xf32>", []),
    ("%0 = vector.broadcast %f : f32 to vector<1xf32>\n%r = vector.reduction <add>, %0 : vector<1xf32> into f32", "f32", []),
    ("%c = arith.constant 9 : index\n%r = vector.create_mask %c : vector<8xi1>", "vector<8xi1>", []),
    ("%c = arith.constant 3 : index\n%r = vector.create_mask %c : vector<8xi1>", "vector<8xi1>", ["vector.constant_mask"]),
    ("%k = arith.constant dense<true> : vector<8xi1>\n%c0 = arith.constant 0 : index\n%r = vector.maskedload %m[%c0], %k, %v : memref<16xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>\nvector.maskedstore %m[%c0], %k, %v : memref<16xf32>, vector<8xi1>, vector<8xf32>", "vector<8xf32>", ["vector.load", "vector.store"]),
    ("%k = arith.constant dense<false> : vector<8xi1>\n%c0 = arith.constant 0 : index\n%r = vector.maskedload %m[%c0], %k, %v : memref<16xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>\nvector.maskedstore %m[%c0], %k, %v : memref<16xf32>, vector<8xi1>, vector<8xf32>", "vector<8xf32>", []),
    ("%c = arith.constant dense<[1, 2, 3, 4]> : vector<4xi32>\n%0 = vector.shuffle %c, %c [0, 7] : vector<4xi32>, vector<4xi32>\n%r = vector.extract %0[1] : i32 from vector<2xi32>", "i32", []),
    ("%r = vector.step : vector<4xindex>", "vector<4xindex>", []),
]  # fmt: skip


@pytest.mark.parametrize(("body", "type", "left"), CASES, ids=range(len(CASES)))
def test_canonical_forms(canonicalized: Canonicalized, body: str, type: str, left: list[str]) -> None:
    c = canonicalized(f"func.func @f({ARGUMENTS}) -> {type} {{\n{body}\nreturn %r : {type}\n}}")
    assert c.ops == left
    same(c)


def test_transfers_learn_that_they_are_in_bounds(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        f"""func.func @f({ARGUMENTS}) -> (vector<8xf32>, vector<8xf32>, vector<2x8xf32>) {{
          %c8 = arith.constant 8 : index
          %c9 = arith.constant 9 : index
          %k = arith.constant dense<true> : vector<8xi1>
          %0 = vector.transfer_read %m[%c8], %f, %k : memref<16xf32>, vector<8xf32>
          %1 = vector.transfer_read %m[%c9], %f : memref<16xf32>, vector<8xf32>
          %2 = vector.transfer_read %m[%i], %f {{permutation_map = affine_map<(d0) -> (0, d0)>}} : memref<16xf32>, vector<2x8xf32>
          vector.transfer_write %v, %m[%c8] : vector<8xf32>, memref<16xf32>
          return %0, %1, %2 : vector<8xf32>, vector<8xf32>, vector<2x8xf32>
        }}"""
    )
    assert "vector.transfer_read %m[%c8], %f {in_bounds = [true]} : memref<16xf32>" in c.text
    assert "vector.transfer_read %m[%c9], %f : memref<16xf32>" in c.text
    assert "in_bounds = [true, false]" in c.text
    assert "vector.transfer_write %v, %m[%c8] {in_bounds = [true]}" in c.text
    same(c)


def test_a_negative_position_is_left_for_run_time(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        f"""func.func @f({ARGUMENTS}) -> f32 {{
          %c = arith.constant 8 : index
          %r = vector.extract %v[%c] : f32 from vector<8xf32>
          return %r : f32
        }}"""
    )
    assert "vector.extract %v[%c]" in c.text
