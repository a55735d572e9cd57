"""Folding: constants through the interpreter, never across what must stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.dialects import arith
from iree_core_ir.folding import fold_op, materialize
from iree_core_ir.interpreter import implements
from iree_core_ir.ir.attributes import DenseElementsAttr, FloatAttr, IntegerAttr
from iree_core_ir.ir.declaration import operand, result
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Block, Op
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import IntegerType, TensorType, f32, i8
from iree_core_ir.rewriter import apply_patterns
from iree_core_ir.text.parser import parse_module


@given(
    st.integers(-128, 127), st.integers(-128, 127), st.sampled_from(["addi", "subi", "muli", "andi", "xori"])
)
@settings(derandomize=True, deadline=None)
def test_integers_wrap_as_numpy_does(a: int, b: int, kind: str) -> None:
    module = parse_module(
        f"""
        func.func @f() -> i8 {{
          %a = arith.constant {a} : i8
          %b = arith.constant {b} : i8
          %c = arith.{kind} %a, %b : i8
          return %c : i8
        }}"""
    )
    apply_patterns(module, [])
    returned = next(op for op in module.walk() if op.name == "func.return")
    function = {
        "addi": np.add,
        "subi": np.subtract,
        "muli": np.multiply,
        "andi": np.bitwise_and,
        "xori": np.bitwise_xor,
    }
    with np.errstate(over="ignore"):
        expected = function[kind](np.int8(a), np.int8(b))
    assert known_integer(returned.operands[0]) == int(expected)


def test_constants_and_unknown_operands_do_not_fold() -> None:
    block = Block([f32])
    constant = block.append(arith.Constant.make(FloatAttr(1.0, f32)))
    assert fold_op(constant) is None
    assert fold_op(block.append(arith.MulF.make(block.args[0], block.args[0]))) is None


class Twice(Op, name="t.twice", traits=(PURE,)):
    source = operand()
    out = result()


@implements(Twice)
def twice(frame: Any, op: Twice, source: Any) -> Any:
    return source + source


def test_the_interpreter_folds_scalars_and_leaves_tensors() -> None:
    scalar = arith.Constant.make(FloatAttr(1.5, f32))
    assert fold_op(Twice((scalar.result,), (f32,))) == [FloatAttr(3.0, f32)]
    type = TensorType((1000,), f32)
    tensor = arith.Constant.make(DenseElementsAttr.from_splat(2.0, type))
    assert fold_op(Twice((tensor.result,), (type,))) is None


@pytest.mark.parametrize("dialect", ["arith", "math", "scf", "unknown"])
def test_constants_are_made_by_a_dialect_that_can(dialect: str) -> None:
    op = materialize(IntegerAttr(1, i8), i8, dialect)
    assert op.name == "arith.constant" and op.results[0].type is i8


def test_an_op_that_cannot_be_computed_stays() -> None:
    class NoMeaning(Op, name="t.no_meaning", traits=(PURE,)):
        source = operand(IntegerType)
        out = result(IntegerType)

    constant = arith.Constant.make(IntegerAttr(1, i8))
    assert fold_op(NoMeaning((constant.result,), (i8,))) is None
