"""Convolutions of blocked images on matrix tiles: kernel IR in the interpreter, and its machine code where AMX is
done in Python.

Expected is the meaning of the precision in numpy, within the rounding of sums in f32 (see ``test_tile_matmul``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen import blocked_tile_plan
from iree_codegen.blocked_tile_grid import PatchGrid, patch_grids
from iree_codegen.blocked_tile_panels import blocked_tile_parameters, pack_blocked_tiles, packed_size
from iree_codegen.layouts import constant_layout
from iree_codegen.rounded_arguments import rounded_arguments
from iree_codegen.tile_panels import split
from iree_core_ir.constant_transforms import inverse_function
from iree_core_ir.ir.types import bf16

from ..conftest import function, laid_out
from .test_blocked_convolution import Case, inputs_of, text_of
from .test_tile_matmul import PRECISIONS, machine, results, runs_here

LANES = 16
Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def whatever_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_tile_plan, "TILE_GAIN", float("inf"))


def sums(case: Case, image: Array, weights: Array) -> Array:
    """The convolution alone, in float64: ``[n, fb, y, x, fi]``."""
    (top, left, bottom, right), (oh, ow) = case.pads, case.out_size
    (sy, sx), (dy, dx), (kh, kw) = case.strides, case.dilations, case.kernel
    if case.stem:
        image, weights = image[..., None], weights[:, :, :, :, None]
    image = np.pad(image.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right), (0, 0)))
    found = np.zeros((image.shape[0], weights.shape[0], oh, ow, LANES))
    for y in range(kh):
        for x in range(kw):
            seen = image[
                :, :, y * dy : y * dy + (oh - 1) * sy + 1 : sy, x * dx : x * dx + (ow - 1) * sx + 1 : sx
            ]
            found += np.einsum("ncyxi,fcio->nfyxo", seen, weights[:, :, y, x].astype(np.float64))
    return found


def finished(case: Case, values: Array, bias: Array, residual: Array, columns: Array) -> Array:
    biased = values + bias[None, :, None, None, :]
    if case.epilogue == "relu":
        return np.maximum(biased, 0)
    if case.epilogue == "residual":
        return np.maximum(biased + residual, 0)
    if case.epilogue == "columns":
        return biased * columns[:, None]
    return biased if case.epilogue else values


def check(case: Case, precision: str, batch: int = 1, seed: int = 0) -> str:
    """The kernel's results in all forms are what the precision says; returns what the kernel says of itself."""
    description = machine(precision)
    func = function(text_of(case, LANES))
    given = inputs_of(case, LANES, batch, seed)
    image, weights = given[0], given[1]
    xs, ws = split(image, 2), split(weights, 2)
    meaning = sums(case, xs[0], ws[0])
    if precision == "high":
        meaning = meaning + sums(case, xs[0], ws[1]) + sums(case, xs[1], ws[0])
    size = sums(case, np.abs(image), np.abs(weights))
    allowed = (3 * case.channels * np.prod(case.kernel) + 8) * np.finfo(np.float32).eps * (size + 8)
    expected = finished(case, meaning, given[2], given[3], given[5])
    if case.out_channels % LANES and case.epilogue:
        expected[:, -1, :, :, case.out_channels % LANES :] = 0
    native = laid_out(func, description, given)
    for form, got in results(func, description, native, runs_here(), strategy="tile-convolution"):
        assert (np.abs(got - expected) <= allowed).all(), form
    (layout,) = constant_layout(func, description)
    return str(layout.kind)


PADDED = {"pads": (1, 1, 1, 1)}
CASES = (
    Case(32, 16, (4, 4), (1, 1)),
    Case(32, 32, (7, 7), (1, 1), epilogue="residual"),
    Case(40, 24, (7, 7), **PADDED, epilogue="relu"),
    Case(24, 40, (5, 9), **PADDED, epilogue="residual"),
    Case(16, 48, (3, 18), (1, 1), batch=2),
    Case(16, 16, (4, 4), batch=None, **PADDED),
    Case(33, 8, (9, 9), strides=(2, 2), **PADDED),
    Case(20, 32, (8, 8), (1, 1), (2, 2), epilogue="residual"),
    Case(20, 32, (9, 7), (1, 1), (2, 3), epilogue="columns"),
    Case(16, 32, (6, 17), epilogue="columns", **PADDED),
    Case(16, 16, (3, 33), epilogue="columns", pads=(2, 0, 0, 1)),
    Case(16, 16, (9, 8), (5, 5), pads=(2, 2, 2, 2)),
    Case(16, 16, (7, 9), (7, 7), pads=(3, 3, 3, 3)),
    Case(16, 16, (9, 9), dilations=(2, 3), pads=(2, 3, 2, 3)),
    Case(64, 32, (1, 1), (1, 1), epilogue="relu"),
    Case(48, 48, (1, 1), epilogue="", **PADDED),
    Case(3, 16, (9, 21), strides=(2, 2), stem=True, epilogue="relu", **PADDED),
    Case(3, 40, (12, 11), (7, 7), (2, 2), pads=(3, 3, 3, 3), stem=True),
    Case(4, 16, (5, 18), (2, 3), stem=True, epilogue="residual"),
    Case(1, 16, (6, 6), (1, 1), stem=True),
)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions_mean_what_the_precision_says(case: Case, precision: str) -> None:
    assert check(case, precision, batch=case.batch or 2) == "blocked-tile-panels"


