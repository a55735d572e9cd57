"""Convolution kernels, compiled and run here, against the interpreter on the same dispatch function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from iree_codegen.channel_panels import CHANNEL_PANELS
from iree_codegen.select_strategy import generate
from iree_codegen.strategies import matmul, sliding_window
from iree_codegen.strategies.convolution import NAME
from iree_core_ir.constant_transforms import inverse_function
from iree_core_ir.constants import ConstantStore
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import laid_out
from . import convolutions

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case(convolutions.Slides):
    """One convolution with what is fused around it."""

    channels: int = 3
    out_channels: int = 5
    size: tuple[int, int] = (9, 11)
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    batch: int | None = 1
    """None: known when called."""
    groups: int = 1
    """0: depthwise."""
    epilogue: str = ""
    constant: bool = True
    form: str = ""
    """Layout of a grouped convolution's weights: ``gf`` or ``fg``; ``1d`` for one spatial dim."""
    sized: bool = False
    """Image sizes are known when called."""


EPILOGUES = {
    **convolutions.EPILOGUES,
    "hardswish": """%s = arith.addf %x, %b : f32
      %three = arith.constant 3.0 : f32
      %t = arith.addf %s, %three : f32
      %u = arith.maximumf %t, %zero : f32
      %v = arith.minimumf %u, %six : f32
      %w = arith.mulf %v, %s : f32
      %sixth = arith.constant 0.166666672 : f32
      %r = arith.mulf %w, %sixth : f32""",
    "gelu": """%s = arith.addf %x, %b : f32
      %scale = arith.constant 0.707106769 : f32
      %half = arith.constant 0.5 : f32
      %one = arith.constant 1.0 : f32
      %t = arith.mulf %s, %scale : f32
      %u = math.erf %t : f32
      %v = arith.addf %u, %one : f32
      %w = arith.mulf %v, %s : f32
      %r = arith.mulf %w, %half : f32""",
}


def tensor(shape: Sequence[int | None], element: str = "f32") -> str:
    return "tensor<" + "".join(f"{'?' if n is None else n}x" for n in shape) + element + ">"


def shapes(case: Case) -> tuple[str, list[int | None], list[int | None], list[int | None], list[int | None]]:
    """The op's name and the shapes of its input, padded input, weights and result."""
    n, (h, w), (oh, ow), (kh, kw) = case.batch, case.size, case.out_size, case.kernel
    top, left, bottom, right = case.pads
    ph, pw = h + top + bottom, w + left + right
    if case.form == "1d":
        return (
            "linalg.conv_1d_ncw_fcw",
            [n, case.channels, w],
            [n, case.channels, pw],
            [case.out_channels, case.channels, kw],
            [n, case.out_channels, ow],
        )
    if case.groups == 0:
        c = case.channels
        return "linalg.depthwise_conv_2d_nchw_chw", [n, c, h, w], [n, c, ph, pw], [c, kh, kw], [n, c, oh, ow]
    if case.groups == 1:
        c, f = case.channels, case.out_channels
        return "linalg.conv_2d_nchw_fchw", [n, c, h, w], [n, c, ph, pw], [f, c, kh, kw], [n, f, oh, ow]
    g, c, f = case.groups, case.channels, case.out_channels
    weights: list[int | None] = [g, f, c, kh, kw] if case.form == "gf" else [f, g, c, kh, kw]
    op = f"linalg.conv_2d_ngchw_{case.form}chw"
    return op, [n, g, c, h, w], [n, g, c, ph, pw], weights, [n, g, f, oh, ow]


