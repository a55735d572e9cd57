"""Convolutions of unsigned images with signed filters: exactly the interpreter's results, whatever the sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen.layouts import constant_layout
from iree_codegen.select_strategy import generate
from iree_codegen.testing import interpret_kernel
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import function
from .padded_convolution import PaddedConvolution
from .test_integer_matmul import HAS_DOTS, machine, pack


class Case(PaddedConvolution):
    def text(self) -> str:
        """``quantized(convolution(pad(x)) * scale + more)``."""
        f, s, d = self.filters, self.stride, self.dilation
        kh, kw = self.window
        image, padded = (self.image(self.channels, size, "i8") for size in (self.size, self.padded))
        filters, sums = f"tensor<{f}x{self.channels}x{kh}x{kw}xi8>", self.image(f, self.out, "i32")
        out = self.image(f, self.out, "i8")
        source = "%p" if self.pad else "%x"
        loops = "d0, d1, d2, d3, d4, d5, d6"
        at = f"d0, d4, d2 * {s} + d5 * {d}, d3 * {s} + d6 * {d}"
        full = "affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>"
        return f"""
func.func @convolution(%x: {image}, %w: {filters} {{iree.constant}}, %scale: tensor<{f}xf32>, %more: {out},
    %out: {out}) -> {out} {{
  %zero = arith.constant 0 : i32
  %zp = arith.constant 3 : i8
  {self.padding("%zp", "i8")}
  %e = tensor.empty() : {sums}
  %f = linalg.fill ins(%zero : i32) outs(%e : {sums}) -> {sums}
  %c = linalg.generic {{indexing_maps = [affine_map<({loops}) -> ({at})>,
        affine_map<({loops}) -> (d1, d4, d5, d6)>, affine_map<({loops}) -> (d0, d1, d2, d3)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}}
      ins({source}, %w : {padded}, {filters}) outs(%f : {sums}) {{
  ^bb0(%a: i8, %b: i8, %o: i32):
    %u = arith.extui %a : i8 to i32
    %v = arith.extsi %b : i8 to i32
    %t = arith.muli %u, %v : i32
    %q = arith.addi %o, %t : i32
    linalg.yield %q : i32
  }} -> {sums}
  %g = tensor.empty() : {out}
  %r = linalg.generic {{indexing_maps = [{full}, affine_map<(d0, d1, d2, d3) -> (d1)>, {full}, {full}],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
      ins(%c, %scale, %more : {sums}, tensor<{f}xf32>, {out}) outs(%g : {out}) {{
  ^bb0(%a: i32, %s: f32, %m: i8, %o: i8):
    %y = arith.sitofp %a : i32 to f32
    %z = arith.mulf %y, %s : f32
    %mf = arith.uitofp %m : i8 to f32
    %sum = arith.addf %z, %mf : f32
    %round = math.roundeven %sum : f32
    %q = arith.fptoui %round : f32 to i8
    linalg.yield %q : i8
  }} -> {out}
  return %r : {out}
}}"""


CASES = (
    Case(8, 16, (4, 4)),
    Case(3, 5, (7, 7)),
    Case(64, 33, (7, 7)),
    Case(5, 9, (6, 20)),
    Case(4, 2, (30, 33), batch=2),
    Case(4, 6, (1, 5)),
    Case(9, 14, (9, 17), (3, 3), pad=1),
    Case(4, 30, (14, 14), (3, 3), pad=1),
    Case(3, 8, (20, 23), (7, 7), stride=2, pad=3),
    Case(6, 7, (15, 15), (1, 1), stride=2),
    Case(6, 7, (13, 21), (3, 3), stride=2, pad=1),
    Case(2, 3, (12, 19), (3, 2), dilation=2),
    Case(4, 4, (11, 18), (2, 3), stride=3),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_are_exact(case: Case) -> None:
    description = machine()
    rng = np.random.default_rng(len(str(case)))
    x = rng.integers(-128, 128, (case.batch, case.channels, *case.size)).astype(np.int8)
    w = rng.integers(-128, 128, (case.filters, case.channels, *case.window)).astype(np.int8)
    scale = rng.uniform(0.001, 0.01, case.filters).astype(np.float32)
    more = rng.integers(-128, 128, (case.batch, case.filters, *case.out)).astype(np.int8)
    func, plain = function(case.text()), function(case.text())
    (layout,) = constant_layout(func, description)
    assert (layout.kind, layout.argument) == ("integer-filters", 1)
    packed = pack(func, layout, w)
    inputs: dict[int, Any] = {0: x, 1: w, 2: scale, 3: more}
    given = {**inputs, 1: packed}
    kernel = generate(func, description)
    assert kernel.strategy == "integer-convolution"
    (expected,) = run_reference(plain, inputs)
    np.testing.assert_array_equal(interpret_kernel(kernel, func, given)[0], expected)
    if HAS_DOTS:
        compiled = compile_function(func, description)
        np.testing.assert_array_equal(run_native(func, compiled, given)[0], expected)


def test_filters_that_are_no_constant_are_left_to_others() -> None:
    func = function(Case(4, 8, (5, 5)).text().replace("iree.constant", "iree.other"))
    assert constant_layout(func, machine()) == ()
