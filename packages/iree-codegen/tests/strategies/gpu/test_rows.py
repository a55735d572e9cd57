"""Teams of invocations per row: softmax, normalizations, reductions, arg-maxima against the interpreter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_codegen.strategies.gpu.rows import rows

from .dispatches import DEVICES, SMALL, check, random, reduction, softmax

SERIAL = replace(SMALL, max_workgroup_invocations=4, max_workgroup_size=(4, 4, 1))
"""One subgroup in a workgroup."""


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Any:
    return DEVICES[request.param]


def operations(kernel: Any) -> list[str]:
    return [op.name for op in kernel.module.walk()]


@pytest.mark.parametrize("n", [16, 33, 64, 130, 500])
def test_softmax(device: Any, n: int) -> None:
    check(softmax((5, n), 1), {0: random((5, n))}, rows, device, invocations=60)


@pytest.mark.parametrize("type", ["f16", "bf16", "f64"])
def test_softmax_of_other_floats(type: str) -> None:
    tolerance = {"f16": 2e-3, "bf16": 2e-2, "f64": 1e-13}[type]
    check(softmax((3, 48), 1, type), {0: random((3, 48), type)}, rows, SMALL, tolerance=tolerance)


def test_rows_are_loaded_once_and_stay_in_registers() -> None:
    kernel = check(softmax((4, 64), 1), {0: random((4, 64))}, rows, SMALL)
    names = operations(kernel)
    # A subgroup of 4, of which each has four vectors of 4.
    assert names.count("vector.load") == names.count("vector.store") == 4
    assert kernel.export.scratch_bytes == 0


def test_a_subgroup_per_row_needs_no_barrier() -> None:
    kernel = check(softmax((6, 40), 1), {0: random((6, 40))}, rows, DEVICES["cpu"])
    assert "gpu.barrier" not in operations(kernel)
    assert "a subgroup each" in kernel.why


def test_neighbouring_rows_are_columns_of_a_workgroup() -> None:
    kernel = check(softmax((2, 40, 7), 1), {0: random((2, 40, 7))}, rows, SMALL)
    assert "apart along y" in kernel.why


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_numbers_in_a_row(device: Any, special: float) -> None:
    a = random((4, 50))
    a[2, 17] = special
    check(softmax((4, 50), 1), {0: a}, rows, device)
    check(reduction("arith.maximumf", "f32", (4, 50), (1,), "0xFF800000"), {0: a}, rows, device, tolerance=0)


KINDS = [
    ("arith.addf", "f32", "0.0"), ("arith.addf", "f32", "2.5"), ("arith.mulf", "f64", "1.0"),
    ("arith.maximumf", "f32", "0xFF800000"), ("arith.minnumf", "f32", "0x7F800000"),
    ("arith.addf", "f16", "0.0"), ("arith.addi", "i32", "3"), ("arith.addi", "i64", "0"),
    ("arith.maxsi", "i8", "-128"), ("arith.minui", "i16", "-1"), ("arith.maxui", "i8", "0"),
    ("arith.andi", "i1", "true"), ("arith.ori", "i1", "false"), ("arith.xori", "i32", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "type", "initial"), KINDS, ids=lambda v: str(v))
def test_kinds(device: Any, op: str, type: str, initial: str) -> None:
    tolerance = 5e-3 if type == "f16" else 1e-5
    a = random((3, 83), type)
    check(reduction(op, type, (3, 83), (1,), initial), {0: a}, rows, device, tolerance=tolerance)


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((70,), (0,)),
        ((2, 131), (1,)),
        ((131, 21), (0,)),
        ((3, 7, 19), (1, 2)),
        ((6, 5, 18), (0, 2)),
        ((2, 600), (1,)),
    ],
    ids=str,
)
def test_shapes(device: Any, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    text = reduction("arith.addf", "f32", shape, dims, "0.0")
    check(text, {0: random(shape)}, rows, device)


def test_epilogue_of_a_reduction(device: Any) -> None:
    then = "%c = arith.constant 0.01 : f32\n %m = arith.mulf %s, %c : f32\n %t = math.sqrt %m : f32"
    text = reduction("arith.addf", "f32", (5, 100), (1,), "0.0", then)
    check(text, {0: np.abs(random((5, 100)))}, rows, device)


@pytest.mark.parametrize("n", [1, 4, 16, 33])
def test_short_rows_are_left_to_invocations(n: int) -> None:
    short = n < 16
    check(softmax((40, n), 1), {0: random((40, n))}, rows, SMALL, declined=short)


def argmax(rows: int, n: int, last: bool = False) -> str:
    test = "%b0 = arith.cmpf oge, %x, %m : f32" if last else "%b0 = arith.cmpf ogt, %x, %m : f32"
    return f"""
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
func.func @argmax(%a: tensor<{rows}x{n}xf32>, %v: tensor<{rows}xf32>, %p: tensor<{rows}xi64>)
    -> (tensor<{rows}xf32>, tensor<{rows}xi64>) {{
  %low = arith.constant 0xFF800000 : f32
  %none = arith.constant -1 : i64
  %zero = arith.constant 0 : i64
  %v0 = linalg.fill ins(%low : f32) outs(%v : tensor<{rows}xf32>) -> tensor<{rows}xf32>
  %p0 = linalg.fill ins(%none : i64) outs(%p : tensor<{rows}xi64>) -> tensor<{rows}xi64>
  %0:2 = linalg.generic {{indexing_maps = [#full, #row, #row], iterator_types = ["parallel", "reduction"]}}
      ins(%a : tensor<{rows}x{n}xf32>) outs(%v0, %p0 : tensor<{rows}xf32>, tensor<{rows}xi64>) {{
  ^bb0(%x: f32, %m: f32, %q: i64):
    %j = linalg.index 1 : index
    %i = arith.index_cast %j : index to i64
    {test}
    %b1 = arith.cmpi slt, %q, %zero : i64
    %b = arith.ori %b0, %b1 : i1
    %s = arith.select %b, %x, %m : f32
    %t = arith.select %b, %i, %q : i64
    linalg.yield %s, %t : f32, i64
  }} -> (tensor<{rows}xf32>, tensor<{rows}xi64>)
  return %0#0, %0#1 : tensor<{rows}xf32>, tensor<{rows}xi64>
}}"""


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("n", [16, 41, 100])
def test_argmax_of_equal_elements(device: Any, n: int, last: bool) -> None:
    """The first (or last) of equal elements wins, wherever the pieces of the row are cut."""
    a = np.round(random((3, n)))
    a[1] = -np.inf
    check(argmax(3, n, last), {0: a}, rows, device, tolerance=0)


NORM = """
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#column = affine_map<(d0, d1) -> (d1)>
func.func @norm(%a: tensor<ROWSxNxf32>, %g: tensor<Nxf32>, %out: tensor<ROWSxNxf32>) -> tensor<ROWSxNxf32> {
  %zero = arith.constant 0.0 : f32
  %count = arith.constant COUNT : f32
  %small = arith.constant 1.0e-5 : f32
  %e = tensor.empty() : tensor<ROWSxf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<ROWSxf32>) -> tensor<ROWSxf32>
  %sum = linalg.generic {indexing_maps = [#full, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<ROWSxNxf32>) outs(%z : tensor<ROWSxf32>) {
  ^bb0(%x: f32, %o: f32):
    %s = arith.addf %x, %o : f32
    linalg.yield %s : f32
  } -> tensor<ROWSxf32>
  %squares = linalg.generic {indexing_maps = [#full, #row, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a, %sum : tensor<ROWSxNxf32>, tensor<ROWSxf32>) outs(%z : tensor<ROWSxf32>) {
  ^bb0(%x: f32, %t: f32, %o: f32):
    %m = arith.divf %t, %count : f32
    %d = arith.subf %x, %m : f32
    %q = arith.mulf %d, %d : f32
    %s = arith.addf %q, %o : f32
    linalg.yield %s : f32
  } -> tensor<ROWSxf32>
  %r = linalg.generic {indexing_maps = [#full, #row, #row, #column, #full],
      iterator_types = ["parallel", "parallel"]}
      ins(%a, %sum, %squares, %g : tensor<ROWSxNxf32>, tensor<ROWSxf32>, tensor<ROWSxf32>, tensor<Nxf32>)
      outs(%out : tensor<ROWSxNxf32>) {
  ^bb0(%x: f32, %t: f32, %v: f32, %w: f32, %o: f32):
    %m = arith.divf %t, %count : f32
    %d = arith.subf %x, %m : f32
    %n = arith.divf %v, %count : f32
    %p = arith.addf %n, %small : f32
    %k = math.rsqrt %p : f32
    %y = arith.mulf %d, %k : f32
    %u = arith.mulf %y, %w : f32
    linalg.yield %u : f32
  } -> tensor<ROWSxNxf32>
  return %r : tensor<ROWSxNxf32>
}"""


@pytest.mark.parametrize(("n_rows", "n"), [(3, 64), (5, 50), (2, 256), (2, 400)], ids=str)
def test_normalization(device: Any, n_rows: int, n: int) -> None:
    text = NORM.replace("ROWS", str(n_rows)).replace("COUNT", f"{n}.0").replace("N", str(n))
    check(text, {0: random((n_rows, n)), 1: random((n,), seed=1)}, rows, device, invocations=60)


def test_normalization_where_a_workgroup_is_a_subgroup() -> None:
    text = NORM.replace("ROWS", "3").replace("COUNT", "40.0").replace("N", "40")
    check(text, {0: random((3, 40)), 1: random((40,), seed=1)}, rows, SERIAL)


@pytest.mark.parametrize("sizes", [(3, 1), (2, 70), (5, 64)], ids=str)
def test_dynamic_rows(device: Any, sizes: tuple[int, int]) -> None:
    text = """
func.func @softmax(%a: tensor<?x?xf32> {iree.dims = [1, 2]}, %n: index, %m: index,
    %out: tensor<?x?xf32> {iree.dims = [1, 2]}) -> tensor<?x?xf32> {
  %r = linalg_ext.softmax dimension(1) ins(%a : tensor<?x?xf32>) outs(%out : tensor<?x?xf32>) -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}"""
    check(text, {0: random(sizes), 1: sizes[0], 2: sizes[1]}, rows, device)


def test_what_members_read_of_each_other_is_in_shared_memory() -> None:
    """A row reversed after it was made: the second step reads at other places than the first wrote."""
    text = """
#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#back = affine_map<(d0, d1) -> (d0, 39 - d1)>
func.func @f(%a: tensor<3x40xf32>, %out: tensor<3x40xf32>) -> tensor<3x40xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<3x40xf32>
  %s = tensor.empty() : tensor<3xf32>
  %z = linalg.fill ins(%zero : f32) outs(%s : tensor<3xf32>) -> tensor<3xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<3x40xf32>) outs(%e : tensor<3x40xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = math.exp %x : f32
    linalg.yield %r : f32
  } -> tensor<3x40xf32>
  %1 = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%0 : tensor<3x40xf32>) outs(%z : tensor<3xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.addf %x, %o : f32
    linalg.yield %r : f32
  } -> tensor<3xf32>
  %2 = linalg.generic {indexing_maps = [#back, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%0, %1 : tensor<3x40xf32>, tensor<3xf32>) outs(%out : tensor<3x40xf32>) {
  ^bb0(%x: f32, %t: f32, %o: f32):
    %r = arith.divf %x, %t : f32
    linalg.yield %r : f32
  } -> tensor<3x40xf32>
  return %2 : tensor<3x40xf32>
}"""
    for device in DEVICES.values():
        kernel = check(text, {0: random((3, 40))}, rows, device)
        assert kernel.notes["shared_bytes"] >= 160
        assert "gpu.barrier" in operations(kernel)


def test_long_intermediates_go_through_scratch() -> None:
    """Neither registers nor shared memory hold the row, and its elements are reductions themselves."""
    n = 1300
    text = f"""
#three = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#two = affine_map<(d0, d1, d2) -> (d0, d1)>
#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
func.func @f(%a: tensor<2x{n}x2xf32>, %out: tensor<2x{n}xf32>) -> tensor<2x{n}xf32> {{
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x{n}xf32>
  %s = tensor.empty() : tensor<2xf32>
  %y = linalg.fill ins(%zero : f32) outs(%e : tensor<2x{n}xf32>) -> tensor<2x{n}xf32>
  %z = linalg.fill ins(%zero : f32) outs(%s : tensor<2xf32>) -> tensor<2xf32>
  %0 = linalg.generic {{indexing_maps = [#three, #two], iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%a : tensor<2x{n}x2xf32>) outs(%y : tensor<2x{n}xf32>) {{
  ^bb0(%x: f32, %o: f32):
    %r = arith.addf %x, %o : f32
    linalg.yield %r : f32
  }} -> tensor<2x{n}xf32>
  %1 = linalg.generic {{indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}}
      ins(%0 : tensor<2x{n}xf32>) outs(%z : tensor<2xf32>) {{
  ^bb0(%x: f32, %o: f32):
    %r = arith.maximumf %x, %o : f32
    linalg.yield %r : f32
  }} -> tensor<2xf32>
  %2 = linalg.generic {{indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}}
      ins(%0, %1 : tensor<2x{n}xf32>, tensor<2xf32>) outs(%out : tensor<2x{n}xf32>) {{
  ^bb0(%x: f32, %t: f32, %o: f32):
    %r = arith.subf %x, %t : f32
    linalg.yield %r : f32
  }} -> tensor<2x{n}xf32>
  return %2 : tensor<2x{n}xf32>
}}"""
    kernel = check(text, {0: random((2, n, 2))}, rows, SMALL)
    assert kernel.export.scratch_bytes >= 4 * n


def test_results_of_two_kinds_of_rows() -> None:
    """Rows of one length, along memory for one result and across it for the other."""
    text = """
#id = affine_map<(d0, d1) -> (d0, d1)>
#back = affine_map<(d0, d1) -> (d1, d0)>
#row = affine_map<(d0, d1) -> (d0)>
func.func @two(%a: tensor<3x64xf32>, %b: tensor<64x5xf32>, %s: tensor<3xf32>, %t: tensor<5xf32>)
    -> (tensor<3xf32>, tensor<5xf32>) {
  %zero = arith.constant 0.0 : f32
  %y = linalg.fill ins(%zero : f32) outs(%s : tensor<3xf32>) -> tensor<3xf32>
  %z = linalg.fill ins(%zero : f32) outs(%t : tensor<5xf32>) -> tensor<5xf32>
  %0 = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<3x64xf32>) outs(%y : tensor<3xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.addf %x, %o : f32
    linalg.yield %r : f32
  } -> tensor<3xf32>
  %1 = linalg.generic {indexing_maps = [#back, #row], iterator_types = ["parallel", "reduction"]}
      ins(%b : tensor<64x5xf32>) outs(%z : tensor<5xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.addf %x, %o : f32
    linalg.yield %r : f32
  } -> tensor<5xf32>
  return %0, %1 : tensor<3xf32>, tensor<5xf32>
}"""
    for device in DEVICES.values():
        check(text, {0: random((3, 64)), 1: random((64, 5), seed=1)}, rows, device)
