"""``requantize``: one step from integers to bytes, the same bytes up to ties; and such images in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_runs import call, names, run

from iree_core_ir.constants import ConstantStore
from iree_core_ir.passes.canonicalize import Canonicalize
from iree_core_ir.text.parser import parse_module
from iree_flow.passes.block_channels import BlockChannels
from iree_flow.passes.fuse_elementwise import FuseElementwise
from iree_flow.passes.integer_products import IntegerProducts
from iree_flow.passes.requantize import Requantize

Array = np.ndarray[Any, Any]
FULL = "affine_map<(n, c, y, x) -> (n, c, y, x)>"
COLUMN = "affine_map<(n, c, y, x) -> (c)>"
FILTER = "affine_map<(n, c, y, x) -> (n)>"


class Graph:
    """A function on images of bytes, as a frontend writes what is quantized and dequantized."""

    def __init__(self, **images: tuple[int, ...]) -> None:
        self.shapes = {f"%{name}": shape for name, shape in images.items()}
        self.arguments = ", ".join(f"%{name}: {_type(shape, 'i8')}" for name, shape in images.items())
        self.constants = ConstantStore()
        self.lines = ["%zero = arith.constant 0.0 : f32", "%least = arith.constant 0xFF800000 : f32"]
        self.n = 0

    def name(self) -> str:
        self.n += 1
        return f"%v{self.n}"

    def generic(
        self, inputs: list[tuple[str, str, str]], shape: tuple[int, ...], element: str, body: str
    ) -> str:
        """``inputs``: (value, type, map); ``body`` yields ``%r`` of ``%a0``, ``%a1`` ..."""
        empty, result = self.name(), self.name()
        values, types = ", ".join(v for v, _, _ in inputs), ", ".join(t for _, t, _ in inputs)
        maps = ", ".join([*(m for _, _, m in inputs), FULL])
        arguments = ", ".join(f"%a{i}: {t.rsplit('x', 1)[1][:-1]}" for i, (_, t, _) in enumerate(inputs))
        type = _type(shape, element)
        self.lines.append(f"""{empty} = tensor.empty() : {type}
  {result} = linalg.generic {{indexing_maps = [{maps}],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}} ins({values} : {types})
      outs({empty} : {type}) {{
  ^bb0({arguments}, %o: {element}):
    {body}
    linalg.yield %r : {element}
  }} -> {type}""")
        self.shapes[result] = shape
        return result

    def constant(self, array: Array) -> tuple[str, str]:
        element = {"int8": "i8", "int32": "i32", "float32": "f32"}[array.dtype.name]
        key, name = self.constants.add_array(array, element), self.name()
        self.lines.append(f"{name} = arith.constant dense_resource<{key}> : {_type(array.shape, element)}")
        return name, _type(array.shape, element)

    def dequantized(self, value: str, scale: float, zero: int, *, signed: bool = False) -> str:
        shape = self.shapes[value]
        body = f"""%e = arith.ext{"s" if signed else "u"}i %a0 : i8 to i32
    %z = arith.constant {-zero} : i32
    %s = arith.addi %e, %z : i32
    %f = arith.sitofp %s : i32 to f32
    %c = arith.constant {scale} : f32
    %r = arith.mulf %f, %c : f32"""
        return self.generic([(value, _type(shape, "i8"), FULL)], shape, "f32", body)

    def quantized(self, value: str, scale: float, zero: int, *, signed: bool = False) -> str:
        shape = self.shapes[value]
        low, high = (-128, 127) if signed else (0, 255)
        body = f"""%c = arith.constant {scale} : f32
    %d = arith.divf %a0, %c : f32
    %e = math.roundeven %d : f32
    %z = arith.constant {float(zero)} : f32
    %s = arith.addf %e, %z : f32
    %l = arith.constant {float(low)} : f32
    %t = arith.maximumf %s, %l : f32
    %h = arith.constant {float(high)} : f32
    %m = arith.minimumf %t, %h : f32
    %r = arith.fpto{"s" if signed else "u"}i %m : f32 to i8"""
        return self.generic([(value, _type(shape, "f32"), FULL)], shape, "i8", body)

    def sum(self, a: str, b: str) -> str:
        shape = self.shapes[a]
        inputs = [(v, _type(shape, "f32"), FULL) for v in (a, b)]
        return self.generic(inputs, shape, "f32", "%r = arith.addf %a0, %a1 : f32")

    def relu(self, a: str) -> str:
        shape = self.shapes[a]
        body = "%r = arith.maximumf %a0, %zero : f32"
        return self.generic([(a, _type(shape, "f32"), FULL)], shape, "f32", body)

    def padded(self, value: str, around: str) -> str:
        n, c, h, w = self.shapes[value]
        name, shape = self.name(), (n, c, h + 2, w + 2)
        self.lines.append(f"""{name} = tensor.pad {value} low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield {around} : f32
  }} : {_type((n, c, h, w), "f32")} to {_type(shape, "f32")}""")
        self.shapes[name] = shape
        return name

    def window(
        self, op: str, value: str, weights: str, kernel: str, filters: int, start: str, stride: int
    ) -> str:
        n, _, h, w = self.shapes[value]
        k = int(kernel.removesuffix("xf32>").rsplit("x", 1)[1]) if "x3xf32" in kernel else 1
        shape = (n, filters, (h - k) // stride + 1, (w - k) // stride + 1)
        empty, filled, name = self.name(), self.name(), self.name()
        type = _type(shape, "f32")
        self.lines.append(f"""{empty} = tensor.empty() : {type}
  {filled} = linalg.fill ins({start} : f32) outs({empty} : {type}) -> {type}
  {name} = linalg.{op} {{dilations = dense<1> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}}
      ins({value}, {weights} : {_type(self.shapes[value], "f32")}, {kernel}) outs({filled} : {type}) -> {type}""")
        self.shapes[name] = shape
        return name

    def convolution(self, value: str, scale: float, filters: int, kernel: int, stride: int = 1) -> str:
        """With weights quantized by filter, and a bias in units of the products (but for the last filter)."""
        rng = np.random.default_rng(self.n)
        own = (filters, self.shapes[value][1], kernel, kernel)
        scales = rng.uniform(0.001, 0.01, filters).astype(np.float32)
        integers, types = self.constant(rng.integers(-128, 128, own).astype(np.int8))
        factors, factor_type = self.constant(scales)
        body = """%f = arith.sitofp %a0 : i8 to f32
    %r = arith.mulf %f, %a1 : f32"""
        weights = self.generic([(integers, types, FULL), (factors, factor_type, FILTER)], own, "f32", body)
        made = self.window("conv_2d_nchw_fchw", value, weights, _type(own, "f32"), filters, "%zero", stride)
        bias = rng.integers(-3000, 3000, filters) * (scales * np.float32(scale))
        offsets, offset_type = self.constant(bias.astype(np.float32))
        inputs = [(made, _type(self.shapes[made], "f32"), FULL), (offsets, offset_type, COLUMN)]
        return self.generic(inputs, self.shapes[made], "f32", "%r = arith.addf %a0, %a1 : f32")

    def pooled(self, value: str) -> str:
        window = self.name()
        self.lines.append(f"{window} = tensor.empty() : tensor<3x3xf32>")
        channels = self.shapes[value][1]
        return self.window("pooling_nchw_max", value, window, "tensor<3x3xf32>", channels, "%least", 2)

    def text(self, result: str) -> str:
        type = _type(self.shapes[result], "i8")
        lines = "\n  ".join(self.lines)
        return f"func.func @main({self.arguments}) -> {type} {{\n  {lines}\n  return {result} : {type}\n}}"


def _type(shape: tuple[int, ...], element: str) -> str:
    return "tensor<" + "".join(f"{n}x" for n in shape) + element + ">"


def block(graph: Graph, *, signed: bool = False) -> str:
    """A residual block on ``%x`` and ``%more``, and a pooling."""
    zero = 3 if signed else 131
    x = graph.dequantized("%x", 0.02, zero, signed=signed)
    first = graph.relu(graph.convolution(graph.padded(x, "%zero"), 0.02, 10, 3))
    inner = graph.dequantized(graph.quantized(first, 0.31, 0), 0.31, 0)
    second = graph.convolution(inner, 0.31, 9, 1)
    second = graph.dequantized(graph.quantized(second, 1.7, 120), 1.7, 120)
    total = graph.sum(second, graph.dequantized("%more", 0.9, 100))
    total = graph.dequantized(graph.quantized(total, 1.1, 30), 1.1, 30)
    return graph.quantized(graph.pooled(graph.padded(total, "%least")), 1.1, 30)


def residual(*, signed: bool = False) -> tuple[Graph, str, list[Array]]:
    graph = Graph(x=(1, 7, 9, 11), more=(1, 9, 9, 11))
    text = graph.text(block(graph, signed=signed))
    rng = np.random.default_rng(0)
    images = [rng.integers(-128, 128, (1, c, 9, 11)).astype(np.int8) for c in (7, 9)]
    return graph, text, images


PASSES = (IntegerProducts(always=True), Requantize(always=True), Canonicalize())


@pytest.mark.parametrize("signed", [False, True])
def test_chains_become_one_step(signed: bool) -> None:
    graph, text, images = residual(signed=signed)
    (before,) = call(parse_module(text, constants=graph.constants), *images, constants=graph.constants)
    module = run(text, *PASSES, constants=graph.constants)
    (after,) = call(module, *images, constants=graph.constants)
    found = names(module)
    assert not {"arith.divf", "math.roundeven", "linalg.pooling_nchw_max"} & {*found}
    assert found.count("arith.trunci") == 3
    a, b = (array.view(np.uint8).astype(int) for array in (after, before))
    assert np.abs(a - b).max() <= 1 and np.mean(a != b) < 0.02 and len(np.unique(b)) > 20


@pytest.mark.parametrize("lanes", [4, 8])
def test_blocks_of_bytes(lanes: int) -> None:
    graph, text, images = residual()
    plain = run(text, *PASSES, constants=graph.constants)
    (before,) = call(plain, *images, constants=graph.constants)
    blocked = run(
        text, *PASSES, BlockChannels(lanes=lanes, always=True), Canonicalize(), FuseElementwise(),
        constants=graph.constants,
    )  # fmt: skip
    (after,) = call(blocked, *images, constants=graph.constants)
    np.testing.assert_array_equal(after, before)
    products = [op for op in blocked.walk() if "arith.muli" in [inner.name for inner in op.walk()]]
    assert sum(op.name == "linalg.generic" and op.results[0].type.rank == 5 for op in products) == 2


def test_a_scale_that_changes_behind_a_maximum_is_kept() -> None:
    graph = Graph(x=(1, 3, 6, 6))
    pooled = graph.pooled(graph.padded(graph.dequantized("%x", 0.5, 7), "%least"))
    text = graph.text(graph.quantized(pooled, 0.3, 2))
    x = np.random.default_rng(1).integers(-128, 128, (1, 3, 6, 6)).astype(np.int8)
    module = run(text, *PASSES, constants=graph.constants)
    (before,) = call(parse_module(text, constants=graph.constants), x, constants=graph.constants)
    (after,) = call(module, x, constants=graph.constants)
    assert np.abs(after.view(np.uint8).astype(int) - before.view(np.uint8)).max() <= 1
    assert "arith.maxui" in names(module)


@pytest.mark.parametrize(("size", "bytes_pooled"), [(2, False), (3, True)])
def test_windows_that_pass_over_the_image_stay(size: int, bytes_pooled: bool) -> None:
    """Two pixels, three apart, of an image of two pixels with one around it: minus infinity in the middle."""
    graph = Graph(x=(1, 2, size, size))
    image, window, pooled = (
        graph.padded(graph.dequantized("%x", 0.5, 7), "%least"),
        graph.name(),
        graph.name(),
    )
    out = _type((1, 2, size - 1, size - 1), "f32")
    graph.lines.append(f"""{window} = tensor.empty() : tensor<2x2xf32>
  %empty = tensor.empty() : {out}
  %start = linalg.fill ins(%least : f32) outs(%empty : {out}) -> {out}
  {pooled} = linalg.pooling_nchw_max {{dilations = dense<3> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}}
      ins({image}, {window} : {_type(graph.shapes[image], "f32")}, tensor<2x2xf32>)
      outs(%start : {out}) -> {out}""")
    graph.shapes[pooled] = (1, 2, size - 1, size - 1)
    text = graph.text(graph.quantized(pooled, 0.3, 200))
    x = np.random.default_rng(1).integers(-128, 128, (1, 2, size, size)).astype(np.int8)
    module = run(text, *PASSES, constants=graph.constants)
    (before,) = call(parse_module(text, constants=graph.constants), x, constants=graph.constants)
    (after,) = call(module, x, constants=graph.constants)
    np.testing.assert_array_equal(after, before)
    assert ("arith.maxui" in names(module)) == bytes_pooled


def test_halves_of_a_clamped_sum_are_rounded_before_the_zero_point() -> None:
    """As the chain does: only sums that onnxruntime adds as integers are rounded with an odd one in them."""
    shape = (1, 4, 128, 128)
    graph = Graph(x=shape, y=shape)
    total = graph.sum(graph.dequantized("%x", 0.5, 3), graph.dequantized("%y", 0.25, 128))
    text = graph.text(graph.quantized(graph.relu(total), 0.5, 77))
    x, y = (a.astype(np.int8).reshape(shape) for a in np.divmod(np.arange(1 << 16), 256))
    module = run(text, *PASSES, constants=graph.constants)
    (before,) = call(parse_module(text, constants=graph.constants), x, y, constants=graph.constants)
    (after,) = call(module, x, y, constants=graph.constants)
    assert "arith.divf" not in names(module)
    np.testing.assert_array_equal(after, before)


def test_numbers_that_are_no_integers_are_left() -> None:
    graph = Graph(x=(1, 3, 6, 6))
    value = graph.dequantized("%x", 0.5, 7)
    squared = graph.generic(
        [(value, _type((1, 3, 6, 6), "f32"), FULL)] * 2, (1, 3, 6, 6), "f32", "%r = arith.mulf %a0, %a1 : f32"
    )
    text = graph.text(graph.quantized(squared, 3.0, 2))
    assert "arith.divf" in names(run(text, *PASSES, constants=graph.constants))


def test_the_target_is_asked() -> None:
    graph, text, _ = residual()
    module = run(text, Requantize(), constants=graph.constants, target=object(), description=None)
    assert "arith.divf" in names(module)


@pytest.mark.parametrize("signed", [False, True])
def test_other_numbers_are_rounded_by_an_addition(signed: bool) -> None:
    """The same bytes, but for ties; infinities are the last bytes, NaN the lowest."""
    graph = Graph(x=(1, 3, 40, 41))
    zero = -5 if signed else 117
    image = graph.dequantized("%x", 0.5, 7)
    inner = "%r = arith.divf %a0, %a1 : f32"
    divided = graph.generic(
        [(v, _type((1, 3, 40, 41), "f32"), FULL) for v in (image, "%y")], (1, 3, 40, 41), "f32", inner
    )
    graph.arguments += ", %y: tensor<1x3x40x41xf32>"
    text = graph.text(graph.quantized(divided, 0.37, zero, signed=signed))
    module = run(text, Requantize(always=True, floats=True), Canonicalize(), constants=graph.constants)
    assert "math.roundeven" not in names(module)
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (1, 3, 40, 41)).astype(np.int8)
    x.flat[:3] = 7, 8, 6
    y = rng.standard_normal(x.shape).astype(np.float32)
    y.flat[:3] = 0
    with np.errstate(all="ignore"):
        (before,) = call(parse_module(text, constants=graph.constants), x, y, constants=graph.constants)
        (after,) = call(module, x, y, constants=graph.constants)
    least, most = (-128, 127) if signed else (0, -1)
    assert after.flat[:3].tolist() == [least, most, least]
    assert np.mean(after.flat[3:] != before.flat[3:]) < 1e-3


@pytest.mark.parametrize(("depth", "exact"), [(8, True), (400, False)])
def test_products_of_two_dequantized_tensors(depth: int, exact: bool) -> None:
    """Sums that f32 holds exactly have no rounding in them."""
    shapes = {"x": (1, 3, 5, depth), "y": (1, 3, depth, 7)}
    graph = Graph(**shapes)
    parts = [graph.dequantized(f"%{name}", scale, 9) for name, scale in (("x", 0.07), ("y", 0.13))]
    whole = [_type(shape, "f32") for shape in shapes.values()]
    a, b = (_type(shape[1:], "f32") for shape in shapes.values())
    out, result = _type((3, 5, 7), "f32"), _type((1, 3, 5, 7), "f32")
    lines = f"""%pa = tensor.collapse_shape {parts[0]} [[0, 1], [2], [3]] : {whole[0]} into {a}
  %pb = tensor.collapse_shape {parts[1]} [[0, 1], [2], [3]] : {whole[1]} into {b}
  %pe = tensor.empty() : {out}
  %pf = linalg.fill ins(%zero : f32) outs(%pe : {out}) -> {out}
  %pm = linalg.batch_matmul ins(%pa, %pb : {a}, {b}) outs(%pf : {out}) -> {out}
  %p = tensor.expand_shape %pm [[0, 1], [2], [3]] output_shape [1, 3, 5, 7] : {out} into {result}"""
    graph.lines.append(lines)
    graph.shapes["%p"] = (1, 3, 5, 7)
    text = graph.text(graph.quantized("%p", 0.9 * depth, 100))
    module = run(text, *PASSES, constants=graph.constants)
    assert any("iree.integers" in op.attributes for op in module.walk()) == exact
    rng = np.random.default_rng(3)
    x, y = (rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes.values())
    (after,) = call(module, x, y, constants=graph.constants)
    sums = (x.view(np.uint8).astype(int) - 9) @ (y.view(np.uint8).astype(int) - 9)
    expected = np.clip(np.rint(sums * (0.07 * 0.13 / (0.9 * depth))) + 100, 0, 255)
    assert np.mean(after.view(np.uint8) != expected) < 0.02
