"""Products on matrix tiles: kernel IR in the interpreter, and its machine code where AMX is done in Python.

Expected is the meaning of the precision in numpy: operands rounded to bf16 (``medium``), or split in two bf16
numbers of which three products are summed (``high``); within the rounding of sums in f32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen import tile_plan
from iree_codegen.dispatch import Dispatch
from iree_codegen.layouts import constant_layout
from iree_codegen.legalize.kernel import legalize
from iree_codegen.select_strategy import generate
from iree_codegen.testing import interpret_kernel
from iree_codegen.tile_panels import DEPTH, pack_tile_panels, split, tile_panel_parameters, tile_panel_shape
from iree_codegen.verify import verify_workgroup_form
from iree_core_ir.constant_transforms import inverse_function
from iree_core_ir.target import ExecutableObject
from iree_core_ir.verifier import verify
from iree_target_llvm.description import describe
from iree_target_llvm.llvm_object import compile_text
from iree_target_llvm.module_printer import module_text
from iree_target_llvm.target import function_attributes, required_features
from iree_target_llvm.testing import run_native

from ..conftest import function, pack_constant
from ..test_contractions import product
from ..tile_machine import HAS_TILES, USABLE, tile_machine

PRECISIONS = ("medium", "high")
FEATURES = "+amx-tile,+amx-bf16,+avx512bf16"
Array = np.ndarray[Any, Any]


def machine(precision: str, features: str = FEATURES) -> Any:
    triple = "x86_64-unknown-linux-gnu"
    options = {"cpu": "x86-64-v4", "features": features, "matmul-precision": precision, "triple": triple}
    return describe(options)


def meaning(a: Array, b: Array, precision: str) -> Array:
    """The product as the precision defines it, summed in float64."""
    if precision == "medium":
        (ah,), (bh,) = split(a, 1), split(b, 1)
        return ah.astype(np.float64) @ bh.astype(np.float64)
    (ah, al), (bh, bl) = ([p.astype(np.float64) for p in split(x, 2)] for x in (a, b))
    return ah @ bh + ah @ bl + al @ bh


def bound(a: Array, b: Array) -> Array:
    """How far a sum in f32 may be off, whatever its order."""
    terms = 3 * a.shape[-1] + 4
    return terms * np.finfo(np.float32).eps * (np.abs(a).astype(np.float64) @ np.abs(b)) + 1e-30


def packed(
    func: Any, description: Any, weights: Array, argument: int = 1, kind: str = "tile-panels"
) -> Array:
    """The weights as the strategy wants them; ``func`` is told."""
    (layout,) = constant_layout(func, description)
    assert (layout.kind, layout.argument) == (kind, argument)
    return np.asarray(pack_constant(func, layout, weights))


def results(
    func: Any, description: Any, inputs: dict[int, Any], native: bool, strategy: str = "tile-matmul"
) -> list[tuple[str, Array]]:
    """What the kernel computes, by form."""
    return [(form, found[0]) for form, found in all_results(func, description, inputs, native, strategy)]


def all_results(
    func: Any, description: Any, inputs: dict[int, Any], native: bool, strategy: str = "tile-matmul"
) -> list[tuple[str, list[Array]]]:
    """All results of the kernel, by form."""
    kernel = generate(func, description)
    assert kernel.strategy == strategy
    found = []
    for form in ("kernel", "legalized"):
        if form == "legalized":
            legalize(kernel.module, description)
        verify(kernel.module)
        verify_workgroup_form(kernel.module)
        found.append((form, interpret_kernel(kernel, func, inputs)))
    text = module_text(kernel.module, function_attributes(description))
    data = compile_text(text, description, optimize=False, name=kernel.name)
    assert {"amx-tile", "amx-bf16"} <= set(required_features(text, description))
    if native:
        with tile_machine() as tiles:
            compiled = ExecutableObject(data, (kernel.export,))
            found.append(("native", run_native(func, compiled, inputs)))
        assert HAS_TILES or tiles.executed[-1:] in ([], ["tilerelease"])
    return found


def runs_here() -> bool:
    """This machine has all of the kernels' features but the tiles."""
    from iree_target_llvm.description import host_features

    needed = {f for f in machine("medium").features if not f.startswith("amx")}
    return USABLE and needed <= host_features()


