"""Schedules of matrix products: blocks of rows, chunks of the reduction, copied rows, sums in registers or not.

Schedules are forced, so that small products are cut up as large ones are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen import matmul_plan
from iree_codegen.cost_model import Schedule
from iree_codegen.layouts import constant_layout
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import assert_close, compile_with, function
from ..test_contractions import check_with_layouts, inputs, product

GELU = """
    %half = arith.constant 0.5 : f32
    %root = arith.constant 0.70710677 : f32
    %one = arith.constant 1.0 : f32
    %u = arith.mulf %s, %root : f32
    %e1 = math.erf %u : f32
    %e2 = arith.addf %e1, %one : f32
    %e3 = arith.mulf %s, %e2 : f32
    %t = arith.mulf %e3, %half : f32"""


def with_gelu(text: str) -> str:
    return text.replace("%t = arith.maximumf %s, %zero : f32", GELU)


SCHEDULES = [
    Schedule(tiles=2),
    Schedule(tiles=1, panels=2),
    Schedule(panels=3, copy_rows=True),
    Schedule(tiles=2, panels=2, copy_rows=True),
    Schedule(chunk=48),
    Schedule(chunk=32, panels=2),
    Schedule(tiles=2, chunk=64, panels=3, copy_rows=True),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize(
    ("m", "n", "k", "gelu"), [(45, 100, 144, False), (33, 64, 100, True), (1, 200, 112, False)]
)
def test_schedules(
    description: Any, monkeypatch: Any, schedule: Schedule, m: int, n: int, k: int, gelu: bool
) -> None:
    monkeypatch.setattr(matmul_plan, "choose_schedule", lambda product, core: schedule)
    text = product(m, n, k, constant=True)
    func = function(with_gelu(text) if gelu else text)
    check_with_layouts(func, description, constant_layout(func, description), inputs(m, n, k))


@pytest.mark.parametrize("schedule", SCHEDULES[:4], ids=str)
def test_schedules_of_rows_read_in_place(description: Any, monkeypatch: Any, schedule: Schedule) -> None:
    monkeypatch.setattr(matmul_plan, "choose_schedule", lambda product, core: schedule)
    for m, n, k in ((45, 100, 33), (33, 31, 20)):
        func = function(product(m, n, k))
        check_with_layouts(func, description, [], inputs(m, n, k))


@pytest.mark.parametrize("schedule", SCHEDULES[:4], ids=str)
@pytest.mark.parametrize("m", [0, 5, 61])
def test_schedules_of_any_number_of_rows(
    description: Any, monkeypatch: Any, schedule: Schedule, m: int
) -> None:
    monkeypatch.setattr(matmul_plan, "choose_schedule", lambda product, core: schedule)
    if schedule.copy_rows and schedule.tiles is None:
        return
    func = function(product(None, 70, 24))
    check_with_layouts(func, description, [], {**inputs(m, 70, 24), 3: m})


@pytest.mark.parametrize("m", [0, 1, 2, 3, 13, 14, 15, 27, 41, 300])
def test_any_number_of_rows(description: Any, m: int) -> None:
    func = function(product(None, 35, 24))
    check_with_layouts(func, description, [], {**inputs(m, 35, 24), 3: m})


@pytest.mark.parametrize("k", [1, 2, 3, 7, 31, 97])
@pytest.mark.parametrize("m", [1, 2, 5, 16])
def test_odd_depths(description: Any, m: int, k: int) -> None:
    func = function(product(m, 33, k, constant=True))
    check_with_layouts(func, description, constant_layout(func, description), inputs(m, 33, k))


def test_special_values_stay_in_their_row_and_column(description: Any) -> None:
    m, n, k = 29, 45, 19
    func = function(product(m, n, k, constant=True))
    given = inputs(m, n, k)
    given[0][3, 5] = np.inf
    given[0][17, 0] = np.nan
    given[1][2, 44] = -np.inf
    check_with_layouts(func, description, constant_layout(func, description), given)


def test_a_residual_may_be_where_the_result_is(description: Any) -> None:
    """The result's memory is read by the epilogue: every element is read once before it is written."""
    m, n, k = 41, 50, 40
    text = f"""
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @add(%a: tensor<{m}x{k}xf32>, %b: tensor<{k}x{n}xf32>,
    %out: tensor<{m}x{n}xf32> {{iree.access = "readwrite"}}) -> tensor<{m}x{n}xf32> {{
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<{m}x{n}xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %p = linalg.matmul ins(%a, %b : tensor<{m}x{k}xf32>, tensor<{k}x{n}xf32>)
      outs(%f : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %r = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}}
      ins(%p : tensor<{m}x{n}xf32>) outs(%out : tensor<{m}x{n}xf32>) {{
  ^bb0(%x: f32, %o: f32):
    %s = arith.addf %x, %o : f32
    linalg.yield %s : f32
  }} -> tensor<{m}x{n}xf32>
  return %r : tensor<{m}x{n}xf32>
}}"""
    func = function(text)
    rng = np.random.default_rng(0)
    given = {
        0: rng.standard_normal((m, k)).astype(np.float32),
        1: rng.standard_normal((k, n)).astype(np.float32),
        2: rng.standard_normal((m, n)).astype(np.float32),
    }
    expected = run_reference(func, given)
    compiled = compile_with(func, description, "matmul")
    assert compiled is not None
    for got, want in zip(run_native(func, compiled, given), expected, strict=True):
        assert_close(got, want)
