"""linalg_ext: text, verification, and the simpler ops that compute the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_core_ir.dialects import linalg_ext
from iree_core_ir.dialects.linalg_ext_base import LinalgExtOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.builder import Builder
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

LINES = """
%0 = linalg_ext.softmax dimension(1) ins(%x : tensor<4x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>
linalg_ext.softmax dimension(0) ins(%m : memref<4x8xf32>) outs(%m : memref<4x8xf32>)
%1 = linalg_ext.gather axis(0) ins(%x, %i : tensor<4x8xf32>, tensor<2x3xi32>) outs(%g : tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
%2 = linalg_ext.scan kind <add> dimension(0) exclusive reverse ins(%x : tensor<4x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>
%3 = linalg_ext.scan kind <max> dimension(1) ins(%x : tensor<4x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>
%4:2 = linalg_ext.topk dimension(1) ins(%x : tensor<4x8xf32>) outs(%k, %ki : tensor<4x2xf32>, tensor<4x2xi64>) -> tensor<4x2xf32>, tensor<4x2xi64>
%5:2 = linalg_ext.topk dimension(1) smallest ins(%x : tensor<4x8xf32>) outs(%k, %ki : tensor<4x2xf32>, tensor<4x2xi64>) -> tensor<4x2xf32>, tensor<4x2xi64>
%6 = linalg_ext.sort dimension(1) descending ins(%x : tensor<4x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>
%7 = linalg_ext.pack outer_dims_perm = [1, 0] inner_dims_pos = [1] inner_tiles = [4] ins(%x : tensor<4x8xf32>) outs(%p : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
%8 = linalg_ext.pack inner_dims_pos = [0, 1] inner_tiles = [3, 8] ins(%x, %f : tensor<4x8xf32>, f32) outs(%q : tensor<2x1x3x8xf32>) -> tensor<2x1x3x8xf32>
%9 = linalg_ext.unpack inner_dims_pos = [0, 1] inner_tiles = [3, 8] ins(%q : tensor<2x1x3x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>
%10 = linalg_ext.im2col kernel = [2, 3] strides = [1, 2] dilations = [1, 1] ins(%im : tensor<1x2x4x7xf32>) outs(%co : tensor<1x12x9xf32>) -> tensor<1x12x9xf32>
%11 = linalg_ext.scatter dimension_map = [0] unique_indices ins(%g2, %i2 : tensor<2x8xf32>, tensor<2x1xi32>) outs(%x : tensor<4x8xf32>) {
^bb0(%new: f32, %old: f32):
  %s = arith.addf %new, %old : f32
  linalg.yield %s : f32
} -> tensor<4x8xf32>
%12 = linalg_ext.attention causal ins(%x, %x, %x, %f : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, f32) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>
%13:2 = linalg_ext.recurrence {lengths, parameters = 1 : i64, reverse} ins(%y, %w, %rp, %rl, %x : tensor<5x4x8xf32>, tensor<8x8xf32>, tensor<1x8xf32>, tensor<4xi32>, tensor<4x8xf32>) outs(%y, %x : tensor<5x4x8xf32>, tensor<4x8xf32>) {
^bb0(%gate: f32, %sum: f32, %parameter: f32, %state: f32):
  %t = arith.addf %gate, %sum : f32
  linalg.yield %t : f32
} -> (tensor<5x4x8xf32>, tensor<4x8xf32>)
"""
SIGNATURE = (
    "%x: tensor<4x8xf32>, %m: memref<4x8xf32>, %i: tensor<2x3xi32>, %g: tensor<2x3x8xf32>, %k: tensor<4x2xf32>,"
    " %ki: tensor<4x2xi64>, %p: tensor<2x4x4xf32>, %q: tensor<2x1x3x8xf32>, %f: f32, %im: tensor<1x2x4x7xf32>,"
    " %co: tensor<1x12x9xf32>, %g2: tensor<2x8xf32>, %i2: tensor<2x1xi32>, %y: tensor<5x4x8xf32>, %w: tensor<8x8xf32>,"
    " %rp: tensor<1x8xf32>, %rl: tensor<4xi32>"
)


def module(body: str) -> str:
    return f"func.func @f({SIGNATURE}) {{\n{body}\nreturn\n}}"


def test_text(round_trip: Callable[[str], str], ops_of: Callable[[str], set[str]]) -> None:
    printed = round_trip(module(LINES))
    found = [" ".join(line.split()) for line in printed.splitlines()]
    wanted = [line.strip() for line in LINES.strip().splitlines() if "^bb0" not in line]
    assert [line for line in wanted if line not in found] == []
    assert set(linalg_ext.DIALECT.ops) <= ops_of(module(LINES))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = linalg_ext.softmax dimension(2) ins(%x : tensor<4x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>", "dimension 2"),
        ("%0 = linalg_ext.softmax dimension(0) ins(%i : tensor<2x3xi32>) outs(%i : tensor<2x3xi32>) -> tensor<2x3xi32>", "one float type"),
        ("linalg_ext.softmax dimension(0) ins(%x : tensor<4x8xf32>) outs(%x : tensor<4x8xf32>)", "one result of each"),
        ("%0 = linalg_ext.gather axis(1) ins(%x, %i : tensor<4x8xf32>, tensor<2x3xi32>) outs(%g : tensor<2x3x8xf32>) -> tensor<2x3x8xf32>", "must have shape 4x2x3"),
        ("%0 = linalg_ext.gather axis(0) ins(%x, %x : tensor<4x8xf32>, tensor<4x8xf32>) outs(%g : tensor<2x3x8xf32>) -> tensor<2x3x8xf32>", "must be integers"),
        ("%0:2 = linalg_ext.topk dimension(0) ins(%x : tensor<4x8xf32>) outs(%k, %ki : tensor<4x2xf32>, tensor<4x2xi64>) -> tensor<4x2xf32>, tensor<4x2xi64>", r"must have shape \?x8"),
        ("%0 = linalg_ext.pack inner_dims_pos = [1] inner_tiles = [3] ins(%x : tensor<4x8xf32>) outs(%p : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>", "must have shape 4x3x3"),
        ("%0 = linalg_ext.pack inner_dims_pos = [0, 1] inner_tiles = [3, 8] ins(%x : tensor<4x8xf32>) outs(%q : tensor<2x1x3x8xf32>) -> tensor<2x1x3x8xf32>", "tile 3 does not divide"),
        ("%0 = linalg_ext.unpack inner_dims_pos = [0, 0] inner_tiles = [3, 8] ins(%q : tensor<2x1x3x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>", "inner_dims_pos"),
        ("%0 = linalg_ext.im2col kernel = [5, 1] strides = [1, 1] dilations = [2, 1] ins(%im : tensor<1x2x4x7xf32>) outs(%co : tensor<1x12x9xf32>) -> tensor<1x12x9xf32>", "does not fit"),
        ("%0 = linalg_ext.attention ins(%x, %x, %x, %x : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>", "float scalar"),
        ("%0 = linalg_ext.attention ins(%x, %g2, %x, %f : tensor<4x8xf32>, tensor<2x8xf32>, tensor<4x8xf32>, f32) outs(%x : tensor<4x8xf32>) -> tensor<4x8xf32>", "dim 0 of operand 2 has size 4, but 'd1' runs from 0 to 1"),
        ("%0 = linalg_ext.scatter dimension_map = [0, 0] ins(%g2, %i2 : tensor<2x8xf32>, tensor<2x1xi32>) outs(%x : tensor<4x8xf32>) {\n^bb0(%a: f32, %b: f32):\n linalg.yield %a : f32\n} -> tensor<4x8xf32>", "dimension_map"),
        ("%0 = linalg_ext.scatter dimension_map = [1] ins(%g2, %i2 : tensor<2x8xf32>, tensor<2x1xi32>) outs(%x : tensor<4x8xf32>) {\n^bb0(%a: f32, %b: f32):\n linalg.yield %a : f32\n} -> tensor<4x8xf32>", "updates .* must have shape 2x4"),
        ("%0:2 = linalg_ext.recurrence {parameters = 0 : i64} ins(%y, %w, %x : tensor<5x4x8xf32>, tensor<8x8xf32>, tensor<4x8xf32>) outs(%y, %x : tensor<5x4x8xf32>, tensor<4x8xf32>) {\n^bb0(%a: f32, %b: f32):\n linalg.yield %a : f32\n} -> (tensor<5x4x8xf32>, tensor<4x8xf32>)", "takes 3 scalars"),
        ("%0:2 = linalg_ext.recurrence {parameters = 0 : i64} ins(%y, %x, %x : tensor<5x4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) outs(%y, %x : tensor<5x4x8xf32>, tensor<4x8xf32>) {\n^bb0(%a: f32, %b: f32, %c: f32):\n linalg.yield %a : f32\n} -> (tensor<5x4x8xf32>, tensor<4x8xf32>)", "whole gates"),
    ],
)  # fmt: skip
def test_the_verifier_rejects(body: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(module(body)))


def decomposed(text: str) -> Any:
    """The module with each linalg_ext op replaced by its decomposition; at least one must have one."""
    module = parse_module(text)
    verify(module)
    ops = [op for op in module.walk() if isinstance(op, LinalgExtOp)]
    assert ops
    for op in ops:
        values = op.decompose(Builder.before_op(op))
        assert values is not None
        op.replace_by(values)
    verify(module)
    return module


def one_op(operands: list[tuple[str, str]], op: str, result: str) -> str:
    arguments = ", ".join(f"%{n}: {t}" for n, t in operands)
    return f"func.func @f({arguments}) -> {result} {{\n %r = {op} -> {result}\n return %r : {result}\n}}"


CASES = {
    "softmax": (
        [("x", "tensor<3x?x5xf32>"), ("o", "tensor<3x?x5xf32>")],
        "linalg_ext.softmax dimension(1) ins(%x : tensor<3x?x5xf32>) outs(%o : tensor<3x?x5xf32>)",
        [(3, 4, 5), (3, 4, 5)],
    ),
    "pack": (
        [("x", "tensor<5x7xf32>"), ("p", "f32"), ("o", "tensor<2x3x3x4xf32>")],
        "linalg_ext.pack outer_dims_perm = [1, 0] inner_dims_pos = [1, 0] inner_tiles = [4, 2] ins(%x, %p : tensor<5x7xf32>, f32) outs(%o : tensor<2x3x4x2xf32>)",
        [(5, 7), None, (2, 3, 4, 2)],
    ),
    "unpack": (
        [("x", "tensor<2x3x4x2xf32>"), ("o", "tensor<5x7xf32>")],
        "linalg_ext.unpack outer_dims_perm = [1, 0] inner_dims_pos = [1, 0] inner_tiles = [4, 2] ins(%x : tensor<2x3x4x2xf32>) outs(%o : tensor<5x7xf32>)",
        [(2, 3, 4, 2), (5, 7)],
    ),
    "im2col": (
        [("x", "tensor<2x3x6x7xf32>"), ("o", "tensor<2x18x12xf32>")],
        "linalg_ext.im2col kernel = [3, 2] strides = [1, 2] dilations = [1, 1] ins(%x : tensor<2x3x6x7xf32>) outs(%o : tensor<2x18x12xf32>)",
        [(2, 3, 6, 7), (2, 18, 12)],
    ),
    "attention": (
        [("q", "tensor<2x4x8xf32>"), ("k", "tensor<2x?x8xf32>"), ("v", "tensor<2x?x3xf32>"), ("s", "f32"), ("m", "tensor<2x4x?xf32>"), ("o", "tensor<2x4x3xf32>")],
        "linalg_ext.attention ins(%q, %k, %v, %s, %m : tensor<2x4x8xf32>, tensor<2x?x8xf32>, tensor<2x?x3xf32>, f32, tensor<2x4x?xf32>) outs(%o : tensor<2x4x3xf32>)",
        [(2, 4, 8), (2, 5, 8), (2, 5, 3), None, (2, 4, 5), (2, 4, 3)],
    ),
    "causal attention": (
        [("q", "tensor<4x8xf16>"), ("k", "tensor<4x8xf16>"), ("v", "tensor<4x3xf16>"), ("s", "f16"), ("m", "tensor<4x4xi1>"), ("o", "tensor<4x3xf16>")],
        "linalg_ext.attention causal ins(%q, %k, %v, %s, %m : tensor<4x8xf16>, tensor<4x8xf16>, tensor<4x3xf16>, f16, tensor<4x4xi1>) outs(%o : tensor<4x3xf16>)",
        [(4, 8), (4, 8), (4, 3), None, (4, 4), (4, 3)],
    ),
    "attention in place": (
        [("x", "tensor<5x3x2x4xf32>"), ("s", "f32"), ("m", "tensor<5xi1>"), ("o", "tensor<5x2x4xf32>")],
        "linalg_ext.attention empty_rows_zero {indexing_maps = [affine_map<(h, m, n, k, p) -> (m, 0, h, k)>, affine_map<(h, m, n, k, p) -> (n, 1, h, k)>, affine_map<(h, m, n, k, p) -> (n, 2, h, p)>, affine_map<(h, m, n, k, p) -> ()>, affine_map<(h, m, n, k, p) -> (n)>, affine_map<(h, m, n, k, p) -> (m, h, p)>]} ins(%x, %x, %x, %s, %m : tensor<5x3x2x4xf32>, tensor<5x3x2x4xf32>, tensor<5x3x2x4xf32>, f32, tensor<5xi1>) outs(%o : tensor<5x2x4xf32>)",
        [(5, 3, 2, 4), None, (5,), (5, 2, 4)],
    ),
    "attention without keys": (
        [("q", "tensor<4x8xf32>"), ("k", "tensor<4x8xf32>"), ("v", "tensor<4x3xf32>"), ("s", "f32"), ("m", "tensor<4xi1>"), ("o", "tensor<4x3xf32>")],
        "linalg_ext.attention empty_rows_zero {indexing_maps = [affine_map<(m, n, k, p) -> (m, k)>, affine_map<(m, n, k, p) -> (n, k)>, affine_map<(m, n, k, p) -> (n, p)>, affine_map<(m, n, k, p) -> ()>, affine_map<(m, n, k, p) -> (m)>, affine_map<(m, n, k, p) -> (m, p)>]} ins(%q, %k, %v, %s, %m : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x3xf32>, f32, tensor<4xi1>) outs(%o : tensor<4x3xf32>)",
        [(4, 8), (4, 8), (4, 3), None, (4,), (4, 3)],
    ),
    "attention with shared keys": (
        [("q", "tensor<6x5x4xf32>"), ("k", "tensor<2x?x4xf32>"), ("v", "tensor<?x2x3xf32>"), ("s", "f32"), ("o", "tensor<6x5x3xf32>")],
        "linalg_ext.attention {indexing_maps = [affine_map<(h, m, n, k, p) -> (h, m, k)>, affine_map<(h, m, n, k, p) -> (h floordiv 3, n, k)>, affine_map<(h, m, n, k, p) -> (n, h floordiv 3, p)>, affine_map<(h, m, n, k, p) -> ()>, affine_map<(h, m, n, k, p) -> (h, m, p)>]} ins(%q, %k, %v, %s : tensor<6x5x4xf32>, tensor<2x?x4xf32>, tensor<?x2x3xf32>, f32) outs(%o : tensor<6x5x3xf32>)",
        [(6, 5, 4), (2, 7, 4), (7, 2, 3), None, (6, 5, 3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_decompositions_compute_the_same(case: str) -> None:
    operands, op, shapes = CASES[case]
    operands = [(n, t.replace("2x3x3x4", "2x3x4x2")) for n, t in operands]
    text = one_op(operands, op, operands[-1][1])
    rng = np.random.default_rng(0)
    values: list[Any] = []
    for (_, type), shape in zip(operands, shapes, strict=True):
        dtype = np.float16 if "f16" in type else np.float32
        if "i1" in type:
            values.append(
                (np.tri(shape[0], *shape[1:2], dtype=np.bool_) if len(shape) > 1 else np.arange(shape[0]) < 2)
                | (rng.random(shape) < 0.3)
            )
        else:
            values.append(dtype(0.5) if shape is None else rng.normal(size=shape).astype(dtype))
    direct = Interpreter(parse_module(text)).call("f", *values)
    simple = Interpreter(decomposed(text)).call("f", *values)
    np.testing.assert_allclose(simple[0], direct[0], rtol=2e-3 if "causal" in case else 1e-5, atol=1e-6)
