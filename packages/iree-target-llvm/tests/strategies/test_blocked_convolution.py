"""Convolutions of images in channel blocks, compiled and run here, against the interpreter on the same
dispatch function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from iree_codegen.layouts import constant_layout
from iree_codegen.replaced_arguments import replaced_arguments
from iree_codegen.select_strategy import generate
from iree_codegen.strategies.blocked_convolution import NAME
from iree_core_ir.constant_transforms import inverse_function
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import NativeKernel, run_native, run_reference

from ..conftest import laid_out
from . import convolutions

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case(convolutions.Slides):
    """One convolution with what is fused around it."""

    channels: int = 16
    out_channels: int = 16
    size: tuple[int, int] = (9, 11)
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    batch: int | None = 1
    """None: known when called."""
    epilogue: str = "bias"
    stem: bool = False
    constant: bool = True
    hint: bool = True
    """Say how many channels there are."""
    drop: bool = False
    """Axes of size 1 are not there."""


EPILOGUES = {
    **convolutions.EPILOGUES,
    "scale": "%s = arith.mulf %x, %b : f32\n%r = arith.addf %s, %b : f32",
    "silu": """%s = arith.addf %x, %b : f32
      %one = arith.constant 1.0 : f32
      %g = arith.negf %s : f32
      %e = math.exp %g : f32
      %d = arith.addf %one, %e : f32
      %q = arith.divf %one, %d : f32
      %r = arith.mulf %s, %q : f32""",
    "sigmoid": """%s = arith.addf %x, %b : f32
      %one = arith.constant 1.0 : f32
      %g = arith.negf %s : f32
      %e = math.exp %g : f32
      %d = arith.addf %one, %e : f32
      %r = arith.divf %one, %d : f32""",
}


@dataclass(frozen=True)
class Shapes:
    source: list[int | None]
    padded: list[int | None]
    weights: list[int]
    result: list[int | None]


def tensor(shape: Sequence[int | None]) -> str:
    return "tensor<" + "".join(f"{'?' if n is None else n}x" for n in shape) + "f32>"


def shapes(case: Case, lanes: int) -> Shapes:
    n, (h, w), (oh, ow), (kh, kw) = case.batch, case.size, case.out_size, case.kernel
    top, left, bottom, right = case.pads
    ph, pw = h + top + bottom, w + left + right
    fb = -(-case.out_channels // lanes)
    result = [n, fb, oh, ow, lanes]
    if case.stem:
        c = case.channels
        return Shapes([n, c, h, w], [n, c, ph, pw], [fb, c, kh, kw, lanes], result)
    cb = -(-case.channels // lanes)
    weights = [fb, cb, kh, kw, lanes, lanes]
    return Shapes([n, cb, h, w, lanes], [n, cb, ph, pw, lanes], weights, result)


def text_of(case: Case, lanes: int) -> str:
    s = shapes(case, lanes)
    (sy, sx), (dy, dx) = case.strides, case.dilations
    names = ["n", "f", "y", "x", "l", "c", "p", "q"] + ([] if case.stem else ["i"])
    sizes: dict[str, int | None] = dict(
        zip(names, [*s.result, s.source[1], *case.kernel, lanes], strict=False)
    )
    kept = [d for d in names if not (case.drop and sizes[d] == 1 and d not in "li")]
    rows = [d for d in "nfyxl" if d in kept]

    def keep(axes: Sequence[str], shape: Sequence[Any]) -> list[Any]:
        """Sizes of the axes that are there; an axis is ``y*2+p`` or a name."""
        return [n for a, n in zip(axes, shape, strict=True) if any(d in kept for d in a)]

    def read(loop: str, window: str, stride: int, dilation: int) -> str:
        parts = [f"{d} * {f}" for d, f in ((loop, stride), (window, dilation)) if d in kept]
        return " + ".join(parts) or "0"

    image = ["n", "c", "yp", "xq"] + ([] if case.stem else ["i"])
    window = {"yp": read("y", "p", sy, dy), "xq": read("x", "q", sx, dx)}
    image_kept = [a for a in image if any(d in kept for d in a)]
    own = list("fcpql" if case.stem else "fcpqil")
    weight_kept = [d for d in own if d in kept]
    dropped_source = keep(image, s.source)
    padded = keep(image, s.padded)
    weights, result = keep(own, s.weights), keep("nfyxl", s.result)
    bias = [d for d in ("f", "l") if d in kept]
    bias_shape = [sizes[d] for d in bias]
    spaces = ", ".join(kept)
    outer = ", ".join(rows)
    batch = "4" if case.batch is None else "-1"

    def dims(shape: Sequence[Any]) -> str:
        return " {iree.dims = array<i64: " + ", ".join([batch, *["-1"] * (len(shape) - 1)]) + ">}"

    source_type, padded_type, result_type = tensor(dropped_source), tensor(padded), tensor(result)
    column = tensor([sizes["x"]]) if "x" in kept else tensor([1])
    column_map = "x" if "x" in kept else "0"
    masked = case.out_channels % lanes != 0
    hint = f" attrs = {{iree.channels = {case.channels} : i64}}" if case.hint and not case.stem else ""
    lines = [
        f"#image = affine_map<({spaces}) -> ({', '.join(window.get(a, a) for a in image_kept)})>",
        f"#weights = affine_map<({spaces}) -> ({', '.join(weight_kept)})>",
        f"#sums = affine_map<({spaces}) -> ({outer})>",
        f"#full = affine_map<({outer}) -> ({outer})>",
        f"#bias = affine_map<({outer}) -> ({', '.join(bias)})>",
        f"#column = affine_map<({outer}) -> ({column_map})>",
        (
            f"func.func @convolve(%image: {source_type}{dims(dropped_source)},"
            f" %weights: {tensor(weights)}{' {iree.constant}' if case.constant else ''}, %bias: {tensor(bias_shape)},"
            f" %residual: {result_type}{dims(result)}, %n: index, %columns: {column},"
            f" %out: {result_type}{dims(result)}) -> {result_type} {{"
        ),
        "%zero = arith.constant 0.0 : f32\n%six = arith.constant 6.0 : f32",
        f"%empty = tensor.empty({'%n' if case.batch is None else ''}) : {result_type}",
        f"%init = linalg.fill ins(%zero : f32) outs(%empty : {result_type}) -> {result_type}",
    ]
    value = "%image"
    if any(case.pads):
        low = keep(image, [0, 0, *case.pads[:2], 0][: len(image)])
        high = keep(image, [0, 0, *case.pads[2:], 0][: len(image)])
        arguments = ", ".join(f"%i{i}: index" for i in range(len(low)))
        lines.append(
            f"%padded = tensor.pad %image low{low} high{high} {{\n^bb0({arguments}):\n"
            f"tensor.yield %zero : f32\n}} : {source_type} to {padded_type}"
        )
        value = "%padded"
    kinds = ['"parallel"' if d in rows else '"reduction"' for d in kept]
    lines.append(
        f"%conv = linalg.generic {{indexing_maps = [#image, #weights, #sums], iterator_types = [{', '.join(kinds)}]}}"
        f" ins({value}, %weights : {padded_type}, {tensor(weights)}) outs(%init : {result_type}){hint} {{\n"
        "^bb0(%a: f32, %b: f32, %o: f32):\n%m = arith.mulf %a, %b : f32\n%s = arith.addf %o, %m : f32\n"
        f"linalg.yield %s : f32\n}} -> {result_type}"
    )
    if not case.epilogue:
        return "\n".join([*lines, f"return %conv : {result_type}\n}}"])
    select = ""
    final = "%r"
    if masked:
        block = (
            f"%fb = linalg.index {rows.index('f')} : index"
            if "f" in rows
            else "%fb = arith.constant 0 : index"
        )
        select = f"""
          {block}
          %lane = linalg.index {rows.index("l")} : index
          %lanes = arith.constant {lanes} : index
          %channels = arith.constant {case.out_channels} : index
          %begin = arith.muli %fb, %lanes : index
          %channel = arith.addi %begin, %lane : index
          %there = arith.cmpi ult, %channel, %channels : index
          %kept = arith.select %there, %r, %zero : f32"""
        final = "%kept"
    parallel = ", ".join(['"parallel"'] * len(rows))
    lines.append(
        f"%done = linalg.generic {{indexing_maps = [#full, #bias, #full, #column, #full],"
        f" iterator_types = [{parallel}]}} ins(%conv, %bias, %residual, %columns :"
        f" {result_type}, {tensor(bias_shape)}, {result_type}, {column}) outs(%out : {result_type}) {{\n"
        "^bb0(%x: f32, %b: f32, %y: f32, %c: f32, %o: f32):\n"
        + EPILOGUES[case.epilogue]
        + select
        + f"\nlinalg.yield {final} : f32\n}} -> {result_type}"
    )
    return "\n".join([*lines, f"return %done : {result_type}\n}}"])


def inputs_of(
    case: Case, lanes: int, batch: int = 1, seed: int = 0, bad: float | None = None
) -> dict[int, Any]:
    """Lanes behind the last channel are zero, as the contract of blocked images has it."""
    rng = np.random.default_rng(seed)
    s = shapes(case, lanes)

    def random(shape: Sequence[int | None]) -> Array:
        return rng.standard_normal([batch if n is None else n for n in shape]).astype(np.float32)

    image, weights, residual = random(s.source), random(s.weights), random(s.result)
    fb = s.weights[0]
    bias = random([fb, lanes])
    if not case.stem and case.channels % lanes:
        image[:, -1, :, :, case.channels % lanes :] = 0
        weights[:, -1, :, :, case.channels % lanes :] = 0
    if case.out_channels % lanes:
        rest = case.out_channels % lanes
        weights[-1, ..., rest:] = 0
        bias[-1, rest:] = 0
        residual[:, -1, :, :, rest:] = 0
    if bad is not None:
        image[0, 0, -1, -1] = bad
        if case.stem or image.shape[1] > 1:
            image[-1, -1, 0, 0] = 0 if case.stem else np.where(np.arange(lanes) == 0, -bad, 0)
    columns = random([case.out_size[1]])
    values = [image, weights, bias, residual, batch if case.batch is None else 0, columns]
    if case.drop:
        keep = {0: (s.source, [-1]), 1: (s.weights, [-1, -2]), 3: (s.result, [-1])}
        if case.stem:
            keep = {0: (s.source, []), 1: (s.weights, [-1]), 3: (s.result, [-1])}
        for position, (shape, lasting) in keep.items():
            last = {axis % len(shape) for axis in lasting}
            array = values[position]
            gone = tuple(i for i, n in enumerate(shape) if n == 1 and i not in last)
            if position == 0:
                oh, ow = case.out_size
                gone = tuple(i for i in gone if i < 2 or (case.kernel[i - 2] == 1 and (oh, ow)[i - 2] == 1))
            values[position] = array.squeeze(gone)
        if fb == 1:
            values[2] = bias[0]
    return dict(enumerate(values))


def run(case: Case, description: Any, batch: int = 1, bad: float | None = None) -> tuple[Array, Array, str]:
    """(native result, interpreter's result, strategy)."""
    lanes = description.vector_bits // 32
    module = parse_module(text_of(case, lanes))
    verify(module)
    func = next(iter(module.regions[0].block))
    inputs = inputs_of(case, lanes, batch, bad=bad)
    with np.errstate(all="ignore"):
        expected = run_reference(func, inputs)[0]
    native = laid_out(func, description, inputs)
    compiled = compile_function(func, description)
    assert compiled.report["strategy"] == NAME
    return run_native(func, compiled, native)[0], expected, compiled.report["why"]


def same(case: Case, description: Any, batch: int = 1, tolerance: float = 1e-5) -> None:
    got, expected, _ = run(case, description, batch)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def unpacked(case: Case, description: Any) -> tuple[Array, Array]:
    """The weights laid out and brought back, and as they were."""
    lanes = description.vector_bits // 32
    func = next(iter(parse_module(text_of(case, lanes)).regions[0].block))
    (wanted,) = constant_layout(func, description)
    inputs = inputs_of(case, lanes)
    back = inverse_function(wanted.kind)
    assert back is not None
    made = laid_out(func, description, inputs)[1]
    return np.asarray(back(made, wanted.parameters, inputs[1].shape)), inputs[1]


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3), (1, 7), (2, 2)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_windows(description: Any, kernel: Any, strides: Any) -> None:
    pads = (kernel[0] // 2, kernel[1] // 2) * 2
    same(Case(33, 50, (9, 11), kernel, strides, pads=pads), description)


@pytest.mark.parametrize("size", [(30, 41), (28, 28), (17, 150), (9, 9)])
@pytest.mark.parametrize("strides", [(2, 2), (1, 2), (3, 1)])
def test_strides_of_single_pixels(best: Any, size: Any, strides: Any) -> None:
    same(Case(40, 72, size, (1, 1), strides, epilogue="residual"), best)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 3), (0, 4, 0, 0), (3, 3, 0, 0), (0, 0, 5, 1)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 3)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_pads(best: Any, pads: Any, dilations: Any, strides: Any) -> None:
    same(Case(20, 40, (10, 13), (3, 3), strides, dilations, pads), best)


