"""Operations, regions, names, aliases, locations, file metadata; golden error messages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.errors import CoreIrError, ParseError
from iree_core_ir.ir.location import UNKNOWN, CallSiteLoc, FileLoc, FusedLoc, NameLoc
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.unregistered import UnregisteredOp
from iree_core_ir.text.parser import parse_module, parse_ops
from iree_core_ir.text.printer import print_op


def test_a_single_module_is_returned_and_other_ops_are_wrapped() -> None:
    assert parse_module("module @m {}").sym_name.value == "m"  # type: ignore[union-attr]
    wrapped = parse_module("func.func private @f()\nfunc.func private @g()")
    assert [op.name for op in wrapped.body.block] == ["func.func", "func.func"]
    assert isinstance(parse_module(""), ModuleOp)


def test_default_dialects_of_regions() -> None:
    module = parse_module("builtin.module { func.func @f() { call @f() : () -> () return } }")
    assert "    call @f() : () -> ()\n    return\n" in print_op(module)
    # Inside a region without default dialect, prefixes are needed.
    with pytest.raises(ParseError, match="unknown operation 'call'"):
        parse_module('"t.r"() ({ call @f() : () -> () }) : () -> ()', allow_unregistered=True)


def test_multiple_results() -> None:
    (op, user) = parse_ops(
        '%a:2, %b = "t.op"() : () -> (i1, i8, i16)\n"t.use"(%a#1, %b, %a#0) : (i8, i16, i1) -> ()',
        allow_unregistered=True,
    )
    assert user.operands == (op.results[1], op.results[2], op.results[0])
    (op, user) = parse_ops('%x = "t.op"() : () -> i1\n"t.use"(%x#0) : (i1) -> ()', allow_unregistered=True)
    assert user.operands == op.results


def test_forward_references_and_blocks() -> None:
    module = parse_module(
        """
        func.func @f(%c: i1) -> i32 {
          cf.br ^loop(%c : i1)
        ^out:
          return %n : i32
        ^loop(%again: i1):
          %n = arith.constant 1 : i32
          cf.cond_br %again, ^loop(%again : i1), ^out
        }
        """
    )
    text = print_op(module)
    assert "return %n : i32" in text
    assert print_op(parse_module(text)) == text


def test_names_end_with_their_region() -> None:
    text = """
      %a = "t.x"() : () -> i1
      "t.r"() ({ %b = "t.x"() : () -> i1 }, {
        %b = "t.x"() : () -> i1
        "t.use"(%a, %b) : (i1, i1) -> ()
      }) : () -> ()
      %b = "t.x"() : () -> i1
    """
    assert len(parse_ops(text, allow_unregistered=True)) == 3


def test_isolated_regions_hide_outer_names() -> None:
    with pytest.raises(ParseError, match="%a is used but never defined"):
        parse_module(
            '%a = "t.x"() : () -> i1\nfunc.func @f() { "t.use"(%a) : (i1) -> ()  return }',
            allow_unregistered=True,
        )


def test_locations() -> None:
    ops = parse_ops(
        """
        "t.a"() : () -> ()
        "t.b"() : () -> () loc("f.py":3:4)
        "t.c"() : () -> () loc("node"("f.py":3:4))
        "t.d"() : () -> () loc(fused<"meta">["a", unknown])
        "t.e"() : () -> () loc(callsite("a" at "b"))
        "t.f"() : () -> () loc(#later)
        "t.g"() : () -> () loc(unknown)
        #inner = loc("f.py":1:2)
        #later = loc("x"(#inner))
        """,
        "t.mlir",
        allow_unregistered=True,
    )
    inner = FileLoc("f.py", 1, 2)
    assert [op.location for op in ops] == [
        FileLoc("t.mlir", 2, 9),
        FileLoc("f.py", 3, 4),
        NameLoc("node", FileLoc("f.py", 3, 4)),
        FusedLoc((NameLoc("a"), UNKNOWN)),
        CallSiteLoc(NameLoc("a"), NameLoc("b")),
        NameLoc("x", inner),
        UNKNOWN,
    ]


def test_locations_round_trip() -> None:
    text = """\
"t.a"() : () -> () loc("odd \\22name\\22"("f.py":3:4))
"""
    (op,) = parse_ops(text, allow_unregistered=True)
    assert print_op(op, locations=True) + "\n" == text


def test_aliases() -> None:
    (op,) = parse_ops(
        """
        #map = affine_map<(d0) -> (d0)>
        !t = tensor<4xf32>
        "t.a"() {m = #map, l = [#map]} : () -> !t
        """,
        allow_unregistered=True,
    )
    assert str(op) == (
        '%0 = "t.a"() {l = [affine_map<(d0) -> (d0)>], m = affine_map<(d0) -> (d0)>} : () -> tensor<4xf32>'
    )


def test_unregistered_ops_round_trip_and_need_the_flag() -> None:
    text = (
        '%0 = "my.op"() <{p = 1 : i64}> ({\n^bb0(%a: i1):\n  "my.end"()[^bb0] : () -> ()\n}) {d} : () -> i32'
    )
    with pytest.raises(ParseError, match=r"unknown operation 'my\.op'"):
        parse_ops(text)
    (op,) = parse_ops(text, allow_unregistered=True)
    assert isinstance(op, UnregisteredOp)
    copy = op.clone()
    for one in (op, copy):
        assert print_op(one).startswith('%0 = "my.op"() <{p = 1 : i64}> ({')
        assert print_op(one).endswith("}) {d} : () -> i32")


def test_properties_and_dictionary_of_a_known_op() -> None:
    (op,) = parse_ops('%0 = "arith.constant"() <{value = 1 : i32}> {extra} : () -> i32')
    assert set(op.attributes) == {"value", "extra"}
    assert print_op(op, generic=True) == '%0 = "arith.constant"() <{value = 1 : i32}> {extra} : () -> i32'
    # Old text keeps inherent attributes in the dictionary.
    (old,) = parse_ops('%0 = "arith.constant"() {value = 1 : i32, extra} : () -> i32')
    assert print_op(old, generic=True) == print_op(op, generic=True)


def test_resources_go_to_the_store() -> None:
    text = """
      %0 = "t.c"() {v = dense_resource<w> : tensor<2xf32>} : () -> i1
      {-#
        dialect_resources: { builtin: { w: "0x040000000000803F00000040" } },
        other: { a: "b" }
      #-}
    """
    store = ConstantStore()
    parse_module(text, allow_unregistered=True, constants=store)
    assert np.array_equal(store.array("w"), np.array([1, 2], np.float32))
    with pytest.raises(ParseError, match="pass a ConstantStore"):
        parse_module(text, allow_unregistered=True)


def test_function_attributes() -> None:
    text = """\
module {
  func.func private @d(i32, f32 {a.b = 1 : i64}) -> (i32 {a.c}, f32)
  func.func @f(%arg0: i32 {a.x}) -> (i32 {a.y}) attributes {a.z} {
    return %arg0 : i32
  }
}
"""
    assert print_op(parse_module(text)) == text


ERRORS = {
    "unknown-op": "func.func @f() {\n  nothing.here\n}",
    "no-pretty-form": 'func.func @f() {\n  %0 = "arith.addf"(%0) : (f32) -> f32\n  arith.nothing %0\n}',
    "undefined-value": "func.func @f() -> f32 {\n  return %x : f32\n}",
    "type-mismatch": "func.func @f(%x: f32) -> i32 {\n  return %x : i32\n}",
    "redefinition": "func.func @f(%x: f32) {\n  %x = arith.constant 1 : i32\n  return\n}",
    "forward-type": (
        "func.func @f() {\n  cf.br ^a\n^b:\n  return %x : f32\n^a:\n"
        "  %x = arith.constant 1 : i32\n  cf.br ^b\n}"
    ),
    "undefined-block": "func.func @f() {\n  cf.br ^nowhere\n}",
    "result-count": "func.func @f() {\n  %a, %b = arith.constant 1 : i32\n  return\n}",
    "missing-brace": "func.func @f() {\n  return\n",
    "operand-count": 'func.func @f(%a: i32) {\n  "func.return"(%a) : (i32, i32) -> ()\n}',
    "block-twice": "func.func @f() {\n^a:\n  return\n^a:\n  return\n}",
    "trailing": "func.func @f() {\n  return\n}\n)",
    "bad-alias": "#m = affine_map<(d0) -> (d1)>",
    "undefined-location": "func.func private @f() loc(#nope)",
    "unnamed-arguments": "func.func @f(i32) {\n  return\n}",
    "unregistered-attribute": "func.func private @f() attributes {a = #other.thing}",
}


def test_error_messages(golden: Callable[[str, str], None]) -> None:
    shown = []
    for name, text in ERRORS.items():
        with pytest.raises(CoreIrError) as caught:
            parse_module(text, "f.mlir")
        shown.append(f"== {name}\n{caught.value}\n")
    golden("parse_errors.txt", "\n".join(shown))


@pytest.mark.parametrize("step", range(1, 12))
def test_truncated_text_is_a_parse_error(step: int) -> None:
    text = """\
#map = affine_map<(d0) -> (d0)>
module @m attributes {a = #map, b = dense<[1, 2]> : tensor<2xi32>} {
  func.func @f(%x: tensor<4x?xf32>) -> tensor<4x?xf32> {
    %0:2 = "t.op"(%x) <{p = "s"}> ({
    ^bb0(%a: i1): "t.e"() : () -> ()
    }) : (tensor<4x?xf32>) -> (i1, i2) loc("a":1:2)
    return %x : tensor<4x?xf32>
  }
}
"""
    for end in range(step, len(text) - 3, 11):
        with contextlib.suppress(ParseError):
            parse_module(text[:end], allow_unregistered=True)


def test_parsing_is_reentrant_per_op_class() -> None:
    """Custom parsers of nested ops do not disturb the op around them."""
    text = """\
module {
  func.func @f(%arg0: index, %arg1: f32) -> f32 {
    %0 = scf.for %i = %arg0 to %arg0 step %arg0 iter_args(%acc = %arg1) -> (f32) {
      %1 = scf.for %j = %arg0 to %arg0 step %arg0 iter_args(%inner = %acc) -> (f32) {
        scf.yield %inner : f32
      }
      scf.yield %1 : f32
    }
    return %0 : f32
  }
}
"""
    module = parse_module(text)
    assert isinstance(module, Op)
    assert print_op(parse_module(print_op(module))) == print_op(module)
