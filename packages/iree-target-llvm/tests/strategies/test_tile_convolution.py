"""Convolutions on matrix tiles: kernel IR in the interpreter, and its machine code where AMX is done in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen import packed_window
from iree_codegen.layouts import constant_layout
from iree_codegen.tile_panels import (
    pack_tile_filters,
    split,
    tile_filter_parameters,
    tile_filter_shape,
)
from iree_core_ir.constant_transforms import inverse_function
from iree_target_llvm.testing import run_reference

from ..conftest import function
from .padded_convolution import PaddedConvolution
from .test_tile_matmul import PRECISIONS, machine, packed, results, runs_here

Array = np.ndarray[Any, Any]


class Case(PaddedConvolution):
    def text(self) -> str:
        """``relu(convolution(pad(x)) + bias)``."""
        f, (kh, kw) = self.filters, self.window
        image, padded = (self.image(self.channels, size, "f32") for size in (self.size, self.padded))
        filters, out = f"tensor<{f}x{self.channels}x{kh}x{kw}xf32>", self.image(f, self.out, "f32")
        full = "affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>"
        return f"""
func.func @convolution(%x: {image}, %w: {filters} {{iree.constant}}, %bias: tensor<{f}xf32>, %out: {out}) -> {out} {{
  %zero = arith.constant 0.0 : f32
  {self.padding("%zero", "f32")}
  %e = tensor.empty() : {out}
  %f = linalg.fill ins(%zero : f32) outs(%e : {out}) -> {out}
  %c = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<{self.stride}> : tensor<2xi64>}}
      ins({"%p" if self.pad else "%x"}, %w : {padded}, {filters}) outs(%f : {out}) -> {out}
  %r = linalg.generic {{indexing_maps = [{full}, affine_map<(d0, d1, d2, d3) -> (d1)>, {full}],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
      ins(%c, %bias : {out}, tensor<{f}xf32>) outs(%e : {out}) {{
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    %m = arith.maximumf %s, %zero : f32
    linalg.yield %m : f32
  }} -> {out}
  return %r : {out}
}}"""


CASES = (
    Case(32, 16, (4, 4)),
    Case(40, 20, (5, 9)),
    Case(17, 33, (7, 7)),
    Case(16, 5, (3, 18), batch=2),
    Case(20, 18, (6, 17), (3, 3), pad=1),
    Case(33, 8, (9, 9), (3, 3), stride=2, pad=1),
    Case(18, 17, (8, 8), stride=2),
)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions_mean_what_the_precision_says(
    case: Case, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_window, "ON_TILES", frozenset(PRECISIONS))
    description = machine(precision)
    rng = np.random.default_rng(len(str(case)))
    x = rng.standard_normal((case.batch, case.channels, *case.size)).astype(np.float32)
    w = rng.standard_normal((case.filters, case.channels, *case.window)).astype(np.float32)
    bias = rng.standard_normal(case.filters).astype(np.float32)
    func, plain = (
        function(case.text()),
        function(case.text().replace("xf32", "xf64").replace(": f32", ": f64")),
    )

    def exact(x: Array, w: Array) -> Array:
        """The sums alone, in float64."""
        zero = np.zeros(case.filters)
        low = run_reference(plain, {0: x.astype(np.float64), 1: w.astype(np.float64), 2: zero - 1e6})[0]
        high = run_reference(plain, {0: x.astype(np.float64), 1: w.astype(np.float64), 2: zero + 1e6})[0]
        assert not low.any()
        return high - 1e6

    given = {0: x, 1: packed(func, description, w, kind="tile-filters"), 2: bias}
    xs, ws = split(x, 2), split(w, 2)
    meaning = exact(xs[0], ws[0])
    if precision == "high":
        meaning = meaning + exact(xs[0], ws[1]) + exact(xs[1], ws[0])
    size = exact(np.abs(x), np.abs(w))
    allowed = (3 * case.channels * np.prod(case.window) + 4) * np.finfo(np.float32).eps * size + 1e-6
    expected = np.maximum(meaning + bias[:, None, None], 0)
    for form, got in results(func, description, given, runs_here(), strategy="tile-convolution"):
        assert (np.abs(got - expected) <= allowed).all(), form


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (33, 40, 3, 3), (16, 32, 1, 2)])
def test_what_is_unpacked_is_kept_when_packed_again(shape: tuple[int, ...], parts: int) -> None:
    parameters = tile_filter_parameters(32, parts)
    source = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted = tile_filter_shape(shape, parameters)
    once = pack_tile_filters([source], parameters, wanted, np.dtype(np.float32))
    back = inverse_function("tile-filters")(once, parameters, shape)
    np.testing.assert_allclose(back, source, rtol=2.0**-8 if parts == 1 else 2.0**-16)
    again = pack_tile_filters([back], parameters, wanted, np.dtype(np.float32))
    np.testing.assert_array_equal(inverse_function("tile-filters")(again, parameters, shape), back)


def test_at_high_they_stay_f32() -> None:
    func = function(CASES[0].text())
    assert [layout.kind for layout in constant_layout(func, machine("medium"))] == ["tile-filters"]
    assert all(layout.kind != "tile-filters" for layout in constant_layout(func, machine("high")))
