"""One invocation per element, or per outer index: every kind of dispatch against the interpreter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_codegen import invocation_loops
from iree_codegen.decompose import decomposed
from iree_codegen.dispatch import Dispatch
from iree_codegen.strategies.gpu.global_ids import global_ids
from iree_codegen.testing import interpret_kernel
from iree_core_ir.errors import FailedAssert

from .dispatches import DEVICES, SMALL, check, elementwise, function, random, reduction, softmax


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Any:
    return DEVICES[request.param]


def operations(kernel: Any) -> set[str]:
    return {op.name for op in kernel.module.walk()}


ADD = "%r = arith.addf %x, %x : {0}"


@pytest.mark.parametrize("shape", [(8, 12), (64,), (7, 5), (3, 1, 8), (1,), (2, 3, 4, 5), (258,)], ids=str)
def test_shapes(device: Any, shape: tuple[int, ...]) -> None:
    check(elementwise(shape, ADD.format("f32")), {0: random(shape)}, global_ids, device, tolerance=0)


@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "f64", "f8E4M3FN", "f8E5M2"])
def test_floats(type: str) -> None:
    a = random((6, 8), type)
    check(elementwise((6, 8), ADD.format(type), type), {0: a}, global_ids, SMALL, tolerance=0)


@pytest.mark.parametrize("type", ["i1", "i8", "i16", "i32", "i64"])
def test_integers(type: str) -> None:
    body = f"%r = arith.xori %x, %x : {type}" if type == "i1" else f"%r = arith.muli %x, %x : {type}"
    check(elementwise((5, 8), body, type), {0: random((5, 8), type)}, global_ids, SMALL)


def test_nan_and_infinity_pass() -> None:
    a = random((4, 9))
    a[0, 0], a[1, 2], a[3, 8] = np.nan, np.inf, -np.inf
    body = "%e = math.exp %x : f32\n %r = arith.maximumf %e, %x : f32"
    check(elementwise((4, 9), body), {0: a}, global_ids, SMALL)


def test_vectors_where_memory_is_contiguous_and_aligned() -> None:
    for shape, vectors in [((8, 12), True), ((7, 5), True), ((35,), True), ((3, 4), True)]:
        kernel = check(elementwise(shape, ADD.format("f32")), {0: random(shape)}, global_ids, SMALL)
        assert ("vector.load" in operations(kernel)) == vectors
    kernel = check(transposed((6, 8)), {0: random((6, 8))}, global_ids, SMALL)
    assert "vector.load" not in operations(kernel)


def transposed(source: tuple[int, int]) -> str:
    a, b = (f"tensor<{x}x{y}xf32>" for x, y in (source, source[::-1]))
    return f"""
func.func @moved(%a: {a}, %out: {b}) -> {b} {{
  %0 = linalg.transpose ins(%a : {a}) outs(%out : {b}) permutation = [1, 0]
  return %0 : {b}
}}"""


@pytest.mark.parametrize("sizes", [(7, 9), (1, 64), (0, 4), (16, 8)], ids=str)
def test_dynamic_extents(device: Any, sizes: tuple[int, int]) -> None:
    text = """
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%a: tensor<?x?xf32> {iree.dims = [1, 2]}, %n: index, %m: index,
    %out: tensor<?x?xf32> {iree.dims = [1, 2]}) -> tensor<?x?xf32> {
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<?x?xf32>) outs(%out : tensor<?x?xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.mulf %x, %x : f32
    linalg.yield %r : f32
  } -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}"""
    kernel = check(text, {0: random(sizes), 1: sizes[0], 2: sizes[1]}, global_ids, device, tolerance=0)
    assert "vector.load" in operations(kernel)


def test_workgroups_fold_under_the_limit() -> None:
    narrow = replace(SMALL, max_workgroup_count=(3, 65535, 65535), max_workgroup_invocations=4)
    kernel = check(elementwise((5, 31), ADD.format("f32")), {0: random((5, 31))}, global_ids, narrow)
    x, y, z = kernel.export.workgroup_count
    assert x[1] <= 3 and y[1] > 1 and z == ["const", 1]


@pytest.mark.parametrize(("shape", "dims"), [((5, 19), (1,)), ((19, 6), (0,)), ((3, 4, 5), (0, 2))], ids=str)
def test_reductions(device: Any, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    text = reduction("arith.addf", "f32", shape, dims, "0.0")
    check(text, {0: random(shape)}, global_ids, device)


@pytest.mark.parametrize("n", [3, 40, 200])
def test_steps_of_a_row(device: Any, n: int) -> None:
    """Softmax of one invocation: in its own memory when short, else in its slab of scratch."""
    kernel = check(softmax((5, n), 1), {0: random((5, n))}, global_ids, device)
    assert (kernel.export.scratch_bytes > 0) == (n * 4 > 512)


SCAN = """
func.func @scan(%a: tensor<3x9xf32>, %out: tensor<3x9xf32>) -> tensor<3x9xf32> {
  %r = linalg_ext.scan kind <add> dimension(1) ins(%a : tensor<3x9xf32>) outs(%out : tensor<3x9xf32>)
      -> tensor<3x9xf32>
  return %r : tensor<3x9xf32>
}"""
TOP = """
func.func @top(%a: tensor<4x11xf32>, %v: tensor<4x3xf32>, %p: tensor<4x3xi64>) -> (tensor<4x3xf32>, tensor<4x3xi64>) {
  %0:2 = linalg_ext.topk dimension(1) ins(%a : tensor<4x11xf32>) outs(%v, %p : tensor<4x3xf32>, tensor<4x3xi64>)
      -> tensor<4x3xf32>, tensor<4x3xi64>
  return %0#0, %0#1 : tensor<4x3xf32>, tensor<4x3xi64>
}"""


@pytest.mark.parametrize(("text", "shape"), [(SCAN, (3, 9)), (TOP, (4, 11))], ids=["scan", "topk"])
def test_walks_along_a_dim(device: Any, text: str, shape: tuple[int, ...]) -> None:
    check(text, {0: random(shape)}, global_ids, device)


GATHER = """
func.func @take(%a: tensor<9x5xf32>, %i: tensor<6xi64>, %out: tensor<6x5xf32>) -> tensor<6x5xf32> {
  %r = linalg_ext.gather axis(0) ins(%a, %i : tensor<9x5xf32>, tensor<6xi64>) outs(%out : tensor<6x5xf32>)
      -> tensor<6x5xf32>
  return %r : tensor<6x5xf32>
}"""


@pytest.mark.parametrize("bad", [None, 9, -1, 1 << 40])
def test_indices_are_checked(bad: int | None) -> None:
    """An index that only looks right in its low 32 bits is out of range too."""
    indices = np.array([0, 8, 3, 3, 1, 7], np.int64)
    if bad is None:
        check(GATHER, {0: random((9, 5)), 1: indices}, global_ids, SMALL, tolerance=0)
        return
    indices[4] = bad
    func = function(GATHER)
    kernel = global_ids(Dispatch(decomposed(func)), SMALL)
    assert kernel is not None
    with pytest.raises(FailedAssert):
        interpret_kernel(kernel, func, {0: random((9, 5)), 1: indices})


def test_pads_are_read_in_place() -> None:
    text = """
