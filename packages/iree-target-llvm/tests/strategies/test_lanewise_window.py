"""Depthwise convolution and pooling of images in channel blocks, compiled and run here, against the
interpreter on the same dispatch function."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen.rounded_arguments import rounded_arguments
from iree_codegen.select_strategy import generate
from iree_codegen.strategies.lanewise_window import NAME
from iree_core_ir.ir.types import bf16
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import function
from .test_tile_matmul import machine


@dataclass(frozen=True)
class Case:
    """One window with what is fused around it."""

    kind: str = "product"
    blocks: int = 2
    channels: int | None = None
    """Channels that are there, where the last block is not full: the others become zero."""
    size: tuple[int, int] = (9, 31)
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Top, left, bottom, right."""
    batch: int | None = 1
    """None: known when called."""
    epilogue: bool = True
    total: bool = False
    """The sums of all pixels of the result are a result, too."""
    begin: float = 0.0
    """What sums begin with."""
    outside: float = 0.0
    """What lies around the image of a sum."""


OPS = {
    "product": "%m = arith.mulf %a, %b : f32\n%r = arith.addf %o, %m : f32",
    "maximum": "%r = arith.maximumf %o, %a : f32",
    "sum": "%r = arith.addf %o, %a : f32",
}


def text(case: Case, lanes: int) -> str:
    n = "?" if case.batch is None else str(case.batch)
    (h, w), (kh, kw), (sy, sx), (dy, dx) = case.size, case.kernel, case.strides, case.dilations
    top, left, bottom, right = case.pads
    ph, pw = h + top + bottom, w + left + right
    oh, ow = (ph - (kh - 1) * dy - 1) // sy + 1, (pw - (kw - 1) * dx - 1) // sx + 1

    def image(rows: int, columns: int) -> str:
        return f"tensor<{n}x{case.blocks}x{rows}x{columns}x{lanes}xf32>"

    x, p, out = image(h, w), image(ph, pw), image(oh, ow)
    product = case.kind == "product"
    window = f"tensor<{case.blocks}x{kh}x{kw}x{lanes}xf32>" if product else f"tensor<{kh}x{kw}xf32>"
    weights = "%w" if product else "%window"
    vector = f"tensor<{case.blocks}x{lanes}xf32>"
    least = "0xFF800000" if case.kind == "maximum" else ""
    size = "%n" if case.batch is None else ""
    read = "cb, ky, kx, l" if product else "ky, kx"
    loops = "n, cb, y, x, l, ky, kx"
    five = "n, cb, y, x, l"
    pad = f"""%p = tensor.pad %x low[0, 0, {top}, {left}, 0] high[0, 0, {bottom}, {right}, 0] {{
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index, %i4: index):
      tensor.yield %outside : f32
    }} : {x} to {p}"""
    zero = f"""
      %c0 = linalg.index 1 : index
      %c1 = linalg.index 4 : index
      %cl = arith.constant {lanes} : index
      %cc = arith.constant {case.channels or 0} : index
      %c2 = arith.muli %c0, %cl : index
      %c3 = arith.addi %c2, %c1 : index
      %c4 = arith.cmpi ult, %c3, %cc : index
      %v = arith.select %c4, %t, %nil : f32"""
    behind = f"""%q = linalg.generic {{indexing_maps = [affine_map<({five}) -> ({five})>,
      affine_map<({five}) -> (cb, l)>, affine_map<({five}) -> ({five})>, affine_map<({five}) -> ({five})>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}}
      ins(%r, %bias, %other : {out}, {vector}, {out}) outs(%e : {out}) {{
    ^bb0(%a: f32, %b: f32, %c: f32, %o: f32):
      %s = arith.addf %a, %b : f32
      %t = arith.mulf %s, %c : f32
      {zero if case.channels else "%v = arith.maximumf %t, %nil : f32"}
      linalg.yield %v : f32
    }} -> {out}"""
    result = "%q" if case.epilogue else "%r"
    whole, sums = f"tensor<{oh}x{ow}xf32>", image(1, 1)
    total = f"""%we = tensor.empty() : {whole}
    %te = tensor.empty({size}) : {sums}
    %nought = arith.constant 0.0 : f32
    %tf = linalg.fill ins(%nought : f32) outs(%te : {sums}) -> {sums}
    %t = linalg.generic {{indexing_maps = [affine_map<({loops}) -> (n, cb, y + ky, x + kx, l)>,
        affine_map<({loops}) -> (ky, kx)>, affine_map<({loops}) -> ({five})>],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}}
        ins({result}, %we : {out}, {whole}) outs(%tf : {sums}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %z = arith.addf %o, %a : f32
      linalg.yield %z : f32
    }} -> {sums}"""
    arguments = [f"%x: {x}", f"%bias: {vector}", f"%other: {out}"] + ([f"%w: {window}"] if product else [])
    number = 1 if case.batch is None else 0
    types = [x, vector, out, window] if product else [x, vector, out]
    dims = [
        f" {{iree.dims = array<i64: {', '.join(['0'] + ['0'] * (t.count('x') - 1))}>}}"
        if t.startswith("tensor<?")
        else ""
        for t in types
    ]
    declared = ["%n: index"] * number + [a + d for a, d in zip(arguments, dims, strict=True)]
    destination = f"%out: {out}" + (" {iree.dims = array<i64: 0, 0, 0, 0, 0>}" if number else "")
    second = f", %sums: {sums}" + destination[len(f"%out: {out}") :] if case.total else ""
    results = f"({out}, {sums})" if case.total else out
    return f"""
module {{
  func.func @f({", ".join(declared)}, {destination}{second}) -> {results} {{
    %outside = arith.constant {least or case.outside} : f32
    %begin = arith.constant {least or case.begin} : f32
    %nil = arith.constant 0.0 : f32
    %e = tensor.empty({size}) : {out}
    {"" if product else f"%window = tensor.empty() : {window}"}
    {pad if any(case.pads) else ""}
    %f = linalg.fill ins(%begin : f32) outs(%e : {out}) -> {out}
    %r = linalg.generic {{indexing_maps = [
        affine_map<({loops}) -> (n, cb, y * {sy} + ky * {dy}, x * {sx} + kx * {dx}, l)>,
        affine_map<({loops}) -> ({read})>, affine_map<({loops}) -> ({five})>],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}}
        ins({"%p" if any(case.pads) else "%x"}, {weights} : {p}, {window}) outs(%f : {out}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      {OPS[case.kind]}
      linalg.yield %r : f32
    }} -> {out}
    {behind if case.epilogue else ""}
    {total if case.total else ""}
    return {result}{", %t" if case.total else ""} : {out}{f", {sums}" if case.total else ""}
  }}
}}
"""


