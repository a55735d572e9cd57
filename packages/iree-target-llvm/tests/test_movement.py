"""Data movement inside dispatches is index arithmetic: slices, pads, concatenations, reshapes, gathers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def movement(op: str, source: str, target: str, extra: str = "") -> str:
    """A dispatch that moves %a by ``op`` into its destination through an identity copy."""
    return f"""
func.func @move(%a: {source}{extra}, %out: {target}) -> {target} {{
  {op}
  %r = linalg.copy ins(%m : {target}) outs(%out : {target}) -> {target}
  return %r : {target}
}}"""


def data(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_slice(check: Any) -> None:
    op = "%m = tensor.extract_slice %a[1, 2] [3, 10] [1, 2] : tensor<5x23xf32> to tensor<3x10xf32>"
    check(movement(op, "tensor<5x23xf32>", "tensor<3x10xf32>"), {0: data(5, 23)})


def test_slice_that_drops_a_dim(check: Any) -> None:
    op = "%m = tensor.extract_slice %a[2, 0] [1, 23] [1, 1] : tensor<5x23xf32> to tensor<23xf32>"
    check(movement(op, "tensor<5x23xf32>", "tensor<23xf32>"), {0: data(5, 23)})


def test_reversed_slice(check: Any) -> None:
    op = """%m = tensor.generate {
    ^bb0(%i: index):
      %c = arith.constant 36 : index
      %j = arith.subi %c, %i : index
      %v = tensor.extract %a[%j] : tensor<37xf32>
      tensor.yield %v : f32
    } : tensor<37xf32>"""
    check(movement(op, "tensor<37xf32>", "tensor<37xf32>"), {0: data(37)})


@pytest.mark.parametrize("low, high", [((0, 0), (0, 3)), ((2, 1), (1, 4)), ((0, 16), (0, 16))])
def test_pad(check: Any, low: tuple[int, int], high: tuple[int, int]) -> None:
    shape = (5 + low[0] + high[0], 23 + low[1] + high[1])
    target = f"tensor<{shape[0]}x{shape[1]}xf32>"
    op = f"""%v = arith.constant 7.5 : f32
    %m = tensor.pad %a low[{low[0]}, {low[1]}] high[{high[0]}, {high[1]}] {{
    ^bb0(%i: index, %j: index):
      tensor.yield %v : f32
    }} : tensor<5x23xf32> to {target}"""
    check(movement(op, "tensor<5x23xf32>", target), {0: data(5, 23)})


def test_insert_slice(check: Any) -> None:
    op = """%e = arith.constant dense<3.0> : tensor<7x40xf32>
    %m = tensor.insert_slice %a into %e[1, 9] [5, 23] [1, 1] : tensor<5x23xf32> into tensor<7x40xf32>"""
    check(movement(op, "tensor<5x23xf32>", "tensor<7x40xf32>"), {0: data(5, 23)})


def test_insert_slice_with_steps(check: Any) -> None:
    op = """%e = arith.constant dense<3.0> : tensor<7x60xf32>
    %m = tensor.insert_slice %a into %e[1, 4] [5, 23] [1, 2] : tensor<5x23xf32> into tensor<7x60xf32>"""
    check(movement(op, "tensor<5x23xf32>", "tensor<7x60xf32>"), {0: data(5, 23)})


@pytest.mark.parametrize("axis", [0, 1])
def test_concat(check: Any, axis: int) -> None:
    shape = (15, 23) if axis == 0 else (5, 69)
    target = f"tensor<{shape[0]}x{shape[1]}xf32>"
    operands = "tensor<5x23xf32>, tensor<5x23xf32>, tensor<5x23xf32>"
    op = f"""%n = linalg.abs ins(%a : tensor<5x23xf32>) outs(%a : tensor<5x23xf32>) -> tensor<5x23xf32>
    %m = tensor.concat dim({axis}) %a, %n, %a : ({operands}) -> {target}"""
    check(movement(op, "tensor<5x23xf32>", target), {0: data(5, 23)})


def test_collapse_and_expand(check: Any) -> None:
    op = """%c = tensor.collapse_shape %a [[0, 1], [2]] : tensor<4x6x5xf32> into tensor<24x5xf32>
    %m = tensor.expand_shape %c [[0, 1, 2], [3]] output_shape [2, 3, 4, 5]
      : tensor<24x5xf32> into tensor<2x3x4x5xf32>"""
    check(movement(op, "tensor<4x6x5xf32>", "tensor<2x3x4x5xf32>"), {0: data(4, 6, 5)})


def test_reshape_between_unrelated_shapes(check: Any) -> None:
    op = """%c = tensor.collapse_shape %a [[0, 1]] : tensor<6x35xf32> into tensor<210xf32>
    %m = tensor.expand_shape %c [[0, 1]] output_shape [10, 21] : tensor<210xf32> into tensor<10x21xf32>"""
    check(movement(op, "tensor<6x35xf32>", "tensor<10x21xf32>"), {0: data(6, 35)})


def test_small_constants(check: Any) -> None:
    op = """%t = arith.constant dense<[1.0, -2.0, 4.0]> : tensor<3xf32>
    %b = linalg.broadcast ins(%t : tensor<3xf32>) outs(%a : tensor<3x20xf32>) dimensions = [1]
    %m = linalg.add ins(%a, %b : tensor<3x20xf32>, tensor<3x20xf32>) outs(%a : tensor<3x20xf32>)
      -> tensor<3x20xf32>"""
    check(movement(op, "tensor<3x20xf32>", "tensor<3x20xf32>"), {0: data(3, 20)})


@pytest.mark.parametrize("permutation", [(1, 0, 2), (0, 2, 1), (2, 1, 0), (2, 0, 1)])
@pytest.mark.parametrize("type", ["f32", "i8", "f64", "f16"])
def test_transpose(check: Any, permutation: tuple[int, ...], type: str) -> None:
    from iree_base.element_types import element_type

    shape = (18, 33, 21)
    moved = [shape[p] for p in permutation]
    source, target = (f"tensor<{'x'.join(map(str, s))}x{type}>" for s in (shape, moved))
    text = f"""
