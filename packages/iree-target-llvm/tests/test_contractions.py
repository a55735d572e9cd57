"""Matrix products and convolutions, every layout of the factors, with fused epilogues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen.layouts import constant_layout
from iree_core_ir.constant_transforms import inverse_function
from iree_target_llvm.testing import run_native, run_reference

from .conftest import assert_close, compile_with, function, pack_constant

STRATEGIES = ("matmul", "plain-loops", "vector-loops")


def product(
    m: Any, n: Any, k: Any, *, transposed: bool = False, type: str = "f32", constant: bool = False
) -> str:
    """``relu(a b + c)``, with dynamic m, n or k when they are None."""
    names = [name for name, size in (("m", m), ("n", n), ("k", k)) if size is None]
    position = {name: 3 + i for i, name in enumerate(names)}

    def dims(*sizes: tuple[str, Any]) -> str:
        entries = ", ".join(str(position[name]) if size is None else "-1" for name, size in sizes)
        return f"iree.dims = array<i64: {entries}>"

    def tensor(*sizes: Any) -> str:
        return "tensor<" + "".join("?x" if s is None else f"{s}x" for s in sizes) + f"{type}>"

    a, out, c = tensor(m, k), tensor(m, n), tensor(n)
    b = tensor(n, k) if transposed else tensor(k, n)
    b_dims = dims(("n", n), ("k", k)) if transposed else dims(("k", k), ("n", n))
    b_map = "(d1, d2)" if transposed else "(d2, d1)"
    mark = "iree.constant, " if constant else ""
    scalars = "".join(f"%{name}: index, " for name in names)
    sizes = ", ".join(f"%{name}" for name in names if name != "k")
    empty = f"%e = tensor.empty({sizes})"
    return f"""