def check(case: Case, description: Any, taken: bool = True) -> None:
    lanes = description.vector_bits // 32
    module = parse_module(text(case, lanes))
    verify(module)
    func = next(op for op in module.walk() if op.name == "func.func")
    rng = np.random.default_rng(0)
    inputs: dict[int, Any] = {0: 2} if case.batch is None else {}
    for position, argument in enumerate(func.regions[0].block.args):
        if position in inputs or position >= len(func.regions[0].block.args) - 1 - case.total:
            continue
        shape = [2 if n < 0 else n for n in argument.type.shape]
        inputs[position] = rng.standard_normal(shape).astype(np.float32)
    image = inputs[1 if case.batch is None else 0]
    image.flat[[3, image.size // 2]] = np.nan, np.inf
    assert (generate(func, description).strategy == NAME) == taken
    compiled = compile_function(func, description)
    with np.errstate(all="ignore"):
        expected = run_reference(func, inputs)
    for got, want in zip(run_native(func, compiled, inputs), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * (100 if case.total else 1))


CASES = {
    "3x3": Case(),
    "as it is": Case(pads=(0, 0, 0, 0), epilogue=False),
    "5x5 strided": Case(kernel=(5, 5), strides=(2, 2), pads=(2, 2, 2, 2)),
    "3x3 strided, uneven pads": Case(strides=(2, 2), pads=(0, 0, 1, 1), size=(12, 30)),
    "dilated": Case(dilations=(2, 3), pads=(2, 3, 2, 3)),
    "strides of 3": Case(strides=(3, 3), size=(11, 50)),
    "small": Case(size=(7, 7)),
    "smaller than its window": Case(size=(2, 2), kernel=(5, 5), pads=(2, 2, 2, 2)),
    "windows in the padding": Case(size=(3, 3), kernel=(1, 1), pads=(2, 2, 2, 2)),
    "one column": Case(size=(17, 1), kernel=(3, 1), pads=(1, 0, 1, 0)),
    "several images": Case(batch=3, blocks=3),
    "images known when called": Case(batch=None),
    "large": Case(size=(60, 64), blocks=3),
    "a block that is not full": Case(),
    "maxima": Case("maximum", strides=(2, 2)),
    "sums": Case("sum", kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0)),
    "sums of whole images": Case("sum", size=(9, 31), kernel=(9, 31), pads=(0, 0, 0, 0), epilogue=False),
    "sums of several images": Case(
        "sum", size=(3, 2), kernel=(3, 2), pads=(0, 0, 0, 0), batch=3, epilogue=False
    ),
    "a window and its sums": Case(total=True),
    "a large window and its sums": Case(size=(60, 64), blocks=3, strides=(2, 2), total=True),
    "windows known when called and their sums": Case(batch=None, total=True, epilogue=False),
    "sums of uneven windows": Case("sum", kernel=(3, 5), pads=(1, 2, 0, 2), epilogue=False),
}


@pytest.mark.parametrize("name", CASES)
def test_windows(name: str, description: Any) -> None:
    case = CASES[name]
    if name == "a block that is not full":
        case = replace(case, channels=2 * description.vector_bits // 32 - 3)
    check(case, description)


@pytest.mark.parametrize("outside", [0.0, 1.0])
def test_sums_that_begin_with_a_number(best: Any, outside: float) -> None:
    """What lies outside is left out, which is right for zeros alone."""
    case = replace(CASES["sums of uneven windows"], begin=1.0, outside=outside)
    check(case, best, taken=outside == 0.0)


def test_blocks_that_are_no_vector_are_left_to_others(description: Any) -> None:
    lanes = description.vector_bits // 64
    func = next(op for op in parse_module(text(Case(), lanes)).walk() if op.name == "func.func")
    assert generate(func, description).strategy != NAME


@pytest.mark.parametrize(("op", "least"), [("maxui", 0), ("maxsi", -128)])
@pytest.mark.parametrize("size", [(9, 31), (2, 2)])
def test_maxima_of_bytes(best: Any, op: str, least: int, size: tuple[int, int]) -> None:
    case = Case("maximum", size=size, strides=(2, 1), epilogue=False)
    bytes_of = text(case, best.vector_bits // 32).replace("arith.maximumf", f"arith.{op}")
    bytes_of = bytes_of.replace("0xFF800000", str(least)).replace("f32", "i8").replace("0.0 :", "0 :")
    func = next(op for op in parse_module(bytes_of).walk() if op.name == "func.func")
    shape = func.regions[0].block.args[0].type.shape
    image = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    assert generate(func, best).strategy == NAME
    (expected,) = run_reference(func, {0: image})
    (got,) = run_native(func, compile_function(func, best), {0: image})
    np.testing.assert_array_equal(got, expected)


def converted(name: str, value: str, cast: str, types: tuple[str, str], into: str) -> str:
    """``value`` element by element in another type."""
    five = "affine_map<(n, cb, y, x, l) -> (n, cb, y, x, l)>"
    (source, narrow), (target, wide) = ((t, t.rsplit("x", 1)[1].rstrip(">")) for t in types)
    return f"""{name} = linalg.generic {{indexing_maps = [{five}, {five}],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}}
        ins({value} : {source}) outs({into} : {target}) {{
    ^bb0(%from: {narrow}, %old: {wide}):
      %to = arith.{cast} %from : {narrow} to {wide}
      linalg.yield %to : {wide}
    }} -> {target}
    """


@pytest.mark.parametrize("size", [(9, 31), (2, 2)])
def test_maxima_of_what_is_rounded(best: Any, size: tuple[int, int]) -> None:
    """A maximum that is rounded lets its image come rounded: results are the same."""
    case = Case("maximum", size=size, strides=(2, 1), epilogue=False)
    plain = text(case, best.vector_bits // 32)
    wide_x, wide_out = re.findall(r"%(?:x|out): (tensor<[0-9x]*f32>)", plain)
    narrow_x, narrow_out = (t.replace("f32", "bf16") for t in (wide_x, wide_out))
    rounding = converted("%z", "%r", "truncf", (wide_out, narrow_out), "%out")
    rounds = plain.replace(f"%out: {wide_out}) -> {wide_out}", f"%out: {narrow_out}) -> {narrow_out}")
    rounds = rounds.replace(f"return %r : {wide_out}", f"{rounding}return %z : {narrow_out}")
    widening = f"%space = tensor.empty() : {wide_x}\n    "
    widening += converted("%x", "%narrow", "extf", (narrow_x, wide_x), "%space")
    reads = rounds.replace(f"%x: {wide_x}", f"%narrow: {narrow_x}").replace(
        "%nil =", f"{widening.strip()}\n    %nil ="
    )
    functions = [function(t) for t in (rounds, reads)]
    assert [rounded_arguments(f, machine("medium")) for f in functions] == [{0: bf16}, {}]
    assert rounded_arguments(function(plain), machine("medium")) == {}
    image = np.random.default_rng(0).standard_normal(functions[0].regions[0].block.args[0].type.shape)
    image = image.astype(np.float32)
    image[0, 0, 0, 0, :2] = np.nan, np.inf
    given = [image, image.astype(element_type("bf16").dtype)]
    (expected,) = run_reference(functions[0], {0: image})
    for func, own in zip(functions, given, strict=True):
        assert generate(func, best).strategy == NAME
        (got,) = run_native(func, compile_function(func, best), {0: own})
        np.testing.assert_array_equal(got.astype(np.float32), expected.astype(np.float32))