func.func @transpose(%a: {source}, %out: {target}) -> {target} {{
  %r = linalg.transpose ins(%a : {source}) outs(%out : {target}) permutation = {list(permutation)}
  return %r : {target}
}}"""
    a = (np.random.default_rng(0).standard_normal(shape) * 50).astype(element_type(type).dtype)
    check(text, {0: a}, strategies=("plain-loops", "vector-loops", "transpose"), required=False)


def gather(axis: int, rank: int = 1) -> str:
    indices = "9" if rank == 1 else "3x3"
    out = {(0, 1): "9x24", (1, 1): "40x9", (0, 2): "3x3x24", (1, 2): "40x3x3"}[axis, rank]
    return f"""
func.func @take(%a: tensor<40x24xf32>, %i: tensor<{indices}xi64>, %out: tensor<{out}xf32>) -> tensor<{out}xf32> {{
  %r = linalg_ext.gather axis({axis}) ins(%a, %i : tensor<40x24xf32>, tensor<{indices}xi64>)
      outs(%out : tensor<{out}xf32>) -> tensor<{out}xf32>
  return %r : tensor<{out}xf32>
}}"""


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("rank", [1, 2])
def test_gather(check: Any, axis: int, rank: int) -> None:
    indices = np.random.default_rng(1).integers(0, 24, (9,) if rank == 1 else (3, 3))
    check(gather(axis, rank), {0: data(40, 24), 1: indices})


@pytest.mark.parametrize("bad", [-1, 40, 1 << 40])
@pytest.mark.parametrize("axis", [0, 1])
def test_gather_out_of_range_is_reported(best: Any, bad: int, axis: int) -> None:
    from iree_target_llvm.testing import KernelFailure, run_native

    from .conftest import compile_with, function

    indices = np.zeros(9, np.int64)
    indices[7] = bad
    func = function(gather(axis))
    for strategy in ("plain-loops", "vector-loops"):
        compiled = compile_with(func, best, strategy)
        assert compiled is not None
        with pytest.raises(KernelFailure) as caught:
            run_native(func, compiled, {0: data(40, 24), 1: indices})
        assert caught.value.kind == 1