def numbers(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("m", "n", "k", "transposed"),
    [
        (1, 16, 16, False),
        (1, 33, 40, True),
        (16, 17, 32, False),
        (17, 9, 33, True),
        (32, 32, 64, False),
        (37, 40, 50, True),
        (65, 70, 31, False),
    ],
)
def test_products_mean_what_the_precision_says(
    m: int, n: int, k: int, transposed: bool, precision: str
) -> None:
    func = function(product(m, n, k, transposed=transposed, constant=True))
    description = machine(precision)
    if precision == "high" and m == 1:
        assert all(layout.kind != "tile-panels" for layout in constant_layout(func, description))
        return
    a, b, c = numbers(1, m, k), numbers(2, k, n), numbers(3, n)
    weights = np.ascontiguousarray(b.T) if transposed else b
    inputs = {0: a, 1: packed(func, description, weights), 2: c}
    expected = np.maximum(meaning(a, b, precision) + c, 0)
    allowed = bound(a, b) + 1e-6 * np.abs(c)
    for form, got in results(func, description, inputs, runs_here()):
        assert got.dtype == np.float32
        assert (np.abs(got - expected) <= allowed).all(), form
    error = np.abs(meaning(a, b, precision) - a.astype(np.float64) @ b)
    relative = 2.0**-7 if precision == "medium" else 2.0**-15
    assert (error <= relative * (np.abs(a).astype(np.float64) @ np.abs(b))).all()


@pytest.mark.parametrize("m", [1, 31, 32, 50])
def test_rows_known_when_called(m: int) -> None:
    func = function(product(None, 20, 36, constant=True))
    description = machine("high")
    a, b, c = numbers(1, m, 36), numbers(2, 36, 20), numbers(3, 20)
    inputs = {0: a, 1: packed(func, description, b), 2: c, 3: m}
    expected = np.maximum(meaning(a, b, "high") + c, 0)
    for form, got in results(func, description, inputs, runs_here()):
        assert (np.abs(got - expected) <= bound(a, b) + 1e-6).all(), form


NARROW = """
#a = affine_map<(d0, d1, d2) -> (d0, d2)>
#b = affine_map<(d0, d1, d2) -> (d2, d1)>
#c = affine_map<(d0, d1, d2) -> (d0, d1)>
#full = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
func.func @product(%a: tensor<{m}x{k}xbf16>, %b: tensor<{k}x{n}xf32> {{iree.constant}}, %c: tensor<{n}xf32>,
    %r: tensor<{m}x{n}xf32>, %out: tensor<{m}x{n}xbf16>, %out2: tensor<{m}x{n}xf32>)
    -> (tensor<{m}x{n}xbf16>, tensor<{m}x{n}xf32>) {{
  %zero = arith.constant 0.0 : f32
  %w = tensor.empty() : tensor<{m}x{k}xf32>
  %x = linalg.generic {{indexing_maps = [#full, #full], iterator_types = ["parallel", "parallel"]}}
      ins(%a : tensor<{m}x{k}xbf16>) outs(%w : tensor<{m}x{k}xf32>) {{
  ^bb0(%y: bf16, %o: f32):
    %s = arith.extf %y : bf16 to f32
    linalg.yield %s : f32
  }} -> tensor<{m}x{k}xf32>
  %e = tensor.empty() : tensor<{m}x{n}xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %p = linalg.generic {{indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%x, %b : tensor<{m}x{k}xf32>, tensor<{k}x{n}xf32>) outs(%f : tensor<{m}x{n}xf32>) {{
  ^bb0(%y: f32, %z: f32, %o: f32):
    %s = arith.mulf %y, %z : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  }} -> tensor<{m}x{n}xf32>
  %q:2 = linalg.generic {{indexing_maps = [#full, #column, #full, #full, #full],
      iterator_types = ["parallel", "parallel"]}}
      ins(%p, %c, %r : tensor<{m}x{n}xf32>, tensor<{n}xf32>, tensor<{m}x{n}xf32>)
      outs(%out, %out2 : tensor<{m}x{n}xbf16>, tensor<{m}x{n}xf32>) {{
  ^bb0(%y: f32, %z: f32, %d: f32, %o: bf16, %o2: f32):
    %s = arith.addf %y, %z : f32
    %t = arith.addf %s, %d : f32
    %u = arith.truncf %t : f32 to bf16
    linalg.yield %u, %t : bf16, f32
  }} -> (tensor<{m}x{n}xbf16>, tensor<{m}x{n}xf32>)
  return %q#0, %q#1 : tensor<{m}x{n}xbf16>, tensor<{m}x{n}xf32>
}}
"""


