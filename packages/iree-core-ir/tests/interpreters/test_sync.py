"""Meanings of ``sync``: only who finds the old word exchanges it, and nothing outside of memory is touched."""

from __future__ import annotations

import numpy as np
import pytest

from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module

MODULE = parse_module("""
func.func @swap(%m: memref<?xi64>, %i: index, %old: i64, %new: i64) -> (i1, i64) {
  sync.pause
  %0 = sync.exchange %m[%i], %old to %new : memref<?xi64>
  %1 = sync.load %m[%i] : memref<?xi64>
  return %0, %1 : i1, i64
}
func.func @set(%m: memref<?xi64>, %i: index, %new: i64) {
  sync.store %new, %m[%i] : memref<?xi64>
  return
}
""")


def test_one_exchange_finds_the_old_word() -> None:
    words = np.array([4, 4], np.int64)
    run = Interpreter(MODULE)
    assert run.call("swap", words, 1, np.int64(4), np.int64(5)) == (True, 5)
    assert run.call("swap", words, 1, np.int64(4), np.int64(6)) == (False, 5)
    run.call("set", words, 1, np.int64(7))
    assert words.tolist() == [4, 7]


@pytest.mark.parametrize("at", [-1, 2])
def test_words_outside_of_memory(at: int) -> None:
    with pytest.raises(CoreIrError):
        Interpreter(MODULE).call("set", np.zeros(2, np.int64), at, np.int64(1))