def text_of(case: Case) -> str:
    name, source, padded, weights, result = shapes(case)
    rank = len(source)
    spatial = 1 if case.form == "1d" else 2
    channel_axes = range(1, rank - spatial)
    bias = [n if i in channel_axes else 1 for i, n in enumerate(result)][1:]
    dims = [f"d{i}" for i in range(rank)]
    full = f"affine_map<({', '.join(dims)}) -> ({', '.join(dims)})>"
    of_bias = ", ".join(d if i in channel_axes else "0" for i, d in enumerate(dims) if i)
    channels = ["-1"] * (rank - spatial - 1)
    batch = "4" if case.batch is None else "-1"
    source_dims, result_dims, column_dims = ["-1"] * spatial, ["-1"] * spatial, "-1"
    column, scalars, sizes = [result[-1]], "", ["%n"] if case.batch is None else []
    if case.sized:
        source_dims, result_dims, column_dims = ["6", "7"][-spatial:], ["8", "9"][-spatial:], "9"
        hidden: list[None] = [None] * spatial
        source, padded, result = (s[:-spatial] + hidden for s in (source, padded, result))
        column = [None]
        scalars = " %height: index, %width: index, %rows: index, %cols: index,"
        sizes += ["%rows", "%cols"][-spatial:]
    of_source, of_result, of_column = (
        f" {{iree.dims = array<i64: {', '.join(d)}>}}"
        for d in ([batch, *channels, *source_dims], [batch, *channels, *result_dims], [column_dims])
    )
    result_type, source_type, padded_type = tensor(result), tensor(source), tensor(padded)
    lines = [
        f"#full = {full}",
        f"#bias = affine_map<({', '.join(dims)}) -> ({of_bias})>",
        f"#column = affine_map<({', '.join(dims)}) -> (d{rank - 1})>",
        (
            f"func.func @convolve(%image: {source_type}{of_source}, %weights: {tensor(weights)}"
            f"{' {iree.constant}' if case.constant else ''}, %bias: {tensor(bias)}, %residual: {result_type}{of_result},"
            f" %n: index, %columns: {tensor(column)}{of_column},{scalars} %out: {result_type}{of_result})"
            f" -> {result_type} {{"
        ),
        "%zero = arith.constant 0.0 : f32",
        "%six = arith.constant 6.0 : f32",
        f"%empty = tensor.empty({', '.join(sizes)}) : {result_type}",
        f"%init = linalg.fill ins(%zero : f32) outs(%empty : {result_type}) -> {result_type}",
    ]
    value = "%image"
    if any(case.pads):
        before = [0] * (rank - spatial) + list(case.pads[:2])[-spatial:]
        after = [0] * (rank - spatial) + list(case.pads[2:])[-spatial:]
        arguments = ", ".join(f"%i{i}: index" for i in range(rank))
        lines.append(
            f"%padded = tensor.pad %image low{before} high{after} {{\n^bb0({arguments}):\n"
            f"tensor.yield %zero : f32\n}} : {source_type} to {padded_type}"
        )
        value = "%padded"
    attributes = ", ".join(
        f"{key} = dense<{list(v)[-spatial:]}> : tensor<{spatial}xi64>"
        for key, v in (("dilations", case.dilations), ("strides", case.strides))
    )
    lines.append(
        f"%conv = {name} {{{attributes}}} ins({value}, %weights : {padded_type}, {tensor(weights)})"
        f" outs(%init : {result_type}) -> {result_type}"
    )
    value = "%conv"
    if case.epilogue:
        kinds = ", ".join(['"parallel"'] * rank)
        lines.append(
            f"%done = linalg.generic {{indexing_maps = [#full, #bias, #full, #column, #full],"
            f" iterator_types = [{kinds}]}} ins(%conv, %bias, %residual, %columns :"
            f" {result_type}, {tensor(bias)}, {result_type}, {tensor(column)}) outs(%out : {result_type}) {{\n"
            "^bb0(%x: f32, %b: f32, %y: f32, %c: f32, %o: f32):\n"
            + EPILOGUES[case.epilogue]
            + f"\nlinalg.yield %r : f32\n}} -> {result_type}"
        )
        value = "%done"
    lines.append(f"return {value} : {result_type}\n}}")
    return "\n".join(lines)


def inputs_of(case: Case, batch: int = 1, seed: int = 0) -> dict[int, Any]:
    rng = np.random.default_rng(seed)
    _, source, _, weights, result = shapes(case)
    spatial = 1 if case.form == "1d" else 2

    def random(shape: Sequence[int | None]) -> Array:
        known = [batch if n is None else n for n in shape]
        return rng.standard_normal(known).astype(np.float32)

    bias = [n if i < len(result) - spatial else 1 for i, n in enumerate(result)][1:]
    inputs: dict[int, Any] = {
        0: random(source),
        1: random(weights),
        2: random(bias),
        3: random(result),
        4: batch if case.batch is None else 0,
        5: random(result[-1:]),
    }
    if case.sized:
        inputs.update(zip((6, 7, 8, 9), (*case.size, *case.out_size), strict=True))
    return inputs


