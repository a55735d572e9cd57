"""util, ml_program, ub: IREE's and MLIR's text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import ml_program, ub, util
from iree_core_ir.errors import ParseError, VerifyError
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """module {
  util.global private mutable @v = 4 : i32
  util.global public @w : tensor<4xf32>
  util.global private @x {inlining = "never"} : tensor<4xf32> = dense<4> : tensor<4xi32>
  util.global private @weights = dense_resource<w0> : tensor<1024xf32>
  ml_program.global private mutable @g(dense<4> : tensor<4xi32>) : tensor<?xi32>
  ml_program.global public @ext(#ml_program<extern : tensor<4xi32>>) : tensor<?xi32>
  util.initializer {
    %0 = arith.constant dense<1.000000e+00> : tensor<4xf32>
    util.global.store %0, @w : tensor<4xf32>
    util.return
  }
  func.func @f(%a: f32, %i: i32, %n: index) {
    %0 = util.global.load @v : i32
    %1 = util.global.load immutable @w : tensor<4xf32>
    %2 = util.align %n, %n : index
    %3:2 = util.optimization_barrier %n, %a : index, f32
    %4:3 = util.assume.int %n<umin = 0>, %n[<umax = 8>, <udiv = 5>], %i<udiv = 2> : index, index, i32
    %5 = util.broadcast_dim %n, %2
    %6 = util.sizeof f32
    %7 = ml_program.global_load @g : tensor<?xi32>
    %8 = ml_program.global_load_const @ext : tensor<?xi32>
    ml_program.global_store @g = %7 : tensor<?xi32>
    %9 = util.assume.int %n[] : index
    %10 = ub.poison : f32
    %11 = util.unfoldable_constant dense<1> : tensor<4xi32>
    cf.br ^bb1
  ^bb1:
    util.unreachable "not here"
  }
  func.func @g2() {
    ub.unreachable
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    names = ops_of(TEXT)
    for dialect in (util.DIALECT, ml_program.DIALECT, ub.DIALECT):
        assert set(dialect.ops) <= names


def test_globals_as_iree_writes_them_in_its_tests() -> None:
    text = """
    util.global @v_immutable : tensor<i32>
    util.global public mutable @v_mutable : tensor<i32>
    util.global public @v_initialized_const4 : tensor<4xi32> = dense<4> : tensor<4xi32>
    """
    printed = str(parse_module(text))
    assert "util.global public @v_immutable : tensor<i32>" in printed
    assert "util.global public @v_initialized_const4 = dense<4> : tensor<4xi32>" in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("util.global private @x", "expected ':' or '='"),
        (
            "func.func @f(%n: index) { %r = util.assume.int %n<low = 1> : index\n return }",
            "'low' is not one of",
        ),
        (
            "func.func @f(%n: index) { %r = util.assume.int %n<umin = 9, umax = 1> : index\n return }",
            "umin 9",
        ),
        (
            "func.func @f(%n: index) { %r = util.assume.int %n<udiv = 0> : index\n return }",
            "udiv must be positive",
        ),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_module(text)


def test_assumptions_cover_the_same_call_sites() -> None:
    line = "%r:2 = util.assume.int %n[<umin = 1>, <umin = 2>], %n[] : index, index"
    with pytest.raises(VerifyError, match="call sites"):
        verify(parse_module(f"func.func @f(%n: index) {{ {line}\n return }}"))


def test_globals_must_exist() -> None:
    module = parse_module("func.func @f() { %r = util.global.load @nowhere : i32\n return }")
    with pytest.raises(VerifyError, match="@nowhere"):
        verify(module)
