"""``integer-products``: products on the integers mean what products of the dequantized numbers meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_runs import call, names, run

from iree_core_ir.constants import ConstantStore
from iree_core_ir.text.parser import parse_module
from iree_flow.passes.integer_products import IntegerProducts

IDENTITY = {2: "affine_map<(d0, d1) -> (d0, d1)>", 4: "affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>"}


def dequantized(name: str, source: str, type: str, *, signed: bool, scale: str, zero: int = 0) -> str:
    """``%name = scale * (source - zero)``; ``scale`` is a number, or ``column`` for the constant %scales."""
    sizes = type.count("x")
    map = IDENTITY[sizes]
    loops = ", ".join(f"d{i}" for i in range(sizes))
    column = f"affine_map<({loops}) -> (d{0 if sizes == 4 else 1})>"
    ins, maps, types, args = f"%{source}", map, f"tensor<{type}i8>", "%q: i8"
    body = [f"%e = arith.ext{'s' if signed else 'u'}i %q : i8 to i32"]
    if zero:
        body += [f"%z = arith.constant {-zero} : i32", "%s = arith.addi %e, %z : i32"]
    body.append(f"%f = arith.sitofp %{'s' if zero else 'e'} : i32 to f32")
    if scale == "column":
        ins, maps, types, args = (
            f"{ins}, %scales",
            f"{maps}, {column}",
            f"{types}, tensor<5xf32>",
            f"{args}, %c: f32",
        )
    else:
        body.append(f"%c = arith.constant {scale} : f32")
    body += ["%r = arith.mulf %f, %c : f32", "linalg.yield %r : f32"]
    parallel = ", ".join(['"parallel"'] * sizes)
    return f"""
    %empty_{name} = tensor.empty() : tensor<{type}f32>
    %{name} = linalg.generic {{indexing_maps = [{maps}, {map}], iterator_types = [{parallel}]}}
        ins({ins} : {types}) outs(%empty_{name} : tensor<{type}f32>) {{
    ^bb0({args}, %o: f32):
      {chr(10).join(body)}
    }} -> tensor<{type}f32>"""


def store(weights: Any) -> ConstantStore:
    constants = ConstantStore()
    constants.add_array(weights, "i8", key="w")
    constants.add_array(np.linspace(0.01, 0.05, 5).astype(np.float32), "f32", key="s")
    return constants


def matmul(*, signed: bool, zero: int, weights_zero: int = 0) -> str:
    return f"""func.func @main(%x: tensor<7x12xi8>) -> tensor<7x5xf32> {{
    %w = arith.constant dense_resource<w> : tensor<12x5xi8>
    %scales = arith.constant dense_resource<s> : tensor<5xf32>
    {dequantized("a", "x", "7x12x", signed=signed, scale="0.125", zero=zero)}
    {dequantized("b", "w", "12x5x", signed=True, scale="column", zero=weights_zero)}
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<7x5xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<7x5xf32>) -> tensor<7x5xf32>
    %r = linalg.matmul ins(%a, %b : tensor<7x12xf32>, tensor<12x5xf32>) outs(%f : tensor<7x5xf32>) -> tensor<7x5xf32>
    return %r : tensor<7x5xf32>
  }}"""


CONVOLUTION = f"""func.func @main(%x: tensor<1x3x6x6xi8>) -> tensor<1x5x3x3xf32> {{
    %w = arith.constant dense_resource<w> : tensor<5x3x3x3xi8>
    %scales = arith.constant dense_resource<s> : tensor<5xf32>
    {dequantized("a", "x", "1x3x6x6x", signed=False, scale="0.5", zero=130)}
    {dequantized("b", "w", "5x3x3x3x", signed=True, scale="column")}
    %zero = arith.constant 0.0 : f32
    %p = tensor.pad %a low[0, 0, 1, 1] high[0, 0, 1, 1] {{
    ^bb0(%i: index, %j: index, %k: index, %l: index):
      tensor.yield %zero : f32
    }} : tensor<1x3x6x6xf32> to tensor<1x3x8x8xf32>
    %e = tensor.empty() : tensor<1x5x3x3xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x5x3x3xf32>) -> tensor<1x5x3x3xf32>
    %r = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>}}
        ins(%p, %b : tensor<1x3x8x8xf32>, tensor<5x3x3x3xf32>) outs(%f : tensor<1x5x3x3xf32>) -> tensor<1x5x3x3xf32>
    return %r : tensor<1x5x3x3xf32>
  }}"""


def bytes_of(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("zero", [0, 3, 120])
def test_matmul(signed: bool, zero: int) -> None:
    text, constants = matmul(signed=signed, zero=zero), store(bytes_of(1, 12, 5))
    module = run(text, IntegerProducts(always=True), constants=constants)
    assert "linalg.matmul" not in names(module) and names(module).count("arith.muli") == 1
    x = bytes_of(2, 7, 12)
    (before,) = call(parse_module(text, constants=constants), x, constants=constants)
    (after,) = call(module, x, constants=constants)
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-5)


def test_convolution_is_padded_with_the_zero_point() -> None:
    constants = store(bytes_of(1, 5, 3, 3, 3))
    module = run(CONVOLUTION, IntegerProducts(always=True), constants=constants)
    assert "linalg.conv_2d_nchw_fchw" not in names(module)
    x = bytes_of(2, 1, 3, 6, 6)
    (before,) = call(parse_module(CONVOLUTION, constants=constants), x, constants=constants)
    (after,) = call(module, x, constants=constants)
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-4)


def test_what_is_no_such_product_stays() -> None:
    constants = store(bytes_of(1, 12, 5))
    text = matmul(signed=False, zero=3)
    for changed, passes in (
        (matmul(signed=False, zero=3, weights_zero=2), IntegerProducts(always=True)),
        (text.replace("constant 0.0 ", "constant 1.0 "), IntegerProducts(always=True)),
        (text, IntegerProducts()),
    ):
        module = run(changed, passes, constants=constants, target=object(), description=None)
        assert "linalg.matmul" in names(module)


def test_the_target_is_asked() -> None:
    class Fast:
        def integer_products(self, description: Any) -> bool:
            return description == "fast"

    for description, there in (("fast", False), ("slow", True)):
        constants = store(bytes_of(1, 12, 5))
        module = run(
            matmul(signed=True, zero=1), IntegerProducts(), constants=constants, target=Fast(),
            description=description,
        )  # fmt: skip
        assert ("linalg.matmul" in names(module)) == there


@pytest.mark.parametrize(("extension", "zero"), [("extsi", 5), ("extsi", -128), ("extui", 0), ("extui", 200)])
@pytest.mark.parametrize("largest", [127, 128])
def test_integers_less_their_zero_point(extension: str, zero: int, largest: int) -> None:
    identity = IDENTITY[2]
    text = f"""func.func @main(%x: tensor<7x12xi8>) -> tensor<7x5xi32> {{
    %w = arith.constant dense_resource<w> : tensor<12x5xi32>
    %e = tensor.empty() : tensor<7x12xi32>
    %a = linalg.generic {{indexing_maps = [{identity}, {identity}], iterator_types = ["parallel", "parallel"]}}
        ins(%x : tensor<7x12xi8>) outs(%e : tensor<7x12xi32>) {{
    ^bb0(%q: i8, %o: i32):
      %r = arith.{extension} %q : i8 to i32
      linalg.yield %r : i32
    }} -> tensor<7x12xi32>
    %b = linalg.generic {{indexing_maps = [{identity}, {identity}], iterator_types = ["parallel", "parallel"]}}
        ins(%a : tensor<7x12xi32>) outs(%e : tensor<7x12xi32>) {{
    ^bb0(%q: i32, %o: i32):
      %z = arith.constant {zero} : i32
      %r = arith.subi %q, %z : i32
      linalg.yield %r : i32
    }} -> tensor<7x12xi32>
    %zero = arith.constant 0 : i32
    %g = tensor.empty() : tensor<7x5xi32>
    %f = linalg.fill ins(%zero : i32) outs(%g : tensor<7x5xi32>) -> tensor<7x5xi32>
    %r = linalg.matmul ins(%b, %w : tensor<7x12xi32>, tensor<12x5xi32>) outs(%f : tensor<7x5xi32>) -> tensor<7x5xi32>
    return %r : tensor<7x5xi32>
  }}"""
    constants = ConstantStore()
    weights = bytes_of(1, 12, 5).astype(np.int32)
    weights[3, 2] = largest
    constants.add_array(weights, "i32", key="w")
    module = run(text, IntegerProducts(always=True), constants=constants)
    assert ("linalg.matmul" in names(module)) == (largest > 127)
    x = bytes_of(2, 7, 12)
    (before,) = call(parse_module(text, constants=constants), x, constants=constants)
    (after,) = call(module, x, constants=constants)
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(("blocks", "size", "kept"), [(None, 6, True), (16, 6, False), (16, 2, True)])
def test_any_number_of_images_in_channel_blocks_alone(blocks: int | None, size: int, kept: bool) -> None:
    """On planes there are no kernels for that, and what has one pixel is never in blocks."""

    class Target:
        def integer_products(self, description: Any) -> bool:
            return True

        def channel_block(self, description: Any) -> int | None:
            return blocks

    text = CONVOLUTION.replace("tensor<1x", "tensor<?x").replace(
        "= tensor.empty() : tensor<?x", "= tensor.empty(%n) : tensor<?x"
    )
    text = text.replace(
        "{\n", "{\n    %c0 = arith.constant 0 : index\n    %n = tensor.dim %x, %c0 : tensor<?x3x6x6xi8>\n", 1
    )
    for side, own in ((6, size), (8, size + 2), (3, size // 2)):
        for channels in (3, 5):
            text = text.replace(f"<?x{channels}x{side}x{side}x", f"<?x{channels}x{own}x{own}x")
    constants = store(bytes_of(1, 5, 3, 3, 3))
    options = {"target": Target(), "description": None}
    module = run(text, IntegerProducts(), constants=constants, **options)
    assert ("linalg.conv_2d_nchw_fchw" in names(module)) == kept
    x = bytes_of(2, 2, 3, size, size)
    (before,) = call(parse_module(text, constants=constants), x, constants=constants)
    (after,) = call(module, x, constants=constants)
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-4)