@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize(
    "case",
    [
        Case(32, 48, (8, 16), (1, 1), epilogue="residual"),
        Case(32, 16, (5, 20), epilogue="residual", **PADDED),
        Case(16, 16, (7, 11), epilogue="columns", **PADDED),
        Case(16, 16, (10, 8), (1, 1), (2, 1), epilogue="columns"),
        Case(3, 16, (11, 24), strides=(2, 1), stem=True, **PADDED),
    ],
    ids=str,
)
def test_workgroups_share_rows_and_panels(case: Case, bands: int, monkeypatch: pytest.MonkeyPatch) -> None:
    best = blocked_tile_plan._best

    def few(c: Any, parts: int) -> Any:
        plan = replace(best(c, parts), bands=bands, shares=min(2, -(-c.out_blocks // 2)))
        return plan if not plan.gathers(c) else replace(plan, bands=plan.grid.bands)

    monkeypatch.setattr(blocked_tile_plan, "_best", few)
    check(case, "medium", seed=bands)


@pytest.mark.parametrize(
    "case",
    [
        Case(40, 24, (7, 7), **PADDED, epilogue="relu"),
        Case(32, 48, (4, 9), (1, 1), epilogue="residual"),
        Case(20, 32, (8, 6), (1, 1), (2, 2)),
        Case(16, 16, (5, 18), epilogue="columns", **PADDED),
    ],
    ids=str,
)
def test_images_of_bf16_are_read_as_they_are(case: Case) -> None:
    description = machine("medium")
    func = function(text_of(case, LANES))
    assert rounded_arguments(func, description) == {0: bf16}
    assert rounded_arguments(func, machine("high")) == {}
    given = inputs_of(case, LANES)
    expected = results(func, description, laid_out(func, description, given), False, "tile-convolution")[0][1]
    narrow = function(narrowed(text_of(case, LANES)))
    assert rounded_arguments(narrow, description) == {}
    given[0] = given[0].astype(element_type("bf16").dtype)
    native = laid_out(narrow, description, given)
    for form, got in results(narrow, description, native, runs_here(), strategy="tile-convolution"):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4, err_msg=form)


def narrowed(text: str) -> str:
    """The image comes as bf16."""
    found = re.search(r"%image: (tensor<([0-9x]*)f32>)( {[^}]*})", text)
    assert found is not None
    wide, facts = found[1], found[3]
    narrow = wide.replace("f32", "bf16")
    loops = ", ".join(f"d{i}" for i in range(wide.count("x")))
    kinds = ", ".join(['"parallel"'] * wide.count("x"))
    text = text.replace(found[0], f"%narrow: {narrow}{facts}")
    return text.replace(
        "%zero = arith.constant",
        f"""%space = tensor.empty() : {wide}
%image = linalg.generic {{indexing_maps = [affine_map<({loops}) -> ({loops})>, affine_map<({loops}) -> ({loops})>],
    iterator_types = [{kinds}]}} ins(%narrow : {narrow}) outs(%space : {wide}) {{
^bb0(%p0: bf16, %p1: f32):
  %p2 = arith.extf %p0 : bf16 to f32
  linalg.yield %p2 : f32
}} -> {wide}
%zero = arith.constant""",
        1,
    )


def test_images_that_something_else_reads_stay_f32() -> None:
    text = text_of(Case(16, 16, (4, 4), (1, 1), epilogue="residual"), LANES).replace("%residual,", "%image,")
    assert rounded_arguments(function(text), machine("medium")) == {}
    stem = function(text_of(Case(3, 16, (9, 9), stem=True), LANES))
    assert rounded_arguments(stem, machine("medium")) == {}


def spoilt(case: Case, bad: float, precision: str) -> Iterator[tuple[Any, Any, Any]]:
    """The results of an image that holds ``bad``, in each form, and which of them read it."""
    description = machine(precision)
    func = function(text_of(case, LANES))
    given = inputs_of(case, LANES, bad=bad)
    reads = sums(case, (~np.isfinite(given[0])).astype(np.float32), np.ones_like(given[1])) > 0
    native = laid_out(func, description, given)
    for form, got in results(func, description, native, runs_here(), strategy="tile-convolution"):
        yield form, got, reads


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kernel", [1, 3])
def test_not_finite(bad: float, kernel: int, precision: str) -> None:
    """Only results that read the value are spoilt, and lanes behind the last channel stay zero."""
    case = Case(20, 23, (6, 6), (kernel,) * 2, pads=(kernel // 2,) * 4, epilogue="bias")
    for form, got, reads in spoilt(case, bad, precision):
        assert np.isfinite(got[~reads]).all(), form
        assert not np.isfinite(got[..., :7][reads[..., :7]]).any(), form
        assert not got[:, -1, :, :, 7:].any(), form


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (7, 2)])
def test_not_finite_in_a_stem(kernel: int, stride: int, bad: float, precision: str) -> None:
    """Pixels beside the window have no weights, not weights of 0."""
    pads = (kernel // 2,) * 4
    case = Case(3, 16, (9, 14), (kernel,) * 2, (stride,) * 2, pads=pads, stem=True, epilogue="bias")
    for form, got, reads in spoilt(case, bad, precision):
        np.testing.assert_array_equal(np.isfinite(got), ~reads, form)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1, 16, 16), (3, 3, 3, 3, 16, 16), (2, 2, 1, 2, 16, 16), (3, 3, 7, 7, 1, 16)]
)
def test_what_is_unpacked_is_kept_when_packed_again(shape: tuple[int, ...], parts: int) -> None:
    parameters = blocked_tile_parameters(shape, parts, stem=shape[4] == 1)
    source = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted = (packed_size(parameters),)
    once = pack_blocked_tiles([source], parameters, wanted, np.dtype(np.float32))
    back = inverse_function("blocked-tile-panels")(once, parameters, shape)
    np.testing.assert_allclose(back, source, rtol=2.0**-8 if parts == 1 else 2.0**-16)
    again = pack_blocked_tiles([back], parameters, wanted, np.dtype(np.float32))
    np.testing.assert_array_equal(inverse_function("blocked-tile-panels")(again, parameters, shape), back)


