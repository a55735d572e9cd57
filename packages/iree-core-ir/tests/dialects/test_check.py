"""check: IREE's text."""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.dialects import check
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import TensorType, f32

TEXT = """module {
  func.func @f(%c: i1, %i: i32, %t: tensor<4xf32>, %k: tensor<2xi32>) {
    check.expect_true(%c) : i1
    check.expect_false(%i) : i32
    check.expect_all_true(%k) : tensor<2xi32>
    check.expect_eq(%t, %t) : tensor<4xf32>
    check.expect_eq_const(%k, dense<[1, 2]> : tensor<2xi32>) : tensor<2xi32>
    check.expect_almost_eq(%t, %t) : tensor<4xf32>
    check.expect_almost_eq(%t, %t, atol 1.000000e-03) : tensor<4xf32>
    check.expect_almost_eq(%t, %t, atol 1.000000e-03, rtol 1.000000e-02) : tensor<4xf32>
    check.expect_almost_eq_const(%t, dense<1.000000e+00> : tensor<4xf32>) : tensor<4xf32>
    check.expect_almost_eq_const(%t, dense<2.000000e+00> : tensor<4xf32>, TOLERANCES) : tensor<4xf32>
    return
  }
}
""".replace("TOLERANCES", "atol 1.000000e-04, rtol 1.000000e+00")


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(check.DIALECT.ops) <= ops_of(TEXT)


def test_the_default_tolerances_are_not_printed(round_trip: Callable[[str], str]) -> None:
    text = TEXT.replace("almost_eq(%t, %t) :", "almost_eq(%t, %t, atol 1.0e-4, rtol 0.0) :")
    assert round_trip(text) == TEXT
    a = Block([TensorType((2,), f32)]).args[0]
    op = check.ExpectAlmostEq.make(a, a)
    assert (round(op.atol.value, 6), op.rtol.value) == (1e-4, 0.0)
