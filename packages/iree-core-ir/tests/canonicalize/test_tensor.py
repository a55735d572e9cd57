"""tensor: canonical forms keep the results, reach a fixed point and have the shape intended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Canonicalized = Callable[[str], Any]
X = np.arange(32, dtype=np.float32).reshape(4, 8)


def function(arguments: str, results: str, body: str, returned: str) -> str:
    return f"func.func @f({arguments}) -> ({results}) {{\n{body}\nreturn {returned} : {results}\n}}"


def same(c: Any, *arguments: Any) -> tuple[Any, ...]:
    """Runs before and after; the results agree and are returned."""
    before, after = c.run(*arguments)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    results: tuple[Any, ...] = after
    return results


DIMS = [
    # arguments, body defining %v, axis, the ops left
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.cast %x : tensor<4x?xf32> to tensor<?x?xf32>", 0, "tensor<?x?xf32>", []),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.cast %x : tensor<4x?xf32> to tensor<?x?xf32>", 1, "tensor<?x?xf32>", ["tensor.dim"]),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.empty(%i) : tensor<?x3xf32>", 0, "tensor<?x3xf32>", []),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.extract_slice %x[0, 0] [%i, 2] [1, 1] : tensor<4x?xf32> to tensor<?x2xf32>", 0, "tensor<?x2xf32>", []),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.extract_slice %x[0, 0] [1, %i] [1, 1] : tensor<4x?xf32> to tensor<?xf32>", 0, "tensor<?xf32>", []),
    ("%x: tensor<4x?xf32>, %i: index", "%y = tensor.empty(%i) : tensor<4x?xf32>\n%v = linalg.exp ins(%x : tensor<4x?xf32>) outs(%y : tensor<4x?xf32>) -> tensor<4x?xf32>", 1, "tensor<4x?xf32>", []),
    ("%x: tensor<4x?xf32>, %i: index", "%v = linalg.exp ins(%x : tensor<4x?xf32>) outs(%x : tensor<4x?xf32>) -> tensor<4x?xf32>", 1, "tensor<4x?xf32>", ["tensor.dim"]),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.expand_shape %x [[0, 1], [2]] output_shape [2, 2, %i] : tensor<4x?xf32> into tensor<2x2x?xf32>", 2, "tensor<2x2x?xf32>", []),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.collapse_shape %x [[0, 1]] : tensor<4x?xf32> into tensor<?xf32>", 0, "tensor<?xf32>", ["tensor.dim", "arith.muli"]),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.concat dim(1) %x, %x : (tensor<4x?xf32>, tensor<4x?xf32>) -> tensor<4x?xf32>", 1, "tensor<4x?xf32>", ["tensor.dim", "arith.addi"]),
    ("%x: tensor<4x?xf32>, %i: index", "%v = tensor.concat dim(0) %x, %x : (tensor<4x?xf32>, tensor<4x?xf32>) -> tensor<8x?xf32>", 1, "tensor<8x?xf32>", ["tensor.dim"]),
    ("%x: tensor<4x?xf32>, %i: index", "%f = arith.constant 0.0 : f32\n%v = tensor.pad %x low[0, 1] high[0, 2] {\n^bb0(%p: index, %q: index):\n tensor.yield %f : f32\n} : tensor<4x?xf32> to tensor<4x?xf32>", 1, "tensor<4x?xf32>", ["tensor.dim", "arith.addi"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "body", "axis", "type", "left"), DIMS)
def test_dims_come_from_where_the_size_is_known(
    canonicalized: Canonicalized, arguments: str, body: str, axis: int, type: str, left: list[str]
) -> None:
    body += f"\n%c = arith.constant {axis} : index\n%r = tensor.dim %v, %c : {type}"
    c = canonicalized(function(arguments, "index", body, "%r"))
    assert sorted(set(c.ops)) == sorted(left)
    if "output_shape" not in body:
        assert "tensor.dim %x" in c.text or not left
        same(c, X, 3 if "extract_slice" in body else 8)


def test_constants_spread_as_static_types(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%x: tensor<?x8xf32>, %f: f32",
            "tensor<?x?xf32>",
            """%c2 = arith.constant 2 : index
            %c4 = arith.constant 4 : index
            %0 = tensor.extract_slice %x[%c2, 0] [%c2, %c4] [1, %c2] : tensor<?x8xf32> to tensor<?x?xf32>
            %1 = tensor.empty(%c2, %c4) : tensor<?x?xf32>
            %2 = linalg.exp ins(%0 : tensor<?x?xf32>) outs(%1 : tensor<?x?xf32>) -> tensor<?x?xf32>
            %3 = tensor.splat %f[%c2] : tensor<?x4xf32>
            %4 = tensor.cast %3 : tensor<?x4xf32> to tensor<?x?xf32>
            %5 = tensor.concat dim(0) %2, %4 : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>""",
            "%5",
        )
    )
    assert "tensor.extract_slice %x[2, 0] [2, 4] [1, 2] : tensor<?x8xf32> to tensor<2x4xf32>" in c.text
    assert "-> tensor<2x4xf32>" in c.text and "-> tensor<4x4xf32>" in c.text
    assert c.ops.count("tensor.cast") == 1
    same(c, X, 5.0)


def test_pad_becomes_static(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%x: tensor<4x8xf32>, %f: f32, %i: index",
            "tensor<?x?xf32>",
            """%c1 = arith.constant 1 : index
            %0 = tensor.pad %x low[%c1, 0] high[%c1, %i] {
            ^bb0(%a: index, %b: index):
              tensor.yield %f : f32
            } : tensor<4x8xf32> to tensor<?x?xf32>""",
            "%0",
        )
    )
    assert "low[1, 0] high[1, %i]" in c.text and "tensor<6x?xf32>" in c.text
    same(c, X, -1.0, 2)


NOTHING = [
    "%r = tensor.cast %x : tensor<4x8xf32> to tensor<4x8xf32>",
    "%0 = tensor.cast %x : tensor<4x8xf32> to tensor<?x8xf32>\n%r = tensor.cast %0 : tensor<?x8xf32> to tensor<4x8xf32>",
    "%r = tensor.extract_slice %x[0, 0] [4, 8] [1, 1] : tensor<4x8xf32> to tensor<4x8xf32>",
    "%r = tensor.insert_slice %x into %y[0, 0] [4, 8] [1, 1] : tensor<4x8xf32> into tensor<4x8xf32>",
    "%0 = tensor.extract_slice %x[1, 0] [2, 8] [1, 1] : tensor<4x8xf32> to tensor<2x8xf32>\n%r = tensor.insert_slice %0 into %x[1, 0] [2, 8] [1, 1] : tensor<2x8xf32> into tensor<4x8xf32>",
    "%0 = tensor.insert_slice %x into %z[4, 0] [4, 8] [1, 1] : tensor<4x8xf32> into tensor<8x8xf32>\n%r = tensor.extract_slice %0[4, 0] [4, 8] [1, 1] : tensor<8x8xf32> to tensor<4x8xf32>",
    "%0 = tensor.collapse_shape %x [[0, 1]] : tensor<4x8xf32> into tensor<32xf32>\n%r = tensor.expand_shape %0 [[0, 1]] output_shape [4, 8] : tensor<32xf32> into tensor<4x8xf32>",
    "%0 = tensor.expand_shape %x [[0, 1], [2]] output_shape [2, 2, 8] : tensor<4x8xf32> into tensor<2x2x8xf32>\n%r = tensor.collapse_shape %0 [[0, 1], [2]] : tensor<2x2x8xf32> into tensor<4x8xf32>",
    "%r = tensor.concat dim(0) %x : (tensor<4x8xf32>) -> tensor<4x8xf32>",
    "%0 = tensor.empty() : tensor<0x8xf32>\n%r = tensor.concat dim(0) %x, %0 : (tensor<4x8xf32>, tensor<0x8xf32>) -> tensor<4x8xf32>",
    "%f = arith.constant 0.0 : f32\n%r = tensor.pad %x low[0, 0] high[0, 0] {\n^bb0(%a: index, %b: index):\n tensor.yield %f : f32\n} : tensor<4x8xf32> to tensor<4x8xf32>",
    "%s = arith.constant dense<[4, 8]> : tensor<2xi64>\n%r = tensor.reshape %x(%s) : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<4x8xf32>",
    "%r = tensor.bitcast %x : tensor<4x8xf32> to tensor<4x8xf32>",
]  # fmt: skip


@pytest.mark.parametrize("body", NOTHING)
def test_what_changes_nothing_goes(canonicalized: Canonicalized, body: str) -> None:
    c = canonicalized(
        function(
            "%x: tensor<4x8xf32>, %y: tensor<4x8xf32>, %z: tensor<8x8xf32>", "tensor<4x8xf32>", body, "%r"
        )
    )
    assert c.ops == []
    same(c, X, -X, np.zeros((8, 8), np.float32))


def test_dynamic_identities(canonicalized: Canonicalized) -> None:
    """All of a dynamic tensor is recognised through its dims."""
    c = canonicalized(
        function(
            "%x: tensor<?x8xf32>",
            "tensor<?x8xf32>, tensor<?x8xf32>",
            """%c0 = arith.constant 0 : index
            %d = tensor.dim %x, %c0 : tensor<?x8xf32>
            %0 = tensor.extract_slice %x[0, 0] [%d, 8] [1, 1] : tensor<?x8xf32> to tensor<?x8xf32>
            %1 = tensor.expand_shape %x [[0, 1], [2]] output_shape [%d, 1, 8] : tensor<?x8xf32> into tensor<?x1x8xf32>
            %2 = tensor.collapse_shape %1 [[0, 1], [2]] : tensor<?x1x8xf32> into tensor<?x8xf32>""",
            "%0, %2",
        )
    )
    assert c.ops == []
    same(c, X)


@pytest.mark.parametrize(
    ("body", "result", "left"),
    [
        ("%0 = tensor.extract_slice %x[1, 2] [3, 4] [1, 1] : tensor<4x8xf32> to tensor<3x4xf32>\n%r = tensor.extract_slice %0[1, 0] [1, 2] [1, 2] : tensor<3x4xf32> to tensor<2xf32>", "tensor<2xf32>", "tensor.extract_slice %x[2, 2] [1, 2] [1, 2] : tensor<4x8xf32> to tensor<2xf32>"),
        ("%0 = tensor.extract_slice %x[1, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<8xf32>\n%r = tensor.extract_slice %0[3] [4] [1] : tensor<8xf32> to tensor<4xf32>", "tensor<4xf32>", "tensor.extract_slice %x[1, 3] [1, 4] [1, 1] : tensor<4x8xf32> to tensor<4xf32>"),
        ("%0 = tensor.expand_shape %x [[0], [1, 2]] output_shape [4, 2, 4] : tensor<4x8xf32> into tensor<4x2x4xf32>\n%r = tensor.collapse_shape %0 [[0, 1], [2]] : tensor<4x2x4xf32> into tensor<8x4xf32>", "tensor<8x4xf32>", "tensor.expand_shape"),
        ("%0 = tensor.expand_shape %x [[0], [1, 2]] output_shape [4, 2, 4] : tensor<4x8xf32> into tensor<4x2x4xf32>\n%r = tensor.collapse_shape %0 [[0, 1, 2]] : tensor<4x2x4xf32> into tensor<32xf32>", "tensor<32xf32>", "tensor.collapse_shape %x [[0, 1]] : tensor<4x8xf32> into tensor<32xf32>"),
        ("%0 = tensor.expand_shape %x [[0, 1], [2]] output_shape [2, 2, 8] : tensor<4x8xf32> into tensor<2x2x8xf32>\n%r = tensor.expand_shape %0 [[0], [1], [2, 3]] output_shape [2, 2, 4, 2] : tensor<2x2x8xf32> into tensor<2x2x4x2xf32>", "tensor<2x2x4x2xf32>", "tensor.expand_shape %x [[0, 1], [2, 3]] output_shape [2, 2, 4, 2] : tensor<4x8xf32> into tensor<2x2x4x2xf32>"),
        ("%s = arith.constant dense<[2, 16]> : tensor<2xi64>\n%t = arith.constant dense<[8, 4]> : tensor<2xi64>\n%0 = tensor.reshape %x(%s) : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<?x?xf32>\n%1 = tensor.reshape %0(%t) : (tensor<?x?xf32>, tensor<2xi64>) -> tensor<?x?xf32>\n%r = tensor.cast %1 : tensor<?x?xf32> to tensor<8x4xf32>", "tensor<8x4xf32>", "tensor.expand_shape"),
    ],
)  # fmt: skip
def test_compositions(canonicalized: Canonicalized, body: str, result: str, left: str) -> None:
    c = canonicalized(function("%x: tensor<4x8xf32>", result, body, "%r"))
    assert left in c.text
    assert "tensor.reshape" not in c.text
    same(c, X)


@pytest.mark.parametrize(
    ("shape", "target"), [((4, 6), (24,)), ((24,), (2, 3, 4)), ((4, 6), (6, 4)), ((2, 3, 4), (4, 3, 2)), ((1, 1), ()), ((), (1, 1, 1)), ((4, 1, 6), (1, 24))]
)  # fmt: skip
def test_static_reshapes_become_collapse_and_expand(
    canonicalized: Canonicalized, shape: tuple[int, ...], target: tuple[int, ...]
) -> None:
    a, b = (f"tensor<{'x'.join([*map(str, s), 'f32'])}>" for s in (shape, target))
    c = canonicalized(
        function(
            f"%x: {a}, %s: tensor<{len(target)}xi64>",
            b,
            f"%r = tensor.reshape %x(%s) : ({a}, tensor<{len(target)}xi64>) -> {b}",
            "%r",
        )
    )
    assert "tensor.reshape" not in c.text and len(c.ops) <= 2
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    same(c, x, np.array(target, np.int64))


def test_elements_of_what_is_known(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%f: f32, %g: f32, %i: index",
            "f32, f32, f32, i64, f32",
            """%c1 = arith.constant 1 : index
            %0 = tensor.from_elements %f, %g : tensor<2xf32>
            %1 = tensor.extract %0[%c1] : tensor<2xf32>
            %2 = tensor.splat %f[%i] : tensor<?xf32>
            %3 = tensor.extract %2[%c1] : tensor<?xf32>
            %e = tensor.empty(%i) : tensor<?xf32>
            %4 = linalg.fill ins(%g : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
            %5 = tensor.extract %4[%c1] : tensor<?xf32>
            %d = arith.constant dense<[5, 6, 7]> : tensor<3xi64>
            %6 = tensor.extract %d[%c1] : tensor<3xi64>
            %h = arith.constant 2.5 : f32
            %7 = tensor.from_elements %h, %h : tensor<2xf32>
            %8 = tensor.extract %7[%c1] : tensor<2xf32>""",
            "%1, %3, %5, %6, %8",
        )
    )
    assert c.ops == []
    assert same(c, 1.0, 2.0, 4)[3] == 6


def test_constants_are_reshaped_and_sliced(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "",
            "tensor<2x2xi32>, tensor<3xf32>, tensor<2xf32>",
            """%a = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
            %0 = tensor.expand_shape %a [[0, 1]] output_shape [2, 2] : tensor<4xi32> into tensor<2x2xi32>
            %b = arith.constant dense<1.5> : tensor<4x8xf32>
            %1 = tensor.extract_slice %b[1, 1] [1, 3] [1, 2] : tensor<4x8xf32> to tensor<3xf32>
            %f = arith.constant 2.0 : f32
            %2 = tensor.splat %f : tensor<2xf32>""",
            "%0, %1, %2",
        )
    )
    assert c.ops == []
    same(c)


def test_shapes_of_empty_tensors(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%i: index",
            "tensor<?x4xf32>, tensor<?xf32>, tensor<2x?x2xf32>",
            """%e = tensor.empty(%i) : tensor<?x4xf32>
            %0 = tensor.extract_slice %e[1, 0] [%i, 4] [1, 1] : tensor<?x4xf32> to tensor<?x4xf32>
            %1 = tensor.collapse_shape %e [[0, 1]] : tensor<?x4xf32> into tensor<?xf32>
            %g = tensor.empty(%i) : tensor<2x?xf32>
            %2 = tensor.expand_shape %g [[0], [1, 2]] output_shape [2, %i, 2] : tensor<2x?xf32> into tensor<2x?x2xf32>""",
            "%0, %1, %2",
        )
    )
    assert sorted(set(c.ops)) == ["arith.muli", "tensor.empty"]


def test_wrong_constants_stay_run_time_errors(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%x: tensor<4xf32>",
            "tensor<?xf32>, f32",
            """%n = arith.constant -1 : index
            %0 = tensor.empty(%n) : tensor<?xf32>
            %c9 = arith.constant 9 : index
            %1 = tensor.extract %x[%c9] : tensor<4xf32>""",
            "%0, %1",
        )
    )
    assert "tensor.empty(%n) : tensor<?xf32>" in c.text and "tensor.extract %x[%c9]" in c.text


def test_casts_that_claim_something_new_stay(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%x: tensor<?x?xf32>",
            "tensor<?x?xf32>",
            """%0 = tensor.cast %x : tensor<?x?xf32> to tensor<4x?xf32>
            %1 = tensor.cast %0 : tensor<4x?xf32> to tensor<?x8xf32>
            %2 = tensor.cast %1 : tensor<?x8xf32> to tensor<?x?xf32>""",
            "%2",
        )
    )
    assert "tensor<4x?xf32>" in c.text or c.ops == []
