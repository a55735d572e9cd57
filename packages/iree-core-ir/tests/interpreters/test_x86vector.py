"""Meanings of x86vector against sums of numpy."""

from __future__ import annotations

import numpy as np

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module

TEXT = """func.func @f(%w: vector<4xi32>, %a: vector<16xi8>, %b: vector<16xi8>) -> vector<4xi32> {
  %0 = x86vector.dot_u8s8 %w, %a, %b : vector<16xi8> -> vector<4xi32>
  return %0 : vector<4xi32>
}"""


def test_unsigned_by_signed() -> None:
    rng = np.random.default_rng(0)
    w = rng.integers(-1000, 1000, 4).astype(np.int32)
    a, b = rng.integers(0, 256, 16).astype(np.uint8), rng.integers(-128, 128, 16).astype(np.int8)
    (got,) = np.atleast_2d(Interpreter(parse_module(TEXT)).call("f", w, a.view(np.int8), b))
    expected = w + (a.astype(np.int64) * b).reshape(4, 4).sum(axis=1)
    np.testing.assert_array_equal(got, expected)


def test_sums_wrap() -> None:
    w = np.full(4, np.iinfo(np.int32).max, np.int32)
    (got,) = np.atleast_2d(
        Interpreter(parse_module(TEXT)).call("f", w, np.ones(16, np.int8), np.ones(16, np.int8))
    )
    np.testing.assert_array_equal(got, np.iinfo(np.int32).min + 3)
