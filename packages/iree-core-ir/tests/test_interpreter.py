"""The interpreter service: values, calls, control flow, errors. Meanings are tested per dialect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_core_ir.constants import ConstantStore
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import (
    Interpreter,
    attribute_value,
    find_meaning,
    implements,
    implements_terminator,
    scalar,
    value_attribute,
)
from iree_core_ir.ir import types as ty
from iree_core_ir.ir.attributes import DenseElementsAttr, DenseResourceAttr, FloatAttr, IntegerAttr
from iree_core_ir.ir.declaration import operand, result
from iree_core_ir.ir.operation import Op
from iree_core_ir.text.parser import parse_attribute, parse_module


def run(text: str, *arguments: Any, **settings: Any) -> tuple[Any, ...]:
    return Interpreter(parse_module(text), **settings).call("main", *arguments)


def test_scalars_have_their_types() -> None:
    text = """
        func.func @main(%a: index, %b: i1, %c: i8, %d: f32) -> (index, i1, i8, f32) {
          return %a, %b, %c, %d : index, i1, i8, f32
        }"""
    a, b, c, d = run(text, np.int64(3), True, 300, 0.1)
    assert type(a) is int and a == 3
    assert b.dtype == np.bool_ and c.dtype == np.int8 and c == 44
    assert d.dtype == np.float32


def test_calls_and_several_results() -> None:
    text = """
        func.func @main(%x: f32) -> (f32, f32) {
          %0:2 = call @swap(%x, %x) : (f32, f32) -> (f32, f32)
          return %0#1, %0#0 : f32, f32
        }
        func.func private @swap(%a: f32, %b: f32) -> (f32, f32) {
          %s = arith.addf %a, %b : f32
          return %b, %s : f32, f32
        }"""
    assert run(text, 2.0) == (4.0, 2.0)


def test_blocks_and_loops() -> None:
    text = """
        func.func @main(%n: i32) -> i32 {
          %zero = arith.constant 0 : i32
          %one = arith.constant 1 : i32
          cf.br ^loop(%n, %zero : i32, i32)
        ^loop(%i: i32, %sum: i32):
          %more = arith.cmpi sgt, %i, %zero : i32
          cf.cond_br %more, ^body, ^end
        ^body:
          %next = arith.addi %sum, %i : i32
          %less = arith.subi %i, %one : i32
          cf.br ^loop(%less, %next : i32, i32)
        ^end:
          return %sum : i32
        }"""
    assert run(text, 10_000) == (50_005_000,)


def test_recursion_has_a_frame_each() -> None:
    text = """
        func.func @main(%n: i32) -> i32 {
          %one = arith.constant 1 : i32
          %last = arith.cmpi sle, %n, %one : i32
          %r = scf.if %last -> (i32) {
            scf.yield %one : i32
          } else {
            %less = arith.subi %n, %one : i32
            %f = func.call @main(%less) : (i32) -> i32
            %m = arith.muli %n, %f : i32
            scf.yield %m : i32
          }
          return %r : i32
        }"""
    assert run(text, 10) == (3628800,)


def test_externals_and_indirect_calls() -> None:
    text = """
        func.func private @external(f32) -> f32
        func.func @main(%x: f32) -> f32 {
          %f = func.constant @external : (f32) -> f32
          %0 = func.call_indirect %f(%x) : (f32) -> f32
          return %0 : f32
        }"""
    assert run(text, 3.0, externals={"external": lambda x: x * 2}) == (6.0,)
    with pytest.raises(CoreIrError, match=r"IREE-IR-005.*@external is only declared"):
        run(text, 3.0)


def test_constants_come_from_the_store() -> None:
    store = ConstantStore()
    data = np.arange(4, dtype=np.float32)
    store.add_array(data, key="w")
    text = """
        func.func @main() -> tensor<4xf32> {
          %0 = arith.constant dense_resource<w> : tensor<4xf32>
          return %0 : tensor<4xf32>
        }"""
    assert np.array_equal(run(text, constants=store)[0], data)
    with pytest.raises(CoreIrError, match=r"IREE-IR-008.*no ConstantStore"):
        run(text)


def test_the_observer_sees_every_op_with_its_results() -> None:
    seen: list[tuple[str, tuple[Any, ...]]] = []
    text = "func.func @main(%x: f32) -> f32 { %0 = arith.addf %x, %x : f32 return %0 : f32 }"
    run(text, 1.0, observer=lambda op, results: seen.append((op.name, results)))
    assert seen == [("arith.addf", (2.0,))]


def test_tensors_are_released_after_their_last_use() -> None:
    import tracemalloc

    ops = "\n".join(f"%v{i + 1} = arith.addf %v{i}, %v{i} : tensor<100000xf32>" for i in range(50))
    text = f"""
        func.func @main(%v0: tensor<100000xf32>) -> tensor<100000xf32> {{
          {ops}
          return %v50 : tensor<100000xf32>
        }}"""
    interpreter = Interpreter(parse_module(text))
    x = np.zeros(100000, np.float32)
    interpreter.call("main", x)
    tracemalloc.start()
    try:
        interpreter.call("main", x)
        assert tracemalloc.get_traced_memory()[1] < 6 * x.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "takes 1 arguments, 0 were given"),
        ((np.zeros(4),), "dtype float64, expected float32"),
        ((np.zeros(5, np.float32),), r"shape \(5,\), expected tensor<4xf32>"),
        ((np.zeros((4, 1), np.float32),), r"shape \(4, 1\)"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], message: str) -> None:
    text = "func.func @main(%x: tensor<4xf32>) { return }"
    with pytest.raises(CoreIrError, match=f"IREE-IR-007.*{message}"):
        run(text, *arguments)


def test_unknown_function() -> None:
    with pytest.raises(CoreIrError, match=r"IREE-IR-006.*@nope; cause: the module has @main"):
        Interpreter(parse_module("func.func private @main()")).call("nope")


class Meaningless(Op, name="t.meaningless"):
    source = operand()
    out = result()


class Derived(Meaningless, name="t.derived"):
    pass


class Raises(Op, name="t.raises"):
    pass


class Stop(Op, name="t.stop"):
    pass


@implements(Raises)
def raises(frame: Any, op: Op) -> None:
    raise ZeroDivisionError("inside")


@implements_terminator(Stop)
def stop(frame: Any, op: Op) -> tuple[Any, ...]:
    return (42,)


def test_missing_meanings_name_op_and_place() -> None:
    module = parse_module("func.func @main(%x: f32) { return }")
    block = module.body.block.first.regions[0].block  # type: ignore[union-attr]
    op = Meaningless((block.args[0],), (ty.f32,))
    block.insert_before(op, block.terminator)
    with pytest.raises(CoreIrError, match=r"IREE-IR-005.*'t.meaningless'.*@implements"):
        Interpreter(module).call("main", 1.0)


def test_meanings_are_inherited() -> None:
    assert find_meaning(Derived) is None

    @implements(Meaningless)
    def meaning(frame: Any, op: Op, source: Any) -> Any:
        return source

    assert find_meaning(Derived) is meaning
    from iree_core_ir import interpreter

    del interpreter._meanings[Meaningless]
    interpreter._resolved.clear()


def test_terminators_may_have_meanings() -> None:
    module = parse_module("func.func @main() -> index { return }")
    block = module.body.block.first.regions[0].block  # type: ignore[union-attr]
    block.terminator.erase()
    block.append(Stop())
    assert Interpreter(module).call("main") == (42,)


def test_unexpected_exceptions_tell_the_op() -> None:
    module = parse_module("func.func @main() { return }")
    block = module.body.block.first.regions[0].block  # type: ignore[union-attr]
    block.insert_before(Raises(), block.terminator)
    with pytest.raises(ZeroDivisionError) as caught:
        Interpreter(module).call("main")
    assert caught.value.__notes__ == ["while interpreting 't.raises' at unknown"]


def test_forget_after_the_ir_changed() -> None:
    module = parse_module("func.func @main(%x: f32) -> f32 { %0 = arith.addf %x, %x : f32 return %0 : f32 }")
    interpreter = Interpreter(module)
    assert interpreter.call("main", 1.0) == (2.0,)
    block = module.body.block.first.regions[0].block  # type: ignore[union-attr]
    block.terminator.set_operands(block.args)
    interpreter.forget()
    assert interpreter.call("main", 1.0) == (1.0,)


@pytest.mark.parametrize(
    "text",
    [
        "5 : index",
        "-3 : i8",
        "true",
        "1.500000e+00 : f32",
        "1.500000e+00 : bf16",
        "dense<[1, 2]> : tensor<2xi32>",
        "dense<[[1.0], [2.0]]> : tensor<2x1xf64>",
        "dense<3> : tensor<1000xi8>",
    ],
)
def test_attributes_and_values(text: str) -> None:
    attribute: Any = parse_attribute(text)
    assert value_attribute(attribute_value(attribute), attribute.type) is attribute


def test_large_values_have_no_attribute() -> None:
    assert value_attribute(np.arange(65, dtype=np.int32), ty.TensorType((65,), ty.i32)) is None
    splat = value_attribute(np.broadcast_to(np.int32(1), (65,)), ty.TensorType((65,), ty.i32))
    assert isinstance(splat, DenseElementsAttr)


def test_values_that_are_no_constants() -> None:
    with pytest.raises(CoreIrError, match="IREE-IR-009"):
        attribute_value(parse_attribute("[1]"))
    with pytest.raises(CoreIrError, match="IREE-IR-008"):
        attribute_value(DenseResourceAttr("w", ty.TensorType((1,), ty.f32)))
    assert attribute_value(IntegerAttr(1, ty.i64)) == 1
    assert attribute_value(FloatAttr(0.1, ty.f32)) == np.float32(0.1)
    assert scalar(200, ty.i8) == -56 and scalar(-1, ty.ui8) == 255 and scalar(2.7, ty.index) == 2
