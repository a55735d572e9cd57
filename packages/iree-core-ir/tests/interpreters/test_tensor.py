"""tensor: meanings against numpy, bounds checked, zero sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_core_ir.errors import CoreIrError

Evaluate = Callable[..., Any]
A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
T = "tensor<2x3x4xf32>"


@pytest.mark.parametrize(
    ("offsets", "sizes", "strides"),
    [
        ((0, 0, 0), (2, 3, 4), (1, 1, 1)),
        ((1, 0, 1), (1, 2, 2), (1, 2, 2)),
        ((0, 2, 3), (2, 3, 4), (1, -1, -1)),
        ((0, 1, 0), (2, 0, 4), (1, 1, 1)),
        ((2, 0, 0), (0, 3, 4), (1, 1, 1)),
        ((0, 0, 2), (2, 3, 4), (1, 1, 0)),
    ],
)
def test_extract_and_insert_slice(run_text: Evaluate, offsets: Any, sizes: Any, strides: Any) -> None:
    index = np.ix_(*[o + s * np.arange(n) for o, n, s in zip(offsets, sizes, strides, strict=True)])
    box = "[{}] [{}] [{}]".format(*(", ".join(map(str, v)) for v in (offsets, sizes, strides)))
    slice_type = f"tensor<{'x'.join(map(str, sizes))}xf32>"
    text = f"""func.func @f(%a: {T}, %b: {slice_type}) -> ({slice_type}, {T}) {{
      %0 = tensor.extract_slice %a{box} : {T} to {slice_type}
      %1 = tensor.insert_slice %b into %a{box} : {slice_type} into {T}
      return %0, %1 : {slice_type}, {T}
    }}"""
    new = np.full(sizes, -1, np.float32)
    taken, changed = run_text(text, A, new)
    expected = A.copy()
    expected[index] = new
    np.testing.assert_array_equal(taken, A[index])
    np.testing.assert_array_equal(changed, expected)
    assert A[0, 0, 0] == 0, "operands are never written"


def test_slices_with_dropped_dims(run_text: Evaluate) -> None:
    text = """func.func @f(%a: tensor<2x3x4xf32>, %i: index) -> (tensor<4xf32>, tensor<2x3x4xf32>) {
      %0 = tensor.extract_slice %a[1, %i, 0] [1, 1, 4] [1, 1, 1] : tensor<2x3x4xf32> to tensor<4xf32>
      %1 = tensor.insert_slice %0 into %a[0, 0, 0] [1, 1, 4] [1, 1, 1] : tensor<4xf32> into tensor<2x3x4xf32>
      return %0, %1 : tensor<4xf32>, tensor<2x3x4xf32>
    }"""
    taken, changed = run_text(text, A, 2)
    np.testing.assert_array_equal(taken, A[1, 2])
    np.testing.assert_array_equal(changed[0, 0], A[1, 2])
    with pytest.raises(CoreIrError, match=r"IREE-IR-012.*leaves dim 1"):
        run_text(text, A, 3)


def test_elements_are_bounds_checked(evaluate: Evaluate) -> None:
    get = "tensor.extract %a[%b] : tensor<?xf32>"
    put = "tensor.insert %c into %a[%b] : tensor<?xf32>"
    x = np.array([1, 2, 3], np.float32)
    assert evaluate(get, ["tensor<?xf32>", "index"], "f32", x, 2) == 3
    result = evaluate(put, ["tensor<?xf32>", "index", "f32"], "tensor<?xf32>", x, 1, 9.0)
    np.testing.assert_array_equal(result, [1, 9, 3])
    for bad in (3, -1):
        with pytest.raises(CoreIrError, match="outside dim 0 of size 3"):
            evaluate(get, ["tensor<?xf32>", "index"], "f32", x, bad)
        with pytest.raises(CoreIrError, match="outside dim 0 of size 3"):
            evaluate(put, ["tensor<?xf32>", "index", "f32"], "tensor<?xf32>", x, bad, 9.0)


def test_index_elements_are_python_ints(evaluate: Evaluate) -> None:
    value = evaluate(
        "tensor.extract %a[%b] : tensor<2xindex>", ["tensor<2xindex>", "index"], "index", np.array([5, 6]), 1
    )
    assert type(value) is int and value == 6


@pytest.mark.parametrize(
    ("low", "high"),
    [((1, 2), (0, 3)), ((0, 0), (0, 0)), ((-1, 0), (2, -1)), ((-2, 0), (0, -3)), ((3, -3), (0, 3))],
)
def test_pad(run_text: Evaluate, low: tuple[int, int], high: tuple[int, int]) -> None:
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    shape = [n + a + b for n, a, b in zip(x.shape, low, high, strict=True)]
    type = f"tensor<{shape[0]}x{shape[1]}xi32>"
    text = f"""func.func @f(%x: tensor<2x3xi32>, %v: i32) -> {type} {{
      %0 = tensor.pad %x low[{low[0]}, {low[1]}] high[{high[0]}, {high[1]}] {{
      ^bb0(%i: index, %j: index):
        tensor.yield %v : i32
      }} : tensor<2x3xi32> to {type}
      return %0 : {type}
    }}"""
    outside = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)], constant_values=7)
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for a, b, n in zip(low, high, outside.shape, strict=True))
    np.testing.assert_array_equal(run_text(text, x, 7)[0], outside[cut])


def test_pad_value_by_position(run_text: Evaluate) -> None:
    text = """func.func @f(%x: tensor<1x2xindex>) -> tensor<3x4xindex> {
      %0 = tensor.pad %x low[1, 1] high[1, 1] {
      ^bb0(%i: index, %j: index):
        %c10 = arith.constant 10 : index
        %0 = arith.muli %i, %c10 : index
        %1 = arith.addi %0, %j : index
        tensor.yield %1 : index
      } : tensor<1x2xindex> to tensor<3x4xindex>
      return %0 : tensor<3x4xindex>
    }"""
    expected = np.arange(3)[:, None] * 10 + np.arange(4)
    expected[1, 1:3] = -1
    np.testing.assert_array_equal(run_text(text, np.full((1, 2), -1))[0], expected)


def test_generate_splat_and_from_elements(run_text: Evaluate) -> None:
    text = """func.func @f(%n: index, %f: f32) -> (tensor<?x3xindex>, tensor<?x2xf32>, tensor<2x2xf32>) {
      %0 = tensor.generate %n {
      ^bb0(%i: index, %j: index):
        %1 = arith.subi %i, %j : index
        tensor.yield %1 : index
      } : tensor<?x3xindex>
      %2 = tensor.splat %f[%n] : tensor<?x2xf32>
      %c = arith.constant 1.0 : f32
      %3 = tensor.from_elements %f, %c, %c, %f : tensor<2x2xf32>
      return %0, %2, %3 : tensor<?x3xindex>, tensor<?x2xf32>, tensor<2x2xf32>
    }"""
    for n in (0, 2):
        generated, splat, elements = run_text(text, n, 5.0)
        np.testing.assert_array_equal(generated, np.arange(n)[:, None] - np.arange(3))
        np.testing.assert_array_equal(splat, np.full((n, 2), 5, np.float32))
        np.testing.assert_array_equal(elements, [[5, 1], [1, 5]])


def test_reshapes_are_row_major(run_text: Evaluate) -> None:
    text = """func.func @f(%x: tensor<2x3x4xf32>, %s: tensor<2xi64>, %n: index)
        -> (tensor<6x4xf32>, tensor<?x?xf32>, tensor<2x?x3x2x2xf32>) {
      %0 = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x3x4xf32> into tensor<6x4xf32>
      %1 = tensor.reshape %x(%s) : (tensor<2x3x4xf32>, tensor<2xi64>) -> tensor<?x?xf32>
      %2 = tensor.expand_shape %x [[0, 1], [2], [3, 4]] output_shape [2, %n, 3, 2, 2]
        : tensor<2x3x4xf32> into tensor<2x?x3x2x2xf32>
      return %0, %1, %2 : tensor<6x4xf32>, tensor<?x?xf32>, tensor<2x?x3x2x2xf32>
    }"""
    a, b, c = run_text(text, A, np.array([12, 2]), 1)
    np.testing.assert_array_equal(a, A.reshape(6, 4))
    np.testing.assert_array_equal(b, A.reshape(12, 2))
    np.testing.assert_array_equal(c, A.reshape(2, 1, 3, 2, 2))
    with pytest.raises(CoreIrError, match="reshaped to"):
        run_text(text, A, np.array([5, 5]), 1)
    with pytest.raises(CoreIrError, match="expanded to"):
        run_text(text, A, np.array([12, 2]), 2)


def test_concat_cast_dim_rank(run_text: Evaluate) -> None:
    text = """func.func @f(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>, %i: index)
        -> (tensor<?x4xf32>, tensor<2x4xf32>, index, index) {
      %0 = tensor.concat dim(0) %x, %y : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
      %1 = tensor.cast %x : tensor<?x4xf32> to tensor<2x4xf32>
      %2 = tensor.dim %x, %i : tensor<?x4xf32>
      %3 = tensor.rank %x : tensor<?x4xf32>
      return %0, %1, %2, %3 : tensor<?x4xf32>, tensor<2x4xf32>, index, index
    }"""
    x, y = A[0, :2], A[1, :0]
    joined, cast, dim, rank = run_text(text, x, y, 0)
    np.testing.assert_array_equal(joined, x)
    np.testing.assert_array_equal(cast, x)
    assert (dim, rank) == (2, 2)
    with pytest.raises(CoreIrError, match="is not tensor<2x4xf32>"):
        run_text(text, A[0], y, 0)
    with pytest.raises(CoreIrError, match="dim 2 of a tensor of rank 2"):
        run_text(text, x, y, 2)


def test_bitcast_keeps_bits(evaluate: Evaluate) -> None:
    x = np.array([1.0, -0.0, np.nan], np.float32)
    result = evaluate(
        "tensor.bitcast %a : tensor<3xf32> to tensor<3xi32>", ["tensor<3xf32>"], "tensor<3xi32>", x
    )
    np.testing.assert_array_equal(result, x.view(np.int32))


def test_empty_is_the_same_each_run(evaluate: Evaluate) -> None:
    for name, dtype in (("f32", np.float32), ("i8", np.int8), ("i1", np.bool_), ("index", np.int64)):
        type = f"tensor<2x3x{name}>"
        runs = [evaluate(f"tensor.empty() : {type}", [], type) for _ in range(2)]
        assert runs[0].shape == (2, 3) and runs[0].dtype == dtype
        assert runs[0].tobytes() == runs[1].tobytes()