func.func @pool(%a: tensor<1x2x7x8xf32>, %out: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %v = arith.constant 0xFF800000 : f32
  %k = tensor.empty() : tensor<3x3xf32>
  %f = linalg.fill ins(%v : f32) outs(%out : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %p = tensor.pad %a low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %l: index, %m: index):
    tensor.yield %v : f32
  } : tensor<1x2x7x8xf32> to tensor<1x2x9x10xf32>
  %r = linalg.pooling_nchw_max {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>}
      ins(%p, %k : tensor<1x2x9x10xf32>, tensor<3x3xf32>) outs(%f : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %r : tensor<1x2x4x4xf32>
}"""
    kernel = check(text, {0: random((1, 2, 7, 8))}, global_ids, SMALL, tolerance=0)
    assert kernel.export.scratch_bytes == 0


@pytest.mark.parametrize("pieces", [5, 1 << 14])
def test_scattered_updates_keep_their_order(monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    """Several updates of one element: the last one stays, whoever owns the element."""
    monkeypatch.setattr(invocation_loops, "SCATTERERS", pieces)
    text = """
func.func @scatter(%u: tensor<7x3xf32>, %i: tensor<7x2xi64>, %a: tensor<4x5x3xf32>, %out: tensor<4x5x3xf32>)
    -> tensor<4x5x3xf32> {
  %c = linalg.copy ins(%a : tensor<4x5x3xf32>) outs(%out : tensor<4x5x3xf32>) -> tensor<4x5x3xf32>
  %r = linalg_ext.scatter dimension_map = [0, 1] ins(%u, %i : tensor<7x3xf32>, tensor<7x2xi64>)
      outs(%c : tensor<4x5x3xf32>) {
  ^bb0(%new: f32, %old: f32):
    %h = arith.constant 0.5 : f32
    %m = arith.mulf %old, %h : f32
    %s = arith.addf %new, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x5x3xf32>
  return %r : tensor<4x5x3xf32>
}"""
    indices = np.array([[0, 0], [3, 4], [0, 0], [2, 2], [3, 4], [0, 1], [0, 0]], np.int64)
    inputs = {0: random((7, 3)), 1: indices, 2: random((4, 5, 3), seed=1)}
    check(text, inputs, global_ids, SMALL, invocations=10000)


def test_an_index_is_compared_with_a_number_as_an_index() -> None:
    body = """%j = linalg.index 1 : index
    %i = arith.index_cast %j : index to i64
    %n = arith.index_cast %j : index to i8
    %two = arith.constant 2 : i64
    %low = arith.constant -3 : i8
    %z = arith.constant 0.0 : f32
    %c = arith.cmpi sle, %i, %two : i64
    %d = arith.cmpi sgt, %n, %low : i8
    %e = arith.andi %c, %d : i1
    %s = arith.select %e, %x, %z : f32
    %r = arith.addf %s, %x : f32"""
    kernel = check(elementwise((2, 300), body), {0: random((2, 300))}, global_ids, SMALL, tolerance=0)
    compared = [str(op.operands[0].type) for op in kernel.module.walk() if op.name == "arith.cmpi"]
    assert "i64" not in " ".join(compared)
