"""Invalid IR is found and shown; each error is a golden text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import FloatAttr
from iree_core_ir.ir.location import NameLoc
from iree_core_ir.ir.operation import Block, Op, Region
from iree_core_ir.ir.types import f32, i32
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

INVALID = {
    "use-before-definition": """
        func.func @f(%x: f32) -> f32 {
          %a = arith.addf %b, %x : f32
          %b = arith.addf %x, %x : f32
          return %a : f32
        }""",
    "not-dominating-block": """
        func.func @f(%c: i1, %x: f32) -> f32 {
          cf.cond_br %c, ^a, ^b
        ^a:
          %v = arith.addf %x, %x : f32
          cf.br ^b
        ^b:
          return %v : f32
        }""",
    "return-count": "func.func @g(%x: f32) -> f32 {\n  return %x, %x : f32, f32\n}",
    "operand-count": '%0 = "arith.addf"() : () -> f32',
    "operand-type": '%0 = "t.i"() : () -> i32\n%1 = "arith.addf"(%0, %0) : (i32, i32) -> i32',
    "result-type": '%0 = "t.i"() : () -> f32\n%1 = "arith.addf"(%0, %0) : (f32, f32) -> f64',
    "missing-attribute": '%0 = "arith.constant"() : () -> i32',
    "attribute-class": '%0 = "func.call"() <{callee = "f"}> : () -> i32',
    "region-count": '"builtin.module"() : () -> ()',
    "successor-count": 'func.func @f() {\n  "func.return"()[^a] : () -> ()\n^a:\n  return\n}',
    "missing-terminator": "func.func @f(%x: f32) {\n  %0 = arith.addf %x, %x : f32\n}",
    "empty-block": "func.func @f() {\n  cf.br ^a\n^a:\n}",
    "terminator-in-the-middle": "func.func @f() {\n  return\n  return\n}",
    "branch-to-entry": 'func.func @f() {\n^a:\n  "cf.br"()[^a] : () -> ()\n}',
    "unknown-callee": "func.func @f() {\n  call @g() : () -> ()\n  return\n}",
    "callee-type": """
        func.func private @g(i32)
        func.func @f() {
          call @g() : () -> ()
          return
        }""",
    "symbol-twice": "func.func private @f()\nfunc.func private @f()",
    "return-type": "func.func @f(%x: f32) -> i32 {\n  return %x : f32\n}",
    "segments": """
        %0 = "t.i"() : () -> tensor<f32>
        "linalg.fill"(%0) <{operandSegmentSizes = array<i32: 1, 1>}> ({}) : (tensor<f32>) -> ()""",
    "function-attributes": """
        "func.func"() <{function_type = (i32) -> (), sym_name = "f", arg_attrs = []}> ({
        ^bb0(%x: i32):
          "func.return"() : () -> ()
        }) : () -> ()""",
    "shapes-of-elementwise": """
        %0 = "t.i"() : () -> tensor<4xf32>
        %1 = "t.i"() : () -> tensor<5xi1>
        %2 = "arith.select"(%1, %0, %0) : (tensor<5xi1>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>""",
}


def test_error_messages(golden: Callable[[str, str], None]) -> None:
    shown = []
    for name, text in INVALID.items():
        module = parse_module(text, "f.mlir", allow_unregistered=True)
        with pytest.raises(VerifyError) as caught:
            verify(module)
        shown.append(f"== {name}\n{caught.value}\n")
    golden("verify_errors.txt", "\n".join(shown))


@pytest.mark.parametrize(
    "text",
    [
        "func.func @f(%x: f32) -> f32 {\n  return %x : f32\n}",
        # Unreachable code: anything dominates it.
        """
        func.func @f() -> i32 {
          %a = arith.constant 1 : i32
          return %a : i32
        ^dead:
          %b = arith.addi %c, %a : i32
          %c = arith.addi %b, %a : i32
          return %c : i32
        }""",
        # Values of a dominating block, not of the predecessor.
        """
        func.func @f(%c: i1) -> i32 {
          %a = arith.constant 1 : i32
          cf.cond_br %c, ^a, ^b
        ^a:
          cf.br ^b
        ^b:
          return %a : i32
        }""",
        # Values visible in nested regions.
        """
        func.func @f(%x: f32) {
          "t.r"() ({ %0 = arith.addf %x, %x : f32  "t.end"() : () -> () }) : () -> ()
          return
        }""",
    ],
)
def test_valid(text: str) -> None:
    verify(parse_module(text, allow_unregistered=True))


def test_isolation() -> None:
    outer = FuncOp.make("outer", [f32], [])
    inner = FuncOp.make("inner", [], [], visibility="private")
    x = outer.arguments[0]
    inner.body.block.append(arith.AddF.make(x, x))
    inner.body.block.append(ReturnOp.make())
    outer.body.block.append(inner)
    outer.body.block.append(ReturnOp.make())
    with pytest.raises(
        VerifyError, match=r"operand 0 %arg0 .a block argument. is defined outside the isolated"
    ):
        verify(outer)


def test_broken_links_are_found() -> None:
    function = FuncOp.make("f", [f32], [])
    block = function.body.block
    op = block.append(arith.AddF.make(block.args[0], block.args[0]))
    block.append(ReturnOp.make())
    verify(function)
    del block.args[0].uses[op]
    with pytest.raises(VerifyError, match="missing from the use list"):
        verify(function)
    block.args[0].uses[op] = 2
    op.parent = Block()
    with pytest.raises(VerifyError, match="not its parent"):
        verify(function)


def test_that_an_op_was_valid_says_nothing_of_others() -> None:
    """What was right is remembered by types and attributes: any other is checked."""
    block = Block([f32, f32, i32])
    x, y, n = block.args
    module = parse_module(
        "func.func @f(%a: f32, %b: f32) -> f32 { %s = arith.addf %a, %b : f32 return %s : f32 }"
    )
    verify(module)
    verify(parse_module(str(module)))
    for operands, results, attributes in (
        ([x, n], [f32], {}),
        ([x, y], [i32], {}),
        ([x, y], [f32, f32], {}),
        ([x], [f32], {}),
        ([x, y], [f32], {"fastmath": FloatAttr(1.0, f32)}),
    ):
        with pytest.raises(VerifyError):
            verify(arith.AddF(operands, results, dict(attributes)))
        verify(arith.AddF([x, y], [f32]))


def test_value_of_an_erased_op() -> None:
    function = FuncOp.make("f", [], [])
    block = function.body.block
    constant = arith.Constant.make(FloatAttr(1.0, f32))
    block.append(arith.AddF.make(constant.result, constant.result))
    block.append(ReturnOp.make())
    with pytest.raises(VerifyError, match="defined by an op outside the IR"):
        verify(function)


def test_a_part_of_the_ir_can_be_verified() -> None:
    module = parse_module("func.func @f(%x: f32) -> f32 { %0 = arith.addf %x, %x : f32 return %0 : f32 }")
    for op in module.walk():
        verify(op)


def test_a_failing_verifier_hook_is_reported_with_its_op() -> None:
    class Broken(Op, name="t.broken"):
        def verify_op(self) -> None:
            raise IndexError("oops")

    with pytest.raises(VerifyError, match=r"'t.broken' op cannot be verified \(IndexError: oops\)"):
        verify(Broken())


def test_long_chains_of_blocks_do_not_recurse() -> None:
    from iree_core_ir.dialects.cf import Branch

    function = FuncOp.make("f", [i32], [])
    region: Region = function.body
    for _ in range(5000):
        block = region.append(Block())
        region.blocks[-2].append(Branch.make(block))
    region.blocks[-1].append(ReturnOp.make())
    verify(function)


def test_the_message_names_node_and_ir() -> None:
    function = FuncOp.make("f", [f32], [i32])
    block = function.body.block
    for _ in range(8):
        block.append(arith.AddF.make(block.args[0], block.args[0]))
    block.append(ReturnOp.make(block.args[0])).location = NameLoc("/model/output")
    with pytest.raises(VerifyError) as caught:
        verify(function)
    lines = str(caught.value).splitlines()
    assert lines[0] == ("IREE-IR-002: /model/output: 'func.return' op returns (f32) but @f has results (i32)")
    assert lines[1].startswith("  in func.func @f(%arg0: f32) -> i32 {")
    assert lines[2] == "    ..."
    assert lines[-1].startswith('  > "func.return"(%arg0)')
    assert caught.value.source == "/model/output"
