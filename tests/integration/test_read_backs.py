"""Sizes that the device computes: read back where they are needed, never before what computes them has run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
from onnx import helper

import iree_flow
import iree_vm
from iree_base.errors import IreeError

X = np.arange(6, dtype=np.float32)


@pytest.fixture(scope="module", params=["llvm-cpu", "reference"])
def reshape(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``y = reshape(x + 1, [size[1], size[0]])``: one region computes the values and the sizes of the result."""
    nodes = [
        helper.make_node("Add", ["x", "one"], ["more"]),
        helper.make_node("Slice", ["size", "i0", "i1"], ["first"]),
        helper.make_node("Slice", ["size", "i1", "i2"], ["second"]),
        helper.make_node("Concat", ["second", "first"], ["swapped"], axis=0),
        helper.make_node("Reshape", ["more", "swapped"], ["y"]),
    ]
    bounds = {f"i{number}": np.array([number], np.int64) for number in range(3)}
    path = tiny.save(
        tmp_path_factory.mktemp("reshape") / "reshape.onnx",
        nodes,
        [("x", tiny.F32, (6,)), ("size", tiny.I64, (2,))],
        [("y", tiny.F32, ("rows", "columns"))],
        one=np.ones(1, np.float32),
        **bounds,
    )
    return iree_vm.load(iree_flow.compile(path, target=request.param))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``y = reshape(x + 1, size)``: the sizes are what the caller passes."""
    nodes = [
        helper.make_node("Add", ["x", "one"], ["more"]),
        helper.make_node("Reshape", ["more", "size"], ["y"]),
    ]
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    inputs = [("x", tiny.F32, (6,)), ("size", tiny.I64, (2,))]
    outputs = [("y", tiny.F32, ("rows", "columns"))]
    tiny.save(path, nodes, inputs, outputs, one=np.ones(1, np.float32))
    return iree_vm.load(iree_flow.compile(path))


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2), (6, 1), (1, 6), (-1, 2)])
def test_sizes_of_a_result_that_the_same_region_computes(reshape: Any, sizes: tuple[int, int]) -> None:
    for _ in range(3):
        found = reshape.main(X, np.array(sizes, np.int64))
        np.testing.assert_array_equal(found, (X + 1).reshape(sizes[::-1]))


def test_memory_that_the_caller_gives(reshape: Any) -> None:
    out = np.full((3, 2), np.nan, np.float32)
    found = reshape.main(X, np.array([2, 3], np.int64), out={"y": out})
    assert found is out
    np.testing.assert_array_equal(out, (X + 1).reshape(3, 2))


def test_asynchronous_calls_wait_for_what_is_read_back(reshape: Any, plain: Any) -> None:
    for module, turned in ((reshape, True), (plain, False)):
        shapes = ((2, 3), (6, 1), (3, 2))
        pending = [module.main_async(X, np.array(shape, np.int64)) for shape in shapes]
        for call, shape in zip(pending, shapes, strict=True):
            wanted = (X + 1).reshape(shape[::-1] if turned else shape)
            np.testing.assert_array_equal(call.result(60), wanted)


@pytest.mark.parametrize("sizes", [(2, 3), (6, 1), (-1, 3)])
def test_sizes_that_the_caller_passes(plain: Any, sizes: tuple[int, int]) -> None:
    found = plain.main(X, np.array(sizes, np.int64))
    np.testing.assert_array_equal(found, (X + 1).reshape(sizes))


def test_sizes_that_do_not_fit_are_an_error(reshape: Any) -> None:
    """More elements than there are would be read beyond them."""
    with pytest.raises(IreeError):
        reshape.main(X, np.array([4, 3], np.int64))


def test_passed_sizes_that_do_not_fit_are_an_error(plain: Any) -> None:
    """Nobody would write the elements that are too many."""
    for sizes in ((4, 3), (2, 2)):
        with pytest.raises(IreeError, match="do not fit"):
            plain.main(X, np.array(sizes, np.int64))


DIMS = ("n", "k")
WRONG = [(2, -1, 4), (2, 3, 4), (-1, -1, 4), (0, 7, 0), (100, 100, 100), (-1, 0, 0), (1 << 40, 1 << 40, 1)]


@pytest.fixture(scope="module", params=["llvm-cpu", "reference"])
def between(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``y = -reshape(exp(x), size)``: work before and behind, every size only known when it runs."""
    nodes = [
        helper.make_node("Exp", ["x"], ["more"]),
        helper.make_node("Reshape", ["more", "size"], ["shaped"]),
        helper.make_node("Neg", ["shaped"], ["y"]),
    ]
    path = tmp_path_factory.mktemp("between") / "between.onnx"
    inputs = [("x", tiny.F32, DIMS), ("size", tiny.I64, (3,))]
    tiny.save(path, nodes, inputs, [("y", tiny.F32, ("a", "b", "c"))])
    return iree_vm.load(iree_flow.compile(path, target=request.param))


@pytest.mark.parametrize("sizes", [(5, 7, -1), (-1, 1, 1), (7, 5, 1), (5, 0, 1)])
def test_a_shape_that_fits_between_two_computations(between: Any, sizes: tuple[int, ...]) -> None:
    x = np.arange(35, dtype=np.float32).reshape(5, 7) / 35
    shape = tuple(x.shape[i] if size == 0 else size for i, size in enumerate(sizes))
    np.testing.assert_allclose(between.main(x, np.array(sizes)), -np.exp(x).reshape(shape), rtol=1e-6)


@pytest.mark.parametrize("sizes", WRONG)
def test_a_shape_that_does_not_fit_stops_before_anything_is_read(
    between: Any, sizes: tuple[int, ...]
) -> None:
    x = np.ones((5, 7), np.float32)
    with pytest.raises(IreeError, match=r"IREE-VM-008.*shape.*node_shaped"):
        between.main(x, np.array(sizes))
    assert between.main(x, np.array([35, 1, 1])).shape == (35, 1, 1)