#a = affine_map<(d0, d1, d2) -> (d0, d2)>
#b = affine_map<(d0, d1, d2) -> {b_map}>
#c = affine_map<(d0, d1, d2) -> (d0, d1)>
#full = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
func.func @product(%a: {a} {{{dims(("m", m), ("k", k))}}}, %b: {b} {{{mark}{b_dims}}}, %c: {c} {{{dims(("n", n))}}}, {scalars}
    %out: {out} {{{dims(("m", m), ("n", n))}}}) -> {out} {{
  %zero = arith.constant 0.0 : {type}
  {empty} : {out}
  %f = linalg.fill ins(%zero : {type}) outs(%e : {out}) -> {out}
  %p = linalg.generic {{indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%a, %b : {a}, {b}) outs(%f : {out}) {{
  ^bb0(%x: {type}, %y: {type}, %o: {type}):
    %s = arith.mulf %x, %y : {type}
    %t = arith.addf %o, %s : {type}
    linalg.yield %t : {type}
  }} -> {out}
  %r = linalg.generic {{indexing_maps = [#full, #column, #full], iterator_types = ["parallel", "parallel"]}}
      ins(%p, %c : {out}, {c}) outs(%out : {out}) {{
  ^bb0(%x: {type}, %y: {type}, %o: {type}):
    %s = arith.addf %x, %y : {type}
    %t = arith.maximumf %s, %zero : {type}
    linalg.yield %t : {type}
  }} -> {out}
  return %r : {out}
}}"""


def inputs(m: int, n: int, k: int, transposed: bool = False, dtype: Any = np.float32) -> dict[int, Any]:
    rng = np.random.default_rng(0)
    b = (n, k) if transposed else (k, n)
    return {
        0: rng.standard_normal((m, k)).astype(dtype),
        1: rng.standard_normal(b).astype(dtype),
        2: rng.standard_normal(n).astype(dtype),
    }


SHAPES = [
    (13, 29, 33),
    (64, 48, 20),
    (1, 50, 64),
    (5, 16, 7),
    (3, 5, 4),
    (29, 33, 1),
    (2, 100, 12),
    (17, 2, 9),
]


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_products(check: Any, m: int, n: int, k: int, transposed: bool) -> None:
    check(product(m, n, k, transposed=transposed), inputs(m, n, k, transposed), STRATEGIES)


def test_double_precision(check: Any) -> None:
    check(product(13, 29, 33, type="f64"), inputs(13, 29, 33, dtype=np.float64), STRATEGIES, tolerance=1e-13)


@pytest.mark.parametrize("m", [1, 7, 40])
def test_dynamic_rows(check: Any, m: int) -> None:
    check(product(None, 35, 24), {**inputs(m, 35, 24), 3: m}, STRATEGIES)


@pytest.mark.parametrize("k", [1, 30])
@pytest.mark.parametrize("n", [5, 32, 35])
def test_dynamic_depth(check: Any, n: int, k: int) -> None:
    check(product(9, n, None), {**inputs(9, n, k), 3: k}, STRATEGIES)


@pytest.mark.parametrize("n", [1, 3, 16, 31, 32, 35, 100])
@pytest.mark.parametrize("transposed", [False, True])
def test_dynamic_columns(check: Any, n: int, transposed: bool) -> None:
    given = {**inputs(9, n, 24, transposed), 3: n}
    check(product(9, None, 24, transposed=transposed), given, STRATEGIES)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (5, 70, 9), (17, 15, 40), (40, 40, 15)])
def test_everything_dynamic(check: Any, m: int, n: int, k: int) -> None:
    given = {**inputs(m, n, k), 3: m, 4: n, 5: k}
    check(product(None, None, None), given, STRATEGIES)


@pytest.mark.parametrize(("m", "n", "k"), [(13, 29, 33), (1, 100, 64), (40, 64, 12)])
@pytest.mark.parametrize("transposed", [False, True])
def test_constants_are_packed(description: Any, m: int, n: int, k: int, transposed: bool) -> None:
    func = function(product(m, n, k, transposed=transposed, constant=True))
    layouts = constant_layout(func, description)
    assert [layout.argument for layout in layouts] == [1]
    check_with_layouts(func, description, layouts, inputs(m, n, k, transposed))


def check_with_layouts(func: Any, description: Any, layouts: Any, given: dict[int, Any]) -> None:
    """Compile ``func`` with its constants laid out as wanted; compare with the interpreter on plain ones."""
    expected = run_reference(func, given)
    packed = dict(given)
    for layout in layouts:
        source = given[layout.argument]
        packed[layout.argument] = pack_constant(func, layout, source)
        back = inverse_function(layout.kind)(packed[layout.argument], layout.parameters, source.shape)
        np.testing.assert_array_equal(back, source)
    compiled = compile_with(func, description)
    assert compiled is not None
    for got, want in zip(run_native(func, compiled, packed), expected, strict=True):
        assert_close(got, want)


def test_batch_matmul_with_transposed_factors(check: Any) -> None:
    rng = np.random.default_rng(0)
    text = """
#a = affine_map<(d0, d1, d2, d3) -> (d0, d3, d1)>
#b = affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>
#c = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
func.func @batch(%a: tensor<3x20x11xf32>, %b: tensor<3x37x20xf32>, %out: tensor<3x11x37xf32>)
    -> tensor<3x11x37xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<3x11x37xf32>) -> tensor<3x11x37xf32>
  %r = linalg.generic {indexing_maps = [#a, #b, #c],
      iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%a, %b : tensor<3x20x11xf32>, tensor<3x37x20xf32>) outs(%f : tensor<3x11x37xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.mulf %x, %y : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<3x11x37xf32>
  return %r : tensor<3x11x37xf32>
}"""
    given = {0: rng.standard_normal((3, 20, 11)), 1: rng.standard_normal((3, 37, 20))}
    check(text, {k: v.astype(np.float32) for k, v in given.items()}, STRATEGIES)


def test_accumulators_that_do_not_start_at_zero(check: Any) -> None:
    text = """
func.func @add(%a: tensor<9x20xf32>, %b: tensor<20x40xf32>, %c: tensor<40xf32>, %out: tensor<9x40xf32>)
    -> tensor<9x40xf32> {
  %e = tensor.empty() : tensor<9x40xf32>
  %i = linalg.broadcast ins(%c : tensor<40xf32>) outs(%e : tensor<9x40xf32>) dimensions = [0]
  %r = linalg.matmul ins(%a, %b : tensor<9x20xf32>, tensor<20x40xf32>) outs(%i : tensor<9x40xf32>)
      -> tensor<9x40xf32>
  return %r : tensor<9x40xf32>
}"""
    check(text, inputs(9, 40, 20), STRATEGIES)


def test_interleaved_result(check: Any) -> None:
    """The product of a transposed convolution: the result's last dim has two elements."""
    rng = np.random.default_rng(0)
    text = """
#x = affine_map<(f, h, w, q, c) -> (c, h, w)>
#w = affine_map<(f, h, w, q, c) -> (c, f, q)>
#o = affine_map<(f, h, w, q, c) -> (f, h, w, q)>
func.func @interleave(%x: tensor<6x5x21xf32>, %w: tensor<6x4x2xf32>, %out: tensor<4x5x21x2xf32>)
    -> tensor<4x5x21x2xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<4x5x21x2xf32>) -> tensor<4x5x21x2xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #o],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<6x5x21xf32>, tensor<6x4x2xf32>) outs(%f : tensor<4x5x21x2xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<4x5x21x2xf32>
  return %r : tensor<4x5x21x2xf32>
}"""
    given = {0: rng.standard_normal((6, 5, 21)), 1: rng.standard_normal((6, 4, 2))}
    check(text, {k: v.astype(np.float32) for k, v in given.items()}, STRATEGIES)


def convolution(
    op: str, source: str, weights: str, out: str, attributes: str, pad: str = "", padded: str = ""
) -> str:
    """A convolution of %a (padded) with %w."""
    prepare, read = "", "%a"
    if pad:
        rank = padded.count("x")
        names = ", ".join(f"%i{i}: index" for i in range(rank))
        prepare = f"""%p = tensor.pad %a {pad} {{
  ^bb0({names}):
    tensor.yield %z : f32
  }} : {source} to {padded}"""
        read = "%p"
    return f"""
func.func @conv(%a: {source}, %w: {weights}, %out: {out}) -> {out} {{
  %z = arith.constant 0.0 : f32
  {prepare}
  %f = linalg.fill ins(%z : f32) outs(%out : {out}) -> {out}
  %r = linalg.{op} {{{attributes}}} ins({read}, %w : {padded or source}, {weights}) outs(%f : {out}) -> {out}
  return %r : {out}
}}"""


def window(n: int, strides: int = 1, dilations: int = 1) -> str:
    return f"dilations = dense<{dilations}> : tensor<{n}xi64>, strides = dense<{strides}> : tensor<{n}xi64>"


CONVOLUTIONS = {
    "nchw": convolution(
        "conv_2d_nchw_fchw", "tensor<2x5x9x21xf32>", "tensor<7x5x3x3xf32>", "tensor<2x7x9x21xf32>", window(2),
        "low[0, 0, 1, 1] high[0, 0, 1, 1]", "tensor<2x5x11x23xf32>",
    ),
    "strided": convolution(
        "conv_2d_nchw_fchw", "tensor<1x5x11x23xf32>", "tensor<7x5x3x3xf32>", "tensor<1x7x5x11xf32>", window(2, 2),
    ),
    "patches": convolution(
        "conv_2d_nchw_fchw", "tensor<1x3x32x32xf32>", "tensor<10x3x8x8xf32>", "tensor<1x10x4x4xf32>", window(2, 8),
    ),
    "dilated": convolution(
        "conv_2d_nchw_fchw", "tensor<1x3x13x25xf32>", "tensor<4x3x3x3xf32>", "tensor<1x4x9x21xf32>", window(2, 1, 2),
    ),
    "nhwc": convolution(
        "conv_2d_nhwc_hwcf", "tensor<1x9x12x5xf32>", "tensor<3x3x5x20xf32>", "tensor<1x9x12x20xf32>", window(2),
        "low[0, 1, 1, 0] high[0, 1, 1, 0]", "tensor<1x11x14x5xf32>",
    ),
    "grouped": convolution(
        "conv_2d_ngchw_fgchw", "tensor<1x2x3x9x21xf32>", "tensor<4x2x3x3x3xf32>", "tensor<1x2x4x7x19xf32>", window(2),
    ),
    "one dim": convolution(
        "conv_1d_ncw_fcw", "tensor<1x6x40xf32>", "tensor<9x6x5xf32>", "tensor<1x9x36xf32>", window(1),
    ),
    "three dims": convolution(
        "conv_3d_ncdhw_fcdhw", "tensor<1x2x5x6x19xf32>", "tensor<3x2x2x3x3xf32>", "tensor<1x3x4x4x17xf32>", window(3),
    ),
    "depthwise": convolution(
        "depthwise_conv_2d_nchw_chw", "tensor<1x6x9x21xf32>", "tensor<6x3x3xf32>", "tensor<1x6x9x21xf32>", window(2),
        "low[0, 0, 1, 1] high[0, 0, 1, 1]", "tensor<1x6x11x23xf32>",
    ),
    "depthwise strided": convolution(
        "depthwise_conv_2d_nchw_chw", "tensor<1x6x11x23xf32>", "tensor<6x3x3xf32>", "tensor<1x6x5x11xf32>", window(2, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(check: Any, name: str) -> None:
    text = CONVOLUTIONS[name]
    func = function(text)
    rng = np.random.default_rng(0)
    given = {
        i: rng.standard_normal(func.regions[0].block.args[i].type.shape).astype(np.float32) for i in (0, 1)
    }
    check(text, given, STRATEGIES, required=False)


@pytest.mark.parametrize("name", ["nchw", "strided", "dilated"])
def test_convolutions_with_packed_weights(description: Any, name: str) -> None:
    text = CONVOLUTIONS[name].replace("%w: tensor", "%w: tensor", 1)
    head, tail = text.split(", %out:", 1)
    func = function(head + " {iree.constant}, %out:" + tail)
    layouts = constant_layout(func, description)
    assert [layout.argument for layout in layouts] == [1]
    rng = np.random.default_rng(0)
    given = {
        i: rng.standard_normal(func.regions[0].block.args[i].type.shape).astype(np.float32) for i in (0, 1)
    }
    check_with_layouts(func, description, layouts, given)
