"""Convolutions of unsigned bytes in channel blocks with signed weights: exactly the interpreter's results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from iree_codegen.layouts import constant_layout
from iree_codegen.select_strategy import generate
from iree_codegen.strategies.blocked_convolution import NAME
from iree_codegen.testing import interpret_kernel
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import function
from . import convolutions
from .test_integer_matmul import HAS_DOTS, machine, pack

Array = np.ndarray[Any, Any]
LANES = 16


@dataclass(frozen=True)
class Case(convolutions.Slides):
    channels: int
    out_channels: int
    size: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    batch: int = 1
    stem: bool = False

    @property
    def source(self) -> list[int]:
        if self.stem:
            return [self.batch, self.channels, *self.size]
        return [self.batch, -(-self.channels // LANES), *self.size, LANES]

    @property
    def weights(self) -> list[int]:
        blocks = -(-self.out_channels // LANES)
        if self.stem:
            return [blocks, self.channels, *self.kernel, LANES]
        return [blocks, self.source[1], *self.kernel, LANES, LANES]

    def text(self) -> str:
        """``quantized(convolution(pad(image)) * scale + residual)``."""
        top, left, bottom, right = self.pads
        height, width = self.size
        padded = list(self.source)
        padded[2:4] = [height + top + bottom, width + left + right]
        out = [self.batch, self.weights[0], *self.out_size, LANES]
        image, source, weights = (_tensor(s, "i8") for s in (padded, self.source, self.weights))
        sums, result, scale = _tensor(out, "i32"), _tensor(out, "i8"), _tensor([out[1], LANES], "f32")
        (sy, sx), (dy, dx) = self.strides, self.dilations
        at = f"y * {sy} + p * {dy}, x * {sx} + q * {dx}"
        loops = "n, f, y, x, l, c, p, q" + ("" if self.stem else ", i")
        read, own = (f"n, c, {at}", "f, c, p, q, l") if self.stem else (f"n, c, {at}, i", "f, c, p, q, i, l")
        reduced = ", ".join(['"reduction"'] * (3 if self.stem else 4))
        parallel = ", ".join(['"parallel"'] * 5)
        behind = [0] * (len(self.source) - 4)
        low, high = [0, 0, top, left, *behind], [0, 0, bottom, right, *behind]
        arguments = ", ".join(f"%i{i}: index" for i in range(len(low)))
        pad = f"""%p = tensor.pad %image low{low} high{high} {{
    ^bb0({arguments}):
      tensor.yield %point : i8
    }} : {source} to {image}"""
        hint = "" if self.stem else f" attrs = {{iree.channels = {self.channels} : i64}}"
        full = "affine_map<(n, f, y, x, l) -> (n, f, y, x, l)>"
        return f"""