@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(1, 32, 32), (5, 16, 64), (16, 33, 96), (17, 64, 32), (33, 70, 64), (50, 32, 160), (40, 48, 40)],
)
def test_rows_stored_as_bf16_are_tiles_where_they_lie(m: int, n: int, k: int) -> None:
    func = function(NARROW.format(m=m, n=n, k=k))
    description = machine("medium")
    bf16 = element_type("bf16").dtype
    a, b, c, r = numbers(1, m, k).astype(bf16), numbers(2, k, n), numbers(3, n), numbers(4, m, n)
    inputs = {0: a, 1: packed(func, description, b), 2: c, 3: r}
    plan = tile_plan.plan_tiles(Dispatch(func), description)
    # Rows that end inside a tile are copied: the next row's numbers are no zeros.
    assert plan is not None and (plan.narrow is not None) == (k % 32 == 0)
    wide = a.astype(np.float32)
    expected = meaning(wide, b, "medium") + c + r
    allowed = bound(wide, b) + 1e-6 * (np.abs(c) + np.abs(r))
    for form, (narrow, full) in all_results(func, description, inputs, runs_here()):
        assert narrow.dtype == bf16 and full.dtype == np.float32
        assert (np.abs(full - expected) <= allowed).all(), form
        np.testing.assert_array_equal(narrow.astype(np.float32), full.astype(bf16).astype(np.float32))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("m", "n", "k", "chunks"), [(33, 70, 128, 4), (20, 300, 90, 3), (64, 32, 96, 3), (40, 40, 160, 5)]
)
def test_rows_beyond_the_cache_meet_the_weights_in_chunks(
    m: int, n: int, k: int, chunks: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = machine(precision)
    parts = 2 if precision == "high" else 1
    monkeypatch.setattr(tile_plan, "BLOCK_BYTES", 2 * m * DEPTH * 2 * parts)
    func = function(product(m, n, k, constant=True))
    a, b, c = numbers(1, m, k), numbers(2, k, n), numbers(3, n)
    inputs = {0: a, 1: packed(func, description, b), 2: c}
    assert generate(func, description).why.endswith(f"chunks of {DEPTH}")
    plan = tile_plan.plan_tiles(Dispatch(func), description)
    assert plan is not None and (plan.chunks, plan.blocks) == (chunks, 1)
    expected = np.maximum(meaning(a, b, precision) + c, 0)
    for form, got in results(func, description, inputs, runs_here()):
        assert (np.abs(got - expected) <= bound(a, b) + 1e-6 * np.abs(c)).all(), form
    if precision == "medium" and k % DEPTH == 0:
        func = function(NARROW.format(m=m, n=n, k=k))
        bf16 = element_type("bf16").dtype
        rows, rest = a.astype(bf16), numbers(4, m, n)
        inputs = {0: rows, 1: packed(func, description, b), 2: c, 3: rest}
        wide = rows.astype(np.float32)
        expected = meaning(wide, b, "medium") + c + rest
        for form, (_, full) in all_results(func, description, inputs, runs_here()):
            assert (np.abs(full - expected) <= bound(wide, b) + 1e-5).all(), form


@pytest.mark.parametrize(("m", "k", "which"), [(40, 64, 0), (40, 768, 0), (40, 800, 1), (20, 800, None)])
def test_what_is_not_read_again_soon_leaves_the_cache_to_what_is(m: int, k: int, which: int | None) -> None:
    """Rows pass by panels that fit the first cache; longer panels pass by themselves; one tile of rows reads
    nothing again."""
    func = function(product(m, 64, k, constant=True))
    description = machine("medium")
    packed(func, description, numbers(1, k, 64))
    kernel = generate(func, description)
    loads = [op for op in kernel.module.walk() if op.name == "amx.tile_load"]
    assert [op.streamed is not None for op in loads] == [which == i for i in (0, 1, 0, 1)]
    text = module_text(kernel.module, function_attributes(description))
    assert text.count("call void @llvm.x86.tileloaddt164") == (0 if which is None else 2)


BATCHED = """
#a = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>
#b = affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>
#c = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
func.func @product(%a: tensor<3x18x24xf32>, %b: tensor<3x24x20xf32> {iree.constant},
    %out: tensor<3x18x20xf32>) -> tensor<3x18x20xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<3x18x20xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<3x18x20xf32>) -> tensor<3x18x20xf32>
  %p = linalg.generic {indexing_maps = [#a, #b, #c],
      iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%a, %b : tensor<3x18x24xf32>, tensor<3x24x20xf32>) outs(%f : tensor<3x18x20xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.mulf %x, %y : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<3x18x20xf32>
  return %p : tensor<3x18x20xf32>
}
"""


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_batch_of_weights(precision: str) -> None:
    func = function(BATCHED)
    description = machine(precision)
    a, b = numbers(1, 3, 18, 24), numbers(2, 3, 24, 20)
    inputs = {0: a, 1: packed(func, description, b)}
    for form, got in results(func, description, inputs, runs_here()):
        for i in range(3):
            assert (np.abs(got[i] - meaning(a[i], b[i], precision)) <= bound(a[i], b[i])).all(), form


@pytest.mark.parametrize("precision", PRECISIONS)
def test_numbers_that_are_not_finite_stay_in_their_rows_and_columns(precision: str) -> None:
    func = function(product(20, 24, 40, constant=True))
    description = machine(precision)
    a, b, c = np.abs(numbers(1, 20, 40)), numbers(2, 40, 24), np.zeros(24, np.float32)
    a[3, 5], a[7, 39], b[2, 11] = np.inf, np.nan, np.nan
    inputs = {0: a, 1: packed(func, description, b), 2: c}
    for form, got in results(func, description, inputs, runs_here()):
        finite = np.isfinite(got)
        assert not finite[7].any() and not finite[:, 11].any(), form
        # Infinity meets both parts of the weights: their signs may differ, so a NaN is allowed at ``high``.
        assert not (got[3] > 0)[finite[3]].any(), form
        rest = np.ix_([i for i in range(20) if i not in (3, 7)], [j for j in range(24) if j != 11])
        assert finite[rest].all(), form


def test_splitting_keeps_seventeen_bits() -> None:
    x = numbers(4, 1000)
    high, low = split(x, 2)
    assert (np.abs(high.astype(np.float64) + low.astype(np.float64) - x) <= 2.0**-17 * np.abs(x)).all()
    special = np.array([np.inf, -np.inf, np.nan, 0, -0.0, 1e-40, 3.4e38], np.float32)
    high, low = split(special, 2)
    np.testing.assert_array_equal(low[:3].astype(np.float32), 0)
    assert high.dtype == element_type("bf16").dtype


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("k", "n", "width"), [(1, 1, 16), (33, 17, 32), (64, 32, 32)])
def test_what_is_unpacked_is_kept_when_packed_again(k: int, n: int, width: int, parts: int) -> None:
    parameters = tile_panel_parameters([0], [1], 2, width, parts)
    source = numbers(5, 3, k, n)
    shape = tile_panel_shape(source.shape, parameters)
    once = pack_tile_panels([source], parameters, shape, np.dtype(np.float32))
    back = inverse_function("tile-panels")(once, parameters, source.shape)
    np.testing.assert_allclose(back, source, rtol=2.0**-8 if parts == 1 else 2.0**-16)
    again = pack_tile_panels([back], parameters, shape, np.dtype(np.float32))
    np.testing.assert_array_equal(inverse_function("tile-panels")(again, parameters, source.shape), back)


def test_what_has_no_tiles_or_wants_f32_stays_as_it_was() -> None:
    func = function(product(32, 32, 64, constant=True))
    for description in (machine("highest"), machine("high", "+avx512bf16"), machine("medium", "+amx-tile")):
        assert [layout.kind for layout in constant_layout(func, description)] == ["cpu-panels"]
        kernel = generate(func, description)
        assert kernel.strategy == "matmul"
        text = module_text(kernel.module, "")
        assert not any(f.startswith("amx") for f in required_features(text, description))