def _grids() -> Iterator[PatchGrid]:
    for size in [(1, 1), (7, 7), (1, 40), (14, 14), (5, 33), (20, 17), (28, 28), (3, 112)]:
        for flat in (False, True):
            yield from patch_grids(*size, flat=flat)


@pytest.mark.parametrize("grid", list(_grids()), ids=lambda g: f"{g.rows}x{g.columns}, {g.tile} x {g.height}")
def test_patches_hold_every_pixel_once(grid: PatchGrid) -> None:
    seen = np.zeros((grid.rows, grid.columns), int)
    for band in range(grid.bands):
        whole = (band + 1) * grid.height <= grid.rows
        for patches in grid.band if whole else grid.rest:
            for i in range(patches.count):
                row, column = band * grid.height + patches.first[0], patches.first[1] + i * patches.step
                for run in patches.runs:
                    assert run.pixels <= grid.tile
                    begin = column + run.column
                    seen[row + run.row, begin : begin + run.pixels] += 1
    assert (seen == 1).all()


def test_weights_that_are_computed_stay_f32() -> None:
    func = function(text_of(replace(CASES[0], constant=False), LANES))
    assert constant_layout(func, machine("medium")) == ()


def test_groups_stay_f32() -> None:
    """A window that keeps channels apart has no products of channels to sum."""
    text = text_of(Case(1, 16, (8, 8), stem=True), LANES)
    assert "blocked-tile-panels" not in [
        layout.kind
        for layout in constant_layout(function(text.replace("arith.mulf", "arith.addf")), machine("medium"))
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [7, 14, 28, 56])
def test_the_model_prefers_tiles_to_winograd(
    size: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    channels = 64 * 56 // size
    case = Case(channels, channels, (size, size), pads=(1, 1, 1, 1), epilogue="relu")
    for own, kind in ((machine(precision), "blocked-tile-panels"), (machine("highest"), "blocked-")):
        (layout,) = constant_layout(function(text_of(case, LANES)), own)
        assert layout.kind.startswith(kind)
    assert layout.kind != "blocked-tile-panels"