func.func @convolve(%image: {source}, %w: {weights} {{iree.constant}}, %scale: {scale}, %more: {result},
    %out: {result}) -> {result} {{
  %zero = arith.constant 0 : i32
  %point = arith.constant -125 : i8
  {pad if any(self.pads) else ""}
  %e = tensor.empty() : {sums}
  %f = linalg.fill ins(%zero : i32) outs(%e : {sums}) -> {sums}
  %c = linalg.generic {{indexing_maps = [affine_map<({loops}) -> ({read})>, affine_map<({loops}) -> ({own})>,
      affine_map<({loops}) -> (n, f, y, x, l)>], iterator_types = [{parallel}, {reduced}]}}
      ins({"%p" if any(self.pads) else "%image"}, %w : {image}, {weights}) outs(%f : {sums}){hint} {{
  ^bb0(%a: i8, %b: i8, %o: i32):
    %u = arith.extui %a : i8 to i32
    %v = arith.extsi %b : i8 to i32
    %t = arith.muli %u, %v : i32
    %q = arith.addi %o, %t : i32
    linalg.yield %q : i32
  }} -> {sums}
  %g = tensor.empty() : {result}
  %r = linalg.generic {{indexing_maps = [{full}, affine_map<(n, f, y, x, l) -> (f, l)>, {full}, {full}],
      iterator_types = [{parallel}]}}
      ins(%c, %scale, %more : {sums}, {scale}, {result}) outs(%g : {result}) {{
  ^bb0(%a: i32, %s: f32, %m: i8, %o: i8):
    %y = arith.sitofp %a : i32 to f32
    %z = arith.mulf %y, %s : f32
    %round = math.roundeven %z : f32
    %int = arith.fptosi %round : f32 to i32
    %mi = arith.extui %m : i8 to i32
    %sum = arith.addi %int, %mi : i32
    %low = arith.maxsi %sum, %zero : i32
    %most = arith.constant 255 : i32
    %high = arith.minsi %low, %most : i32
    %q = arith.trunci %high : i32 to i8
    linalg.yield %q : i8
  }} -> {result}
  return %r : {result}
}}"""

    def inputs(self) -> dict[int, Any]:
        """Lanes behind the last channel of the image hold anything; weights are zero there."""
        rng = np.random.default_rng(self.channels * self.out_channels)

        def random(shape: list[int]) -> Array:
            return rng.integers(-128, 128, shape).astype(np.int8)

        weights = random(self.weights)
        if not self.stem:
            weights.reshape(*self.weights[:-2], LANES, LANES)[
                :, -1, :, :, (self.channels - 1) % LANES + 1 :
            ] = 0
        scale = rng.uniform(0.0001, 0.01, (self.weights[0], LANES)).astype(np.float32)
        more = random([self.batch, self.weights[0], *self.out_size, LANES])
        return {0: random(self.source), 1: weights, 2: scale, 3: more}


def _tensor(shape: list[int], element: str) -> str:
    return "tensor<" + "".join(f"{n}x" for n in shape) + element + ">"


def same(case: Case) -> str:
    """Compare; returns why the strategy did what it did."""
    description = machine()
    func, plain = function(case.text()), function(case.text())
    (layout,) = constant_layout(func, description)
    assert (layout.kind, layout.argument) == ("integer-blocked-panels", 1)
    inputs = case.inputs()
    given = {**inputs, 1: pack(func, layout, inputs[1])}
    kernel = generate(func, description)
    assert kernel.strategy == NAME
    (expected,) = run_reference(plain, inputs)
    if not HAS_DOTS or np.prod(expected.shape) * np.prod(case.weights[1:]) < 1 << 20:
        np.testing.assert_array_equal(interpret_kernel(kernel, func, given)[0], expected)
    if HAS_DOTS:
        compiled = compile_function(func, description)
        np.testing.assert_array_equal(run_native(func, compiled, given)[0], expected)
    return kernel.why


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padded", [False, True])
def test_windows(kernel: Any, strides: Any, padded: bool) -> None:
    pads = (kernel[0] // 2, kernel[1] // 2) * 2 if padded else (0, 0, 0, 0)
    same(Case(33, 50, (9, 11), kernel, strides, pads=pads))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 7), (14, 14), (28, 30), (3, 70)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_sizes(size: Any, kernel: int) -> None:
    same(Case(40, 72, size, (kernel,) * 2, pads=(kernel // 2,) * 4))


@pytest.mark.parametrize("channels", [1, 4, 6, 16, 30, 64])
@pytest.mark.parametrize("out_channels", [1, 32, 100])
def test_channels(channels: int, out_channels: int) -> None:
    same(Case(channels, out_channels, (4, 15)))


@pytest.mark.parametrize("pads", [(1, 0, 2, 3), (0, 4, 0, 0), (0, 0, 5, 1)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 3)])
def test_pads(pads: Any, dilations: Any) -> None:
    same(Case(20, 40, (10, 13), (3, 3), (1, 2), dilations, pads, batch=2))


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_stems(channels: int, stride: int) -> None:
    case = Case(channels, 40, (19, 37), (5, 3), (stride,) * 2, stem=True)
    same(case)
    same(replace(case, pads=(2, 1, 2, 1), batch=2))


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (7, 7), (9, 18), (5, 70)])
@pytest.mark.parametrize("channels", [1, 4, 6])
def test_stems_of_single_pixels(channels: int, size: tuple[int, int]) -> None:
    """Their planes are no lists: rows are put together from bytes first."""
    same(Case(channels, 40, size, stem=True, batch=2))


def test_chunks_of_long_reductions() -> None:
    assert "chunks" in same(Case(2048, 48, (7, 7), (3, 3), pads=(1, 1, 1, 1)))


def test_weights_that_are_no_constant_are_left_to_others() -> None:
    func = function(Case(16, 16, (5, 5)).text().replace("iree.constant", "iree.other"))
    assert constant_layout(func, machine()) == ()
    assert generate(func, machine()).strategy != NAME
