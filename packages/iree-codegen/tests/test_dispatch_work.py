"""The work of dispatches: operations of the model, bytes that have to move, expressions for dynamic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.postfix import evaluate
from iree_codegen import dims
from iree_codegen.dispatch import Dispatch
from iree_codegen.dispatch_work import DispatchWork, work_of
from iree_core_ir.text.parser import parse_module


def _dispatch(text: str) -> Dispatch:
    module = parse_module(text, "<test>")
    return Dispatch(next(op for op in module.walk() if op.name == "func.func"))


PRODUCT = """
func.func @f(%a: tensor<?x32xf32> {iree.dims = array<i64: 3, -1>},
             %w: tensor<32x64xf32> {iree.constant},
             %s: f32, %n: index,
             %o: tensor<?x64xf32> {iree.access = "write", iree.dims = array<i64: 3, -1>}) -> tensor<?x64xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%o : tensor<?x64xf32>) -> tensor<?x64xf32>
  %m = linalg.matmul ins(%a, %w : tensor<?x32xf32>, tensor<32x64xf32>) outs(%f : tensor<?x64xf32>)
    -> tensor<?x64xf32>
  return %m : tensor<?x64xf32>
}
"""


def test_a_product_counts_its_multiply_adds_and_every_byte_once() -> None:
    dispatch = _dispatch(PRODUCT)
    work = work_of(dispatch)
    for n in (0, 1, 7, 1 << 33):
        values = {3: n}
        assert dims.evaluate(work.flops, values) == 2 * n * 32 * 64
        assert dims.evaluate(work.read, values) == n * 32 * 4
        assert dims.evaluate(work.written, values) == n * 64 * 4
    assert work.constants == 32 * 64 * 4
    assert work.transcendentals == 0


def test_numbers_are_read_from_the_constant_words_of_the_call() -> None:
    dispatch = _dispatch(PRODUCT)
    numbers = work_of(dispatch).numbers(dispatch)
    for n in (0, 5, (1 << 32) + 3):
        words = [0x3F800000, n & 0xFFFFFFFF, n >> 32]
        assert evaluate(numbers["flops"], words) == 2 * n * 32 * 64
        assert evaluate(numbers["constants"], words) == 8192


def _elementwise(body: str) -> str:
    return f"""
#m = affine_map<(i) -> (i)>
func.func @f(%a: tensor<10xf32>, %o: tensor<10xf32> {{iree.access = "write"}}) -> tensor<10xf32> {{
  %r = linalg.generic {{indexing_maps = [#m, #m], iterator_types = ["parallel"]}}
    ins(%a : tensor<10xf32>) outs(%o : tensor<10xf32>) {{
  ^bb0(%x: f32, %y: f32):
    {body}
    linalg.yield %v : f32
  }} -> tensor<10xf32>
  return %r : tensor<10xf32>
}}
"""


@pytest.mark.parametrize(
    ("body", "flops", "transcendentals"),
    [
        ("%v = arith.addf %x, %x : f32", 1, 0),
        ("%v = math.fma %x, %x, %x : f32", 2, 0),
        ("%t = math.tanh %x : f32\n%v = arith.mulf %t, %x : f32", 1, 1),
        ("%v = math.sqrt %x : f32", 1, 0),
        ("%c = arith.cmpf ogt, %x, %x : f32\n%v = arith.select %c, %x, %x : f32", 0, 0),
        ("%i = arith.fptosi %x : f32 to i32\n%v = arith.sitofp %i : i32 to f32", 0, 0),
        ("%i = linalg.index 0 : index\n%j = arith.addi %i, %i : index\n%v = arith.negf %x : f32", 1, 0),
    ],
)
def test_operations_of_a_body(body: str, flops: int, transcendentals: int) -> None:
    work = work_of(_dispatch(_elementwise(body)))
    assert (work.flops, work.transcendentals) == (10 * flops, 10 * transcendentals)
    assert (work.read, work.written) == (40, 40)


def test_of_a_table_only_the_rows_taken_are_read() -> None:
    work = work_of(
        _dispatch("""
#i = affine_map<(i, j) -> (i)>
#m = affine_map<(i, j) -> (i, j)>
func.func @f(%t: tensor<1000x8xf32> {iree.constant}, %k: tensor<3xi64>,
             %o: tensor<3x8xf32> {iree.access = "write"}) -> tensor<3x8xf32> {
  %r = linalg.generic {indexing_maps = [#i, #m], iterator_types = ["parallel", "parallel"]}
    ins(%k : tensor<3xi64>) outs(%o : tensor<3x8xf32>) {
  ^bb0(%x: i64, %y: f32):
    %row = arith.index_cast %x : i64 to index
    %j = linalg.index 1 : index
    %v = tensor.extract %t[%row, %j] : tensor<1000x8xf32>
    linalg.yield %v : f32
  } -> tensor<3x8xf32>
  return %r : tensor<3x8xf32>
}
""")
    )
    assert work.constants == 3 * 8 * 4
    assert work.read == 3 * 8
    assert work.written == 3 * 8 * 4


def test_of_a_value_updated_in_place_only_the_part_is_written() -> None:
    work = work_of(
        _dispatch("""
func.func @f(%a: tensor<4xf32>, %o: tensor<100xf32> {iree.access = "readwrite"}) -> tensor<100xf32> {
  %r = tensor.insert_slice %a into %o[8] [4] [1] : tensor<4xf32> into tensor<100xf32>
  return %r : tensor<100xf32>
}
""")
    )
    assert (work.read, work.written) == (16, 16)


def test_attention_counts_both_products() -> None:
    b, m, n, k, p = 2, 3, 5, 7, 11
    work: Any = work_of(
        _dispatch(f"""
func.func @f(%q: tensor<{b}x{m}x{k}xf32>, %k: tensor<{b}x{n}x{k}xf32>, %v: tensor<{b}x{n}x{p}xf32>,
             %s: f32, %o: tensor<{b}x{m}x{p}xf32> {{iree.access = "write"}}) -> tensor<{b}x{m}x{p}xf32> {{
  %r = linalg_ext.attention ins(%q, %k, %v, %s : tensor<{b}x{m}x{k}xf32>, tensor<{b}x{n}x{k}xf32>,
    tensor<{b}x{n}x{p}xf32>, f32) outs(%o : tensor<{b}x{m}x{p}xf32>) -> tensor<{b}x{m}x{p}xf32>
  return %r : tensor<{b}x{m}x{p}xf32>
}}
""")
    )
    products = 2 * b * m * n * (k + p)
    assert products <= work.flops <= products + 8 * b * m * n
    assert work.transcendentals == b * m * n


@pytest.mark.parametrize("seed", range(30))
def test_postfix_keeps_the_value(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def expression(depth: int) -> dims.Dim:
        if depth == 0:
            return [dims.arg(0), dims.arg(1), int(rng.integers(1, 9))][rng.integers(3)]
        kind = ["add", "mul", "floordiv", "ceildiv", "mod", "min", "max"][rng.integers(7)]
        small = kind in ("floordiv", "ceildiv", "mod")
        return dims.COMBINE[kind](
            expression(depth - 1), int(rng.integers(1, 9)) if small else expression(depth - 1)
        )

    dispatch = _dispatch("func.func @f(%a: index, %b: i32) { return }")
    dim = expression(4)
    numbers = DispatchWork(flops=dim).numbers(dispatch)
    for a, b in rng.integers(1, 60, (5, 2)):
        assert evaluate(numbers["flops"], [int(a), 0, int(b)]) == dims.evaluate(dim, {0: int(a), 1: int(b)})
