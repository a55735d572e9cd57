"""Chains of 1x1 convolution, window and 1x1 convolution on images in channel blocks, compiled and run here,
against the interpreter on the same dispatch function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from iree_codegen.layouts import constant_layout
from iree_codegen.select_strategy import generate
from iree_codegen.strategies import inverted_residual as strategy
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import function, laid_out
from .test_tile_matmul import PRECISIONS, machine, results, runs_here


@dataclass(frozen=True)
class Case:
    blocks: int = 2
    missing: int = 0
    """Channels that the last input block lacks."""
    wide: int = 3
    narrow: int | None = 2
    """None: nothing behind the window."""
    size: tuple[int, int] = (11, 19)
    kernel: int = 3
    stride: int = 1
    pad: int | None = None
    """None: half of the window."""
    batch: int | None = 1
    residual: bool = False
    direct: bool = False
    """Nothing before the window."""


FIVE = "n, b, y, x, l"
LOOPS = '"parallel", "parallel", "parallel", "parallel", "parallel"'


def text(case: Case, lanes: int) -> str:
    n = "?" if case.batch is None else str(case.batch)
    size = "%n" if case.batch is None else ""
    h, w = case.size
    p = case.kernel // 2 if case.pad is None else case.pad
    oh, ow = ((m + 2 * p - case.kernel) // case.stride + 1 for m in (h, w))

    def image(blocks: int, rows: int, columns: int) -> str:
        return f"tensor<{n}x{blocks}x{rows}x{columns}x{lanes}xf32>"

    x, wide, padded = image(case.blocks, h, w), image(case.wide, h, w), image(case.wide, h + 2 * p, w + 2 * p)
    slid, last = image(case.wide, oh, ow), image(case.narrow or case.wide, oh, ow)
    vector = f"tensor<{case.wide}x{lanes}xf32>"
    window = f"tensor<{case.wide}x{case.kernel}x{case.kernel}x{lanes}xf32>"
    first = f"tensor<{case.wide}x{case.blocks}x1x1x{lanes}x{lanes}xf32>"
    second = f"tensor<{case.narrow}x{case.wide}x1x1x{lanes}x{lanes}xf32>"

    def pointwise(name: str, source: str, weights: str, types: tuple[str, str, str], hint: str) -> str:
        nine = "n, fb, y, x, fi, cb, ky, kx, ci"
        return f"""%{name}e = tensor.empty({size}) : {types[2]}
    %{name}f = linalg.fill ins(%zero : f32) outs(%{name}e : {types[2]}) -> {types[2]}
    %{name} = linalg.generic {{indexing_maps = [affine_map<({nine}) -> (n, cb, y + ky, x + kx, ci)>,
        affine_map<({nine}) -> (fb, cb, ky, kx, ci, fi)>, affine_map<({nine}) -> (n, fb, y, x, fi)>],
        iterator_types = [{LOOPS}, "reduction", "reduction", "reduction", "reduction"]}}
        ins({source}, {weights} : {types[0]}, {types[1]}) outs(%{name}f : {types[2]}){hint} {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %m = arith.mulf %a, %b : f32
      %r = arith.addf %o, %m : f32
      linalg.yield %r : f32
    }} -> {types[2]}"""

    def behind(name: str, source: str, type: str) -> str:
        return f"""%{name} = linalg.generic {{indexing_maps = [affine_map<({FIVE}) -> ({FIVE})>,
        affine_map<({FIVE}) -> (b, l)>, affine_map<({FIVE}) -> ({FIVE})>], iterator_types = [{LOOPS}]}}
        ins({source}, %bias : {type}, {vector}) outs({source}e : {type}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %s = arith.addf %a, %b : f32
      %r = arith.maximumf %s, %zero : f32
      linalg.yield %r : f32
    }} -> {type}"""

    hint = f" attrs = {{iree.channels = {case.blocks * lanes - case.missing} : i64}}" if case.missing else ""
    lines = [pointwise("c", "%x", "%w", (x, first, wide), hint), behind("d", "%c", wide)]
    source = "%d"
    if case.direct:
        lines = []
        source = "%x"
    if p:
        source = "%p"
        lines.append(f"""%p = tensor.pad {"%x" if case.direct else "%d"} low[0, 0, {p}, {p}, 0] high[0, 0, {p}, {p}, 0] {{
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index, %i4: index):
      tensor.yield %zero : f32
    }} : {wide} to {padded}""")
    seven = "n, b, y, x, l, ky, kx"
    s = case.stride
    lines.append(f"""%ve = tensor.empty({size}) : {slid}
    %vf = linalg.fill ins(%zero : f32) outs(%ve : {slid}) -> {slid}
    %v = linalg.generic {{indexing_maps = [affine_map<({seven}) -> (n, b, y * {s} + ky, x * {s} + kx, l)>,
        affine_map<({seven}) -> (b, ky, kx, l)>, affine_map<({seven}) -> ({FIVE})>],
        iterator_types = [{LOOPS}, "reduction", "reduction"]}}
        ins({source}, %k : {padded}, {window}) outs(%vf : {slid}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %m = arith.mulf %a, %b : f32
      %r = arith.addf %o, %m : f32
      linalg.yield %r : f32
    }} -> {slid}""")
    lines.append(behind("g", "%v", slid))
    result = "%g"
    types = [x, first, window, vector]
    names = ["%x", "%w", "%k", "%bias"]
    if case.direct:
        types, names = [x, window, vector], ["%x", "%k", "%bias"]
    if case.narrow:
        lines.append(pointwise("q", "%g", "%u", (slid, second, last), ""))
        result, names, types = "%q", [*names, "%u"], [*types, second]
    if case.residual:
        names, types = [*names, "%y"], [*types, last]
        lines.append(f"""%z = linalg.generic {{indexing_maps = [affine_map<({FIVE}) -> ({FIVE})>,
        affine_map<({FIVE}) -> ({FIVE})>, affine_map<({FIVE}) -> ({FIVE})>], iterator_types = [{LOOPS}]}}
        ins({result}, %y : {last}, {last}) outs({result}e : {last}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %r = arith.addf %a, %b : f32
      linalg.yield %r : f32
    }} -> {last}""")
        result = "%z"
    dims = "{iree.dims = array<i64: 0, 0, 0, 0, 0>}" if case.batch is None else ""
    arguments = [
        f"{a}: {t} {dims if t.startswith('tensor<?') else ''}" for a, t in zip(names, types, strict=True)
    ]
    number = ["%n: index"] if case.batch is None else []
    body = "\n    ".join(lines)
    return f"""