def run(case: Case, description: Any, inputs: dict[int, Any], strategy: str = "") -> tuple[Array, Array]:
    """(native result, interpreter's result)."""
    module = parse_module(text_of(case))
    verify(module)
    func = next(iter(module.regions[0].block))
    with np.errstate(all="ignore"):
        expected = run_reference(func, inputs)
    native = laid_out(func, description, inputs)
    wanted_strategy = strategy or (NAME if case.groups else sliding_window.NAME)
    if case.size == case.kernel == (1, 1) and case.groups == 1 and not (case.sized or strategy):
        wanted_strategy = matmul.NAME
    assert generate(func, description).strategy == wanted_strategy
    compiled = compile_function(func, description)
    return run_native(func, compiled, native)[0], expected[0]


def assert_same(case: Case, got: Array, expected: Array) -> None:
    """Within the rounding of sums of this length, and exact about what is not finite."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(got[infinite], expected[infinite])
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(finite, np.isfinite(got))
    if finite.any():
        scale = max(1.0, np.abs(expected[finite]).max())
        assert np.abs(got[finite] - expected[finite]).max() <= 2e-5 * scale, case


def same(case: Case, description: Any, batch: int = 1) -> None:
    assert_same(case, *run(case, description, inputs_of(case, batch)))


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 3), (5, 1), (3, 2)])
@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_and_strides(description: Any, kernel: tuple[int, int], groups: int, stride: int) -> None:
    pads = (kernel[0] // 2, kernel[1] // 2) * 2
    case = Case(6, 7, (13, 19), kernel, (stride, stride), pads=pads, groups=groups, epilogue="relu")
    same(case, description)


@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("dilations", [(2, 2), (1, 3)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 3), (0, 4, 0, 0)])
def test_dilations_and_uneven_pads(
    best: Any,
    groups: int,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> None:
    same(Case(3, 4, (11, 14), (3, 3), strides, dilations, pads, groups=groups), best)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 7), (14, 14), (5, 33), (33, 3), (16, 16)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (3, 1)])
@pytest.mark.parametrize("groups", [0, 1])
def test_sizes(description: Any, size: tuple[int, int], kernel: tuple[int, int], groups: int) -> None:
    pads = (kernel[0] // 2, kernel[1] // 2) * 2
    case = Case(5, 9, size, kernel, pads=pads, groups=groups, epilogue="residual")
    same(case, description)


@pytest.mark.parametrize("size", [(7, 7), (14, 14), (56, 56)])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride"), [(64, 1, 1), (64, 3, 1), (64, 1, 2), (96, 3, 2), (300, 1, 1)]
)
def test_network_shapes(best: Any, size: tuple[int, int], channels: int, kernel: int, stride: int) -> None:
    """Channels and planes of real networks, where reductions are split and blocks shared."""
    pad = kernel // 2
    case = Case(channels, 72, size, (kernel, kernel), (stride, stride), pads=(pad,) * 4, epilogue="residual")
    same(case, best)


def test_long_reduction(description: Any) -> None:
    same(Case(1100, 20, (7, 7), (3, 3), pads=(1, 1, 1, 1), epilogue="residual"), description)


@pytest.mark.parametrize("out_channels", [1, 2, 3, 7, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize("channels", [1, 2, 8, 33])
def test_channel_tails(description: Any, channels: int, out_channels: int) -> None:
    same(Case(channels, out_channels, (5, 6), pads=(1, 1, 1, 1), epilogue="bias"), description)
    same(Case(channels, out_channels, (5, 7), (1, 1), epilogue="bias"), description)


@pytest.mark.parametrize("out_channels", [2, 17, 200])
@pytest.mark.parametrize("channels", [1, 8, 33])
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("constant", [True, False])
def test_images_of_one_pixel(
    description: Any, channels: int, out_channels: int, batch: int, constant: bool
) -> None:
    case = Case(channels, out_channels, (1, 1), (1, 1), batch=None, epilogue="residual", constant=constant)
    same(case, description, batch)
    same(Case(channels, out_channels, (1, 1), (1, 1), epilogue="hardswish", constant=constant), description)


@pytest.mark.parametrize("channels", [1, 4, 17, 33])
def test_depthwise_channels(description: Any, channels: int) -> None:
    same(Case(channels, 0, (9, 10), pads=(1, 1, 1, 1), groups=0, epilogue="relu6"), description)


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("pad", [0, 1])
def test_batch_known_when_called(description: Any, batch: int, groups: int, pad: int) -> None:
    case = Case(4, 5, (6, 7), pads=(pad,) * 4, batch=None, groups=groups, epilogue="residual")
    same(case, description, batch)


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("size", [(7, 7), (6, 20)])
def test_epilogues(description: Any, epilogue: str, groups: int, size: tuple[int, int]) -> None:
    same(Case(6, 10, size, pads=(1, 1, 1, 1), groups=groups, epilogue=epilogue), description)
    same(Case(6, 10, size, (1, 1), groups=groups, epilogue=epilogue), description)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("epilogue", ["", "relu", "relu6"])
def test_one_special_value(description: Any, bad: float, groups: int, kernel: int, epilogue: str) -> None:
    """What is not finite reaches exactly the positions whose window holds it."""
    case = Case(4, 5, (8, 21), (kernel, kernel), pads=(kernel // 2,) * 4, groups=groups, epilogue=epilogue)
    inputs = inputs_of(case)
    inputs[0][0, 1, 3, 20] = bad
    inputs[0][0, 2, 4, 0] = bad
    assert_same(case, *run(case, description, inputs))


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("shape", [(5, 3, 2, 2), (8, 4, 1, 1), (17, 2, 3, 1), (6, 3, 3)])
def test_packing_is_reversible(rows: int, shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    store = ConstantStore()
    key = store.add_array(weights, "f32")
    columns = int(np.prod(shape[1:]))
    packed = store.add_transform(
        CHANNEL_PANELS, [key], (-(-shape[0] // rows), columns, rows), "f32", {"rows": rows}
    )
    array = np.asarray(store.array(packed))
    np.testing.assert_array_equal(array[0, :, 0], weights.reshape(shape[0], -1)[0])
    np.testing.assert_array_equal(inverse_function(CHANNEL_PANELS)(array, {"rows": rows}, shape), weights)


def test_large_windows_are_left_to_others(best: Any) -> None:
    """Windows beyond the unrolled ones stay with other strategies."""
    module = parse_module(text_of(Case(kernel=(9, 9), size=(12, 12))))
    assert generate(next(iter(module.regions[0].block)), best).strategy != NAME


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize(("channels", "out_channels"), [(1, 1), (4, 5), (3, 16)])
@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("constant", [True, False])
def test_groups(
    best: Any, groups: int, channels: int, out_channels: int, batch: int | None, constant: bool
) -> None:
    case = Case(
        channels, out_channels, (7, 9), pads=(1, 1, 1, 1), batch=batch, groups=groups, form="gf",
        epilogue="relu", constant=constant,
    )  # fmt: skip
    same(case, best, 3 if batch is None else batch)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pad", [0, 2])
def test_one_spatial_dim(description: Any, kernel: int, stride: int, pad: int) -> None:
    case = Case(
        5,
        9,
        (1, 23),
        (1, kernel),
        (1, stride),
        pads=(0, pad, 0, pad),
        form="1d",
        epilogue="residual",
        batch=2,
    )
    same(case, description)


@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("out_channels", [3, 8, 13])
def test_weights_known_when_called(description: Any, groups: int, out_channels: int) -> None:
    same(Case(6, out_channels, (7, 9), pads=(1, 1, 1, 1), groups=groups, constant=False), description)


POOL = """
func.func @pool(%image: tensor<{n}x5x{h}x{w}xf32>, %out: tensor<{n}x5x{oh}x{ow}xf32>) -> tensor<{n}x5x{oh}x{ow}xf32> {{
  %rest = arith.constant {rest} : f32
  %window = tensor.empty() : tensor<{k}x{k}xf32>
  %empty = tensor.empty() : tensor<{n}x5x{oh}x{ow}xf32>
  %init = linalg.fill ins(%rest : f32) outs(%empty : tensor<{n}x5x{oh}x{ow}xf32>) -> tensor<{n}x5x{oh}x{ow}xf32>
  %padded = tensor.pad %image low[0, 0, {p}, {p}] high[0, 0, {p}, {p}] {{
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %rest : f32
  }} : tensor<{n}x5x{h}x{w}xf32> to tensor<{n}x5x{ph}x{pw}xf32>
  %r = linalg.pooling_nchw_{kind} {{dilations = dense<1> : tensor<2xi64>, strides = dense<{s}> : tensor<2xi64>}}
      ins(%padded, %window : tensor<{n}x5x{ph}x{pw}xf32>, tensor<{k}x{k}xf32>)
      outs(%init : tensor<{n}x5x{oh}x{ow}xf32>) -> tensor<{n}x5x{oh}x{ow}xf32>
  return %r : tensor<{n}x5x{oh}x{ow}xf32>
}}"""


@pytest.mark.parametrize("kind", ["max", "sum"])
@pytest.mark.parametrize(("k", "s", "p"), [(2, 2, 0), (3, 2, 1), (3, 3, 0), (5, 1, 2)])
@pytest.mark.parametrize(("h", "w"), [(12, 13), (15, 40)])
@pytest.mark.parametrize("bad", [0.0, np.nan, -np.inf])
def test_pooling(description: Any, kind: str, k: int, s: int, p: int, h: int, w: int, bad: float) -> None:
    oh, ow = (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
    rest = "0xFF800000" if kind == "max" else "0.0"
    text = POOL.format(
        n=2, h=h, w=w, oh=oh, ow=ow, k=k, s=s, p=p, ph=h + 2 * p, pw=w + 2 * p, kind=kind, rest=rest
    )
    module = parse_module(text)
    func = next(iter(module.regions[0].block))
    image = np.random.default_rng(0).standard_normal((2, 5, h, w)).astype(np.float32)
    image[1, 2, 3, w - 1] = image[0, 1, h - 1, 4] = bad
    if ow > 4:
        assert generate(func, description).strategy == sliding_window.NAME
    got = run_native(func, compile_function(func, description), {0: image})[0]
    with np.errstate(all="ignore"):
        expected = run_reference(func, {0: image})[0]
    assert_same(Case(), got, expected)


def test_sums_that_begin_with_what_lies_outside(best: Any) -> None:
    """The number outside counts in a sum, where a maximum may leave it out."""
    sizes = {"n": 2, "h": 9, "w": 40, "oh": 9, "ow": 40, "k": 3, "s": 1, "p": 1, "ph": 11, "pw": 42}
    func = next(iter(parse_module(POOL.format(**sizes, kind="sum", rest="1.0")).regions[0].block))
    image = np.random.default_rng(0).standard_normal((2, 5, 9, 40)).astype(np.float32)
    got = run_native(func, compile_function(func, best), {0: image})[0]
    assert_same(Case(), got, run_reference(func, {0: image})[0])


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (1, 3), (3, 2)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1), (3, 3)])
@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("size", [(13, 19), (3, 80)])
def test_images_known_when_called(
    description: Any, kernel: tuple[int, int], strides: tuple[int, int], groups: int, size: tuple[int, int]
) -> None:
    pads = (kernel[0] // 2, kernel[1] // 2) * 2
    case = Case(
        6, 7, size, kernel, strides, pads=pads, batch=None, groups=groups, epilogue="relu", sized=True
    )
    same(case, description, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 7), (5, 33), (33, 3), (40, 160), (2, 600)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
@pytest.mark.parametrize("groups", [0, 1, 2])
def test_sizes_known_when_called(
    best: Any, size: tuple[int, int], kernel: tuple[int, int], groups: int
) -> None:
    pads = (kernel[0] // 2, kernel[1] // 2) * 2
    form = "gf" if groups > 1 else ""
    case = Case(5, 9, size, kernel, pads=pads, groups=groups, epilogue="residual", form=form, sized=True)
    same(case, best)


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("kernel", [1, 3])
def test_epilogues_of_images_known_when_called(best: Any, epilogue: str, groups: int, kernel: int) -> None:
    pads = (kernel // 2,) * 4
    same(Case(6, 10, (6, 45), (kernel,) * 2, pads=pads, groups=groups, epilogue=epilogue, sized=True), best)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("dilations", [(2, 2), (1, 3)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 3), (0, 4, 0, 0)])
@pytest.mark.parametrize("groups", [0, 1])
def test_dilations_known_when_called(
    best: Any, strides: tuple[int, int], dilations: tuple[int, int], pads: Any, groups: int
) -> None:
    same(Case(3, 4, (11, 14), (3, 3), strides, dilations, pads, groups=groups, sized=True), best)
