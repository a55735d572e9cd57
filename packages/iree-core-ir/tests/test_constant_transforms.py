"""Each transform against numpy (in float64 where it computes)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.constants import ConstantStore


def evaluate(kind: str, sources: list[Any], shape: Any, element_type: str, **parameters: Any) -> Any:
    store = ConstantStore()
    keys = [store.add_array(np.asarray(source)) for source in sources]
    return store.array(store.add_transform(kind, keys, shape, element_type, parameters))


A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_views() -> None:
    assert np.array_equal(
        evaluate("transpose", [A], (4, 2, 3), "f32", permutation=[2, 0, 1]), A.transpose(2, 0, 1)
    )
    assert np.array_equal(evaluate("reshape", [A], (6, 4), "f32"), A.reshape(6, 4))
    assert np.array_equal(
        evaluate("slice", [A], (1, 2, 2), "f32", offsets=[1, 0, 1], sizes=[1, 2, 2], strides=[1, 2, 2]),
        A[1:2, 0:3:2, 1:4:2],
    )
    assert np.array_equal(evaluate("broadcast", [A[0, 0]], (5, 4), "f32"), np.broadcast_to(A[0, 0], (5, 4)))
    assert np.array_equal(
        evaluate("broadcast", [A[0, :, 0]], (5, 3, 2), "f32", dimensions=[1]),
        np.broadcast_to(A[0, :, 0][None, :, None], (5, 3, 2)),
    )
    assert np.shares_memory(evaluate("reshape", [A], (24,), "f32"), A)


def test_pad_and_concat() -> None:
    padded = evaluate("pad", [A], (3, 3, 6), "f32", low=[1, 0, 0], high=[0, 0, 2], value=7.0)
    assert np.array_equal(padded, np.pad(A, [(1, 0), (0, 0), (0, 2)], constant_values=7))
    assert np.array_equal(evaluate("concat", [A, A], (2, 6, 4), "f32", axis=1), np.concatenate([A, A], 1))


@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
@pytest.mark.parametrize("name", ["f32", "f64", "f16", "bf16", "i8", "i64"])
def test_arithmetic_rounds_once(kind: str, name: str) -> None:
    from iree_base.element_types import element_type

    rng = np.random.default_rng(0)
    dtype = element_type(name).dtype
    a, b = ((rng.standard_normal((3, 4)) * 20).astype(dtype) for _ in range(2))
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[kind]
    wide = np.int64 if name[0] == "i" else np.float64
    with np.errstate(over="ignore"):
        expected = function(a.astype(wide), b.astype(wide)).astype(dtype)
    assert np.array_equal(evaluate(kind, [a, b], (3, 4), name), expected)


def test_scale_rows() -> None:
    scale = np.array([1, 10, 100], np.float32)
    assert np.array_equal(
        evaluate("scale_rows", [A, scale], A.shape, "f32", axis=1), A * scale[None, :, None]
    )
    assert np.array_equal(evaluate("scale_rows", [A, scale[:2]], A.shape, "f32"), A * scale[:2, None, None])


def test_cast() -> None:
    values = np.array([0.4, -1.6, 3e9, -3e9, np.nan, np.inf], np.float32)
    assert evaluate("cast", [values], (6,), "i32").tolist() == [0, -1, 2**31 - 1, -(2**31), 0, 2**31 - 1]
    assert evaluate("cast", [values], (6,), "ui8").tolist() == [0, 0, 255, 0, 0, 255]
    big = np.array([9.3e18, -9.3e18])
    assert evaluate("cast", [big], (2,), "i64").tolist() == [2**63 - 1, -(2**63)]
    assert evaluate("cast", [values], (6,), "i1").tolist() == [True] * 6
    assert evaluate("cast", [A], A.shape, "bf16").dtype == ml_dtypes.bfloat16
    third = np.array([1 / 3], np.float32)
    assert evaluate("cast", [third], (1,), "f16")[0] == np.float16(1 / 3)


def test_cast_of_bits_that_mean_another_type() -> None:
    signless = np.array([-1, -8, 7], ml_dtypes.int4)
    assert evaluate("cast", [signless], (3,), "i8").tolist() == [-1, -8, 7]
    assert evaluate("cast", [signless], (3,), "i8", source="ui4").tolist() == [15, 8, 7]


def pack_by_definition(
    source: Any, positions: list[int], tiles: list[int], permutation: list[int], fill: float
) -> Any:
    outer = list(source.shape)
    for position, tile in zip(positions, tiles, strict=True):
        outer[position] = -(-outer[position] // tile)
    result = np.full([outer[p] for p in permutation] + tiles, fill, source.dtype)
    for index in np.ndindex(*source.shape):
        o, inner = list(index), []
        for position, tile in zip(positions, tiles, strict=True):
            o[position], rest = divmod(index[position], tile)
            inner.append(rest)
        result[tuple([o[p] for p in permutation] + inner)] = source[index]
    return result


@given(st.data())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_pack_and_unpack_by_definition(data: Any) -> None:
    rank = data.draw(st.integers(1, 3))
    shape = data.draw(st.lists(st.integers(1, 6), min_size=rank, max_size=rank))
    source = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    positions = data.draw(st.lists(st.integers(0, rank - 1), unique=True, min_size=1, max_size=rank))
    tiles = data.draw(st.lists(st.integers(1, 4), min_size=len(positions), max_size=len(positions)))
    permutation = data.draw(st.permutations(range(rank)))
    expected = pack_by_definition(source, positions, tiles, list(permutation), -1.0)
    parameters = {"inner_dims_pos": positions, "inner_tiles": tiles, "outer_dims_perm": list(permutation)}
    packed = evaluate("pack", [source], expected.shape, "f32", **parameters, padding=-1.0)
    assert np.array_equal(packed, expected)
    assert np.array_equal(evaluate("unpack", [packed], source.shape, "f32", **parameters), source)


def test_a_full_pack_is_a_view() -> None:
    packed = evaluate("pack", [A], (2, 3, 2, 2), "f32", inner_dims_pos=[2], inner_tiles=[2])
    assert np.shares_memory(packed, A)


def test_a_transposed_layout_can_be_undone() -> None:
    from iree_core_ir.constant_transforms import inverse_function, transform_function

    array = np.arange(24).reshape(2, 3, 4)
    parameters = {"permutation": [2, 0, 1]}
    laid_out = transform_function("transpose")([array], parameters, (4, 2, 3), array.dtype)
    back = inverse_function("transpose")(np.ascontiguousarray(laid_out).reshape(-1), parameters, (2, 3, 4))
    assert (back == array).all()