module {{
  func.func @f({", ".join([*number, *arguments])}, %out: {last} {dims}) -> {last} {{
    %zero = arith.constant 0.0 : f32
    {body}
    return {result} : {last}
  }}
}}
"""


def check(case: Case, description: Any) -> None:
    lanes = description.vector_bits // 32
    module = parse_module(text(case, lanes))
    verify(module)
    func = next(op for op in module.walk() if op.name == "func.func")
    assert generate(func, description).strategy == strategy.NAME
    rng = np.random.default_rng(0)
    inputs: dict[int, Any] = {0: 2} if case.batch is None else {}
    first = len(inputs)
    for position, argument in enumerate(func.regions[0].block.args[:-1]):
        if position not in inputs:
            shape = [2 if size < 0 else size for size in argument.type.shape]
            inputs[position] = rng.standard_normal(shape).astype(np.float32)
    if case.missing:
        inputs[first][:, -1, ..., lanes - case.missing :] = 0
        inputs[first + 1][:, -1, ..., lanes - case.missing :, :] = 0
    inputs[first][0, 0, 0, 0, 0] = np.nan
    inputs[first][-1, 0, case.size[0] // 2, case.size[1] // 2, 0] = np.inf
    compiled = compile_function(func, description)
    with np.errstate(all="ignore"):
        expected = run_reference(func, inputs)
    for got, want in zip(run_native(func, compiled, inputs), expected, strict=True):
        finite = np.isfinite(want)
        np.testing.assert_array_equal(np.isfinite(got), finite)
        np.testing.assert_allclose(got[finite], want[finite], rtol=1e-4, atol=1e-4)


CASES = {
    "three steps": Case(),
    "two steps": Case(narrow=None),
    "strided": Case(stride=2, wide=4, narrow=3),
    "5x5 strided": Case(kernel=5, stride=2, wide=5, narrow=None),
    "no padding": Case(pad=0),
    "one block, channels missing": Case(blocks=1, missing=3, wide=1, narrow=1),
    "channels missing": Case(missing=2),
    "a residual": Case(residual=True, narrow=2),
    "several images": Case(batch=2, size=(7, 8)),
    "images known when called": Case(batch=None, size=(7, 8), stride=2),
    "nothing before": Case(direct=True, blocks=3, narrow=2, stride=2),
    "nothing before, several images": Case(direct=True, blocks=3, narrow=1, batch=2, residual=True),
    "one row": Case(size=(1, 9)),
    "many blocks": Case(wide=7, narrow=4, size=(5, 30)),
}


@pytest.mark.parametrize("name", CASES)
def test_chains(name: str, description: Any) -> None:
    check(CASES[name], description)


def test_strips_that_end_before_the_image_does(best: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy, "SCRATCH_BYTES", 24 << 10)
    check(Case(size=(17, 9), stride=2), best)
    check(Case(size=(17, 9), narrow=None), best)


TILED = {
    "three steps": Case(size=(7, 9)),
    "two steps": Case(narrow=None, size=(5, 17), batch=2),
    "strided": Case(stride=2, wide=4, narrow=3, size=(9, 14)),
    "5x5 strided, many blocks": Case(kernel=5, stride=2, blocks=1, wide=7, narrow=4, size=(8, 11)),
    "channels missing": Case(missing=2, size=(4, 8), pad=0),
    "a residual": Case(blocks=3, residual=True, narrow=2, size=(5, 6)),
    "nothing before": Case(direct=True, blocks=3, narrow=2, stride=2, size=(7, 12)),
    "images known when called": Case(batch=None, size=(6, 8)),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", TILED)
def test_on_matrix_tiles(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of few bits, whose products and sums bf16 holds: results are those of f32. At ``high`` any."""
    monkeypatch.setattr(strategy, "SCRATCH_BYTES", 24 << 10)
    case, description = TILED[name], machine(precision)
    own = re.sub(r"(%[wu]: tensor<[0-9x]*f32>)", r"\1 {iree.constant}", text(case, 16))
    func = function(own)
    rng = np.random.default_rng(len(name))
    inputs: dict[int, Any] = {0: 2} if case.batch is None else {}
    first = len(inputs)
    for position, argument in enumerate(func.regions[0].block.args[:-1]):
        if position not in inputs:
            shape = [2 if size < 0 else size for size in argument.type.shape]
            few = rng.integers(-1, 2, shape) * (rng.random(shape) < 0.15)
            inputs[position] = (few if precision == "medium" else rng.standard_normal(shape)).astype(
                np.float32
            )
    if case.missing:
        inputs[first][:, -1, ..., 16 - case.missing :] = 0
        inputs[first + 1][:, -1, ..., 16 - case.missing :, :] = 0
    (expected,) = run_reference(func, inputs)
    if precision == "medium":
        assert 0 < np.abs(expected).max() <= 256
    native = laid_out(func, description, inputs)
    for form, got in results(func, description, native, runs_here(), strategy=strategy.NAME):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max(), err_msg=form)


def test_short_rows_stay_f32() -> None:
    own = re.sub(r"(%[wu]: tensor<[0-9x]*f32>)", r"\1 {iree.constant}", text(Case(size=(9, 3)), 16))
    assert constant_layout(function(own), machine("medium")) == ()