@pytest.mark.parametrize("epilogue", ["", *EPILOGUES])
@pytest.mark.parametrize("kernel", [1, 3])
def test_epilogues(best: Any, epilogue: str, kernel: int) -> None:
    same(Case(24, 56, (8, 8), (kernel,) * 2, pads=(kernel // 2,) * 4, epilogue=epilogue), best)


@pytest.mark.parametrize("epilogue", ["residual", "sigmoid"])
@pytest.mark.parametrize("out_channels", [48, 55])
def test_epilogues_everywhere(description: Any, epilogue: str, out_channels: int) -> None:
    same(Case(24, out_channels, (7, 9), (3, 3), pads=(1, 1, 1, 1), epilogue=epilogue), description)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 9), (9, 1), (7, 7), (5, 33), (33, 3), (40, 60), (2, 300), (14, 14)]
)
@pytest.mark.parametrize("kernel", [1, 3])
def test_sizes(best: Any, size: Any, kernel: int) -> None:
    same(Case(40, 72, size, (kernel,) * 2, pads=(kernel // 2,) * 4, epilogue="residual"), best)


@pytest.mark.parametrize(
    ("size", "kernel"), [((1, 1), 1), ((1, 9), 1), ((7, 7), 1), ((12, 20), 1), ((7, 7), 3), ((12, 20), 3)]
)
@pytest.mark.parametrize("channels", [(16, 16), (16, 40), (40, 16), (40, 40)])
def test_without_axes_of_one(best: Any, size: Any, kernel: int, channels: Any) -> None:
    same(Case(*channels, size, (kernel,) * 2, pads=(kernel // 2,) * 4, epilogue="residual", drop=True), best)


@pytest.mark.parametrize("out_channels", [1, 17, 80, 112, 160])
@pytest.mark.parametrize(("channels", "hint"), [(1, True), (16, True), (47, True), (47, False)])
def test_channels(best: Any, channels: int, out_channels: int, hint: bool) -> None:
    same(Case(channels, out_channels, (6, 15), (1, 1), epilogue="relu", hint=hint), best)


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [(7, 7), (20, 20)])
def test_batches(best: Any, batch: int | None, kernel: int, size: Any) -> None:
    same(
        Case(32, 48, size, (kernel,) * 2, pads=(kernel // 2,) * 4, batch=batch, epilogue="residual"), best, 3
    )


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2), (7, 4)])
@pytest.mark.parametrize(("channels", "out_channels"), [(1, 16), (3, 64), (4, 40)])
def test_stems(description: Any, kernel: int, stride: int, channels: int, out_channels: int) -> None:
    channels = min(channels, description.vector_bits // 32 - 1)  # from a whole block on it is no stem
    case = Case(channels, out_channels, (21, 37), (kernel,) * 2, (stride,) * 2, epilogue="relu", stem=True)
    same(replace(case, pads=(kernel // 2,) * 4), description)
    same(case, description)
    if channels * kernel > 1:
        same(replace(case, drop=True), description)


@pytest.mark.parametrize(("channels", "kernel"), [(1024, 1), (512, 3), (2048, 1)])
@pytest.mark.parametrize("size", [(7, 7), (4, 6)])
def test_chunks_of_long_reductions(best: Any, channels: int, kernel: int, size: Any) -> None:
    case = Case(channels, 48, size, (kernel,) * 2, pads=(kernel // 2,) * 4, epilogue="residual")
    got, expected, why = run(case, best)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    if best.vector_bits == 512 and kernel == 3:
        assert "chunks" in why


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stem", [False, True])
def test_weights_in_place(description: Any, kernel: int, stem: bool) -> None:
    channels = 3 if stem else 40
    case = Case(channels, 40, (9, 9), (kernel,) * 2, pads=(kernel // 2,) * 4, constant=False, stem=stem)
    same(case, description)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stem", [False, True])
def test_not_finite(description: Any, bad: float, kernel: int, stem: bool) -> None:
    """Lanes behind the last channel stay zero, and only results that read the value are spoilt."""
    channels = 3 if stem else 40
    case = Case(channels, 23, (9, 9), (kernel,) * 2, pads=(kernel // 2,) * 4, epilogue="relu", stem=stem)
    got, expected, _ = run(case, description, bad=bad)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    lanes = description.vector_bits // 32
    rest = 23 % lanes
    assert not got[:, -1, :, :, rest:].any()


@pytest.mark.parametrize(
    "case", [Case(40, 72, hint=True), Case(16, 16), Case(3, 40, stem=True), Case(40, 24, kernel=(1, 1))]
)
def test_weights_can_be_unpacked(description: Any, case: Case) -> None:
    found, weights = unpacked(case, description)
    np.testing.assert_array_equal(found, weights)


def test_other_strategies_keep_what_is_not_blocked(best: Any) -> None:
    """Sums of something else than products go elsewhere, whatever the layout."""
    text = text_of(Case(16, 16, (8, 8), (1, 1), epilogue="bias"), best.vector_bits // 32)
    func = next(iter(parse_module(text.replace("arith.mulf", "arith.addf")).regions[0].block))
    assert generate(func, best).strategy != NAME


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [(7, 7), (15, 33)])
def test_results_may_take_the_memory_of_what_is_added(best: Any, kernel: int, size: Any) -> None:
    """Also where Winograd computes them."""
    case = Case(40, 48, size, (kernel,) * 2, pads=(kernel // 2,) * 4, epilogue="residual")
    func = next(iter(parse_module(text_of(case, best.vector_bits // 32)).regions[0].block))
    assert replaced_arguments(func, best) == (3,)
    given = inputs_of(case, best.vector_bits // 32)
    expected = run_reference(func, given)[0]
    native = laid_out(func, best, given)
    kernel_ = NativeKernel.load(compile_function(func, best))
    arrays = [native[0], native[1], native[2], native[3].copy(), native[5]]
    kernel_.run([*arrays, arrays[3]], (0,), kernel_.workgroups([0]))
    assert np.abs(arrays[3] - expected).max() <= 1e-5 * np.abs(expected).max()


def test_what_is_not_added_keeps_its_memory(best: Any) -> None:
    func = next(iter(parse_module(text_of(Case(epilogue=""), best.vector_bits // 32)).regions[0].block))
    assert replaced_arguments(func, best) == ()
