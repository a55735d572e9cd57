"""Known values: scalars and splats of every kind of number, nothing of what is no number."""

from __future__ import annotations

from typing import Any

import pytest

from iree_core_ir.dialects import arith
from iree_core_ir.ir.attributes import DenseElementsAttr, DenseResourceAttr, FloatAttr, IntegerAttr
from iree_core_ir.ir.known_values import known_attribute, known_integer, known_number
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import ComplexType, TensorType, VectorType, bf16, f32, i1, i8, i32, index


def test_a_scalar_is_known() -> None:
    five = arith.Constant.make(IntegerAttr(5, index)).result
    assert known_attribute(five) is IntegerAttr(5, index)
    assert known_integer(five) == known_number(five) == 5
    half = arith.Constant.make(FloatAttr(0.5, f32)).result
    assert known_number(half) == 0.5
    assert known_integer(half) is None


def test_an_argument_is_not_known() -> None:
    argument = Block([i32]).args[0]
    assert known_attribute(argument) is None
    assert known_number(argument) is None
    assert known_integer(argument) is None


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (VectorType((4,), i8), -3),
        (VectorType((2,), i1), True),
        (TensorType((3, 2), f32), 1.5),
        (TensorType((3, 2), bf16), -2.0),
        (TensorType((0,), i32), 7),
    ],
    ids=str,
)
def test_a_splat_is_the_number_of_its_elements(type: Any, value: Any) -> None:
    splat = arith.Constant.make(DenseElementsAttr.from_splat(value, type)).result
    assert known_number(splat) == value
    assert known_integer(splat) == (None if isinstance(value, float) else value)


def test_other_constants_are_no_number() -> None:
    several = DenseElementsAttr.from_array([1, 2], VectorType((2,), i32))
    complex_numbers = DenseElementsAttr.from_splat(1 + 2j, TensorType((2,), ComplexType(f32)))
    elsewhere = DenseResourceAttr("weights", TensorType((2,), f32))
    for attribute in (several, complex_numbers, elsewhere):
        value = arith.Constant.make(attribute).result
        assert known_attribute(value) is attribute
        assert known_number(value) is None
