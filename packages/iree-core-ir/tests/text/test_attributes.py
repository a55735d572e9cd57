"""Attributes and types: text -> object -> the same text, and the object the text means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.constants import ConstantStore
from iree_core_ir.errors import ParseError
from iree_core_ir.ir import attributes as at
from iree_core_ir.ir import types as ty
from iree_core_ir.text.parser import Parser, parse_attribute, parse_type
from iree_core_ir.text.printer import attribute_text

TYPES = [
    "i1",
    "si8",
    "ui32",
    "i117",
    "index",
    "none",
    "f16",
    "bf16",
    "tf32",
    "f80",
    "f8E4M3FN",
    "f8E8M0FNU",
    "complex<f32>",
    "tuple<i32, tuple<>>",
    "tensor<f32>",
    "tensor<4x?xf32>",
    "tensor<0x4xi1>",
    "tensor<*xf32>",
    'tensor<4xf32, "layout">',
    "tensor<2xcomplex<f64>>",
    "memref<4x?xf32>",
    "memref<4xf32, strided<[1]>>",
    "memref<4xf32, strided<[?, 1], offset: ?>>".replace("4x", "4x4x"),
    "memref<4x4xf32, affine_map<(d0, d1) -> (d1, d0)>, 3>",
    "memref<4xf32, 1>",
    "memref<*xf32>",
    "memref<2xmemref<3xf32>>",
    "vector<16xf32>",
    "vector<index>",
    "() -> ()",
    "(i32) -> f32",
    "(i32, index) -> (f32, f64)",
    "() -> (() -> ())",
]


@pytest.mark.parametrize("text", TYPES)
def test_types_round_trip(text: str) -> None:
    type = parse_type(text)
    assert attribute_text(type) == text
    assert parse_type(attribute_text(type)) is type


def test_shaped_types_accept_space_and_comments() -> None:
    assert parse_type("tensor< 4 x ? x f32 >") is ty.TensorType((4, ty.DYNAMIC), ty.f32)


@pytest.mark.parametrize(
    "text",
    [
        "tensor<4x",
        "tensor<f7>",
        "i0",
        "vector<[4]xf32>",
        "memref<4xf32, 1, 2, 3>",
        "!nobody.t",
        "tensor<-1xf32>",
    ],
)
def test_bad_types(text: str) -> None:
    with pytest.raises(ParseError):
        parse_type(text)


ATTRIBUTES = [
    "unit",
    "true",
    "1 : i64",
    "-5 : i8",
    "7 : index",
    "1.000000e+00 : f32",
    "1.000000e-01 : f64",
    "-0.000000e+00 : f32",
    "0x7FC00000 : f32",
    "0xFF80 : bf16",
    '"text\\0A"',
    "@a",
    '@"odd name"::@b',
    "i32",
    "tensor<4xf32>",
    "[]",
    '[1, "a", [unit], 2 : i32, 2.000000e+00]',
    '{a = 1 : i64, b, "odd key" = @x}',
    "array<i64>",
    "array<i64: 1, -2>",
    "array<i1: true, false>",
    "array<f32: 1.000000e+00>",
    "affine_map<() -> ()>",
    "affine_map<(d0, d1)[s0] -> (d0 + s0 * 2 - 3, d1 floordiv 4, (d0 + d1) mod 5)>",
    "affine_set<(d0) : (d0 - 1 >= 0)>",
    "dense<1.000000e+00> : tensor<4xf32>",
    "dense<[1, 2]> : tensor<2xi32>",
    "dense<[[true, false]]> : tensor<1x2xi1>",
    "dense<> : tensor<0xf32>",
    "dense<5> : tensor<i32>",
    "dense<(1.000000e+00, 2.000000e+00)> : tensor<2xcomplex<f32>>",
    "dense<[-8, 7]> : vector<2xi4>",
    "dense<0xFFC00000> : tensor<2xf32>",
    "dense_resource<weights> : tensor<3x4xf32>",
    'dense_resource<"odd/key"> : tensor<3xf32>',
    "strided<[4, ?]>",
    'loc("a":1:2)',
    'loc(fused["a", callsite("b" at unknown)])',
    'loc("name"("f":3:4))',
]


@pytest.mark.parametrize("text", ATTRIBUTES)
def test_attributes_round_trip(text: str) -> None:
    attribute = parse_attribute(text)
    assert attribute_text(attribute) == text
    assert parse_attribute(attribute_text(attribute)) is attribute


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", at.IntegerAttr(1, ty.i64)),
        ("1.5", at.FloatAttr(1.5, ty.f64)),
        ("255 : i8", at.IntegerAttr(-1, ty.i8)),
        ("255 : ui8", at.IntegerAttr(255, ty.ui8)),
        ("0x3F800000 : f32", at.FloatAttr(1.0, ty.f32)),
        ("1 : f32", at.FloatAttr(1.0, ty.f32)),
        ("true", at.IntegerAttr(1, ty.i1)),
        ('dense<"0x0000803F00000040"> : tensor<2xf32>', at.DenseElementsAttr.from_array(
            np.array([1, 2], np.float32), ty.TensorType((2,), ty.f32))),
        ('dense<"0x05"> : tensor<3xi1>', at.DenseElementsAttr.from_array(
            np.array([True, False, True]), ty.TensorType((3,), ty.i1))),
        (
            "dense<[1.0, 1.0]> : tensor<2xf32>",
            at.DenseElementsAttr.from_splat(1, ty.TensorType((2,), ty.f32)),
        ),
    ],
)  # fmt: skip
def test_meanings(text: str, expected: at.Attribute) -> None:
    assert parse_attribute(text) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("256 : i8", "does not fit i8"),
        ("-1 : ui8", "does not fit ui8"),
        ("2 : i1", "does not fit i1"),
        ("1.5 : i32", "is no i32"),
        ("1 : tensor<*xf32>", "cannot have type"),
        ("dense<[1, 2]> : tensor<3xi32>", "expected 3 elements, got 2"),
        ("dense<[[1]]> : tensor<1xi32>", "nested deeper"),
        ("dense<1> : tensor<?xi32>", "static"),
        ('dense<"0x00"> : tensor<2xf32>', "do not hold 2 elements"),
        ("{a, a}", "occurs twice"),
        ("#nobody.x", "unknown attribute"),
        ("array<i8: 300>", "does not fit"),
        ("affine_map<(d0, d0) -> ()>", "declared twice"),
        ("affine_map<(d0) -> (d0 mod 0)>", "not positive"),
        ("[1", "expected ',' or ']'"),
    ],
)
def test_bad_attributes(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_attribute(text)


@given(st.floats(width=64), st.sampled_from(["f16", "bf16", "f32", "f64", "f8E5M2", "f8E4M3FN"]))
def test_every_float_of_every_type_survives(value: float, name: str) -> None:
    attribute = at.FloatAttr(value, ty.FloatType(name))
    assert parse_attribute(attribute_text(attribute)) is attribute


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([8, 16, 32, 64]))
def test_every_integer_survives(value: int, width: int) -> None:
    value = (value + 2 ** (width - 1)) % 2**width - 2 ** (width - 1)
    attribute = at.IntegerAttr(value, ty.IntegerType(width))
    assert parse_attribute(attribute_text(attribute)) is attribute


def test_float_attributes_are_rounded_to_their_type() -> None:
    assert at.FloatAttr(0.1, ty.f32) is at.FloatAttr(float(np.float32(0.1)), ty.f32)
    assert math.isinf(at.FloatAttr(1e300, ty.f32).value)
    assert at.FloatAttr(-0.0, ty.f32) is not at.FloatAttr(0.0, ty.f32)


def test_large_dense_goes_to_the_store() -> None:
    text = f"dense<[{', '.join(map(str, range(100)))}]> : tensor<100xi32>"
    store = ConstantStore()
    attribute = Parser(text, constants=store).attribute()
    assert attribute == at.DenseResourceAttr("c0", ty.TensorType((100,), ty.i32))
    assert np.array_equal(store.array("c0"), np.arange(100, dtype=np.int32))
    # Without a store it stays inline, printed as hex beyond 100 elements.
    inline = parse_attribute(text.replace("99]", "99, 100]").replace("100x", "101x"))
    assert attribute_text(inline).startswith('dense<"0x00000000010000')
    assert parse_attribute(attribute_text(inline)) is inline


def test_opaque_only_under_the_flag() -> None:
    attribute = parse_attribute("#nobody.x<1, [2]>", allow_unregistered=True)
    assert attribute is at.OpaqueAttr("#nobody.x<1, [2]>")
    assert attribute_text(attribute) == "#nobody.x<1, [2]>"
    type = parse_type("!nobody.t<i32 -> f32>", allow_unregistered=True)
    assert attribute_text(type) == "!nobody.t<i32 -> f32>"


def test_attribute_repr_and_pickle_keep_identity() -> None:
    import copy
    import pickle

    for text in ATTRIBUTES:
        attribute = parse_attribute(text)
        assert pickle.loads(pickle.dumps(attribute)) is attribute
        assert copy.deepcopy(attribute) is attribute
        assert str(attribute) == text or text.startswith("loc")
