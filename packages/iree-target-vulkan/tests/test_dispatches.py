"""Whole dispatches on the device against their meaning, compiled as for a GPU and as for a CPU.

Every strategy has its own tests beside the interpreter in iree-codegen; here the way from a dispatch function
to numbers out of a driver is tried once per kind of work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.testing import FILL, assert_close, binding_shapes, run_reference
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_hal.errors import HalError
from iree_target_vulkan.executable_format import SpirvExecutable
from iree_target_vulkan.target import compile_function
from iree_target_vulkan.testing import run_export

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(20)
ID2 = "affine_map<(d0, d1) -> (d0, d1)>"
ROW = "affine_map<(d0, d1) -> (d0)>"
COLUMN = "affine_map<(d0, d1) -> (d1)>"


def floats(*shape: int, dtype: Any = np.float32) -> Array:
    return np.asarray(RNG.normal(size=shape)).astype(dtype)


def elementwise(shape: str, type: str, body: str) -> str:
    return f"""
func.func @f(%a: tensor<{shape}x{type}>, %b: tensor<{shape.split("x")[-1]}x{type}>, %o: tensor<{shape}x{type}>)
    -> tensor<{shape}x{type}> {{
  %r = linalg.generic {{indexing_maps = [{ID2}, {COLUMN}, {ID2}], iterator_types = ["parallel", "parallel"]}}
      ins(%a, %b : tensor<{shape}x{type}>, tensor<{shape.split("x")[-1]}x{type}>) outs(%o : tensor<{shape}x{type}>) {{
  ^bb0(%x: {type}, %y: {type}, %z: {type}):
    {body}
    linalg.yield %q : {type}
  }} -> tensor<{shape}x{type}>
  return %r : tensor<{shape}x{type}>
}}"""


def reduction(rows: int, columns: int, type: str, zero: str, op: str) -> str:
    return f"""
func.func @f(%a: tensor<{rows}x{columns}x{type}>, %o: tensor<{rows}x{type}>) -> tensor<{rows}x{type}> {{
  %z = arith.constant {zero} : {type}
  %i = linalg.fill ins(%z : {type}) outs(%o : tensor<{rows}x{type}>) -> tensor<{rows}x{type}>
  %r = linalg.generic {{indexing_maps = [{ID2}, {ROW}], iterator_types = ["parallel", "reduction"]}}
      ins(%a : tensor<{rows}x{columns}x{type}>) outs(%i : tensor<{rows}x{type}>) {{
  ^bb0(%x: {type}, %s: {type}):
    %q = {op} %s, %x : {type}
    linalg.yield %q : {type}
  }} -> tensor<{rows}x{type}>
  return %r : tensor<{rows}x{type}>
}}"""


DYNAMIC = f"""
func.func @f(%a: tensor<?x?xf32> {{iree.dims = array<i64: 1, 2>}}, %m: index, %n: index,
    %o: tensor<?x?xf32> {{iree.dims = array<i64: 1, 2>}}) -> tensor<?x?xf32> {{
  %r = linalg.generic {{indexing_maps = [{ID2}, {ID2}], iterator_types = ["parallel", "parallel"]}}
      ins(%a : tensor<?x?xf32>) outs(%o : tensor<?x?xf32>) {{
  ^bb0(%x: f32, %z: f32):
    %q = math.tanh %x : f32
    linalg.yield %q : f32
  }} -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}}"""

SOFTMAX = """
func.func @f(%a: tensor<{0}x{1}xf32>, %o: tensor<{0}x{1}xf32>) -> tensor<{0}x{1}xf32> {{
  %r = linalg_ext.softmax dimension(1) ins(%a : tensor<{0}x{1}xf32>) outs(%o : tensor<{0}x{1}xf32>) -> tensor<{0}x{1}xf32>
  return %r : tensor<{0}x{1}xf32>
}}"""

TRANSPOSE = """
func.func @f(%a: tensor<{0}x{1}x{2}>, %o: tensor<{1}x{0}x{2}>) -> tensor<{1}x{0}x{2}> {{
  %r = linalg.transpose ins(%a : tensor<{0}x{1}x{2}>) outs(%o : tensor<{1}x{0}x{2}>) permutation = [1, 0]
  return %r : tensor<{1}x{0}x{2}>
}}"""

MATMUL = """
func.func @f(%a: tensor<{0}x{1}x{3}>, %b: tensor<{1}x{2}x{3}>, %o: tensor<{0}x{2}x{4}>) -> tensor<{0}x{2}x{4}> {{
  %z = arith.constant {5} : {4}
  %i = linalg.fill ins(%z : {4}) outs(%o : tensor<{0}x{2}x{4}>) -> tensor<{0}x{2}x{4}>
  %r = linalg.matmul ins(%a, %b : tensor<{0}x{1}x{3}>, tensor<{1}x{2}x{3}>) outs(%i : tensor<{0}x{2}x{4}>) -> tensor<{0}x{2}x{4}>
  return %r : tensor<{0}x{2}x{4}>
}}"""

PAD = """
func.func @f(%a: tensor<5x7xf32>, %o: tensor<9x12xf32>) -> tensor<9x12xf32> {
  %z = arith.constant 1.5 : f32
  %p = tensor.pad %a low[1, 2] high[3, 3] {
  ^bb0(%i: index, %j: index):
    tensor.yield %z : f32
  } : tensor<5x7xf32> to tensor<9x12xf32>
  %r = linalg.copy ins(%p : tensor<9x12xf32>) outs(%o : tensor<9x12xf32>) -> tensor<9x12xf32>
  return %r : tensor<9x12xf32>
}"""

INTEGERS = "%q = arith.divsi %x, %y : {0}"
CASES: dict[str, tuple[str, dict[int, Any], float]] = {
    "broadcast": (
        elementwise("33x20", "f32", "%e = math.exp %x : f32\n    %q = arith.mulf %e, %y : f32"),
        {0: floats(33, 20), 1: floats(20)},
        1e-6,
    ),
    "odd_extent": (
        elementwise("7x13", "f32", "%q = arith.addf %x, %y : f32"),
        {0: floats(7, 13), 1: floats(13)},
        0.0,
    ),
    "f16": (
        elementwise("16x24", "f16", "%q = arith.mulf %x, %y : f16"),
        {0: floats(16, 24, dtype=np.float16), 1: floats(24, dtype=np.float16)},
        0.0,
    ),
    "i8": (
        elementwise("16x24", "i8", INTEGERS.format("i8")),
        {0: RNG.integers(-128, 128, (16, 24), np.int8), 1: RNG.integers(-3, 3, 24, np.int8)},
        0.0,
    ),
    "i64": (
        elementwise("5x9", "i64", INTEGERS.format("i64")),
        {0: RNG.integers(-(1 << 60), 1 << 60, (5, 9)), 1: RNG.integers(-3, 3, 9)},
        0.0,
    ),
    "sum": (reduction(19, 300, "f32", "0.0", "arith.addf"), {0: floats(19, 300)}, 1e-5),
    "sum_of_one_row": (reduction(1, 5000, "f32", "0.0", "arith.addf"), {0: floats(1, 5000)}, 1e-5),
    "product_of_i32": (
        reduction(9, 65, "i32", "1", "arith.muli"),
        {0: RNG.integers(-9, 9, (9, 65), np.int32)},
        0.0,
    ),
    "maximum": (reduction(9, 65, "f32", "0xFF800000", "arith.maximumf"), {0: floats(9, 65)}, 0.0),
    "dynamic": (DYNAMIC, {0: floats(11, 29), 1: 11, 2: 29}, 1e-6),
    "softmax": (SOFTMAX.format(17, 129), {0: 10 * floats(17, 129)}, 1e-6),
    "transpose": (TRANSPOSE.format(37, 65, "f32"), {0: floats(37, 65)}, 0.0),
    "transpose_of_bytes": (
        TRANSPOSE.format(40, 24, "i8"),
        {0: RNG.integers(-128, 128, (40, 24), np.int8)},
        0.0,
    ),
    "matmul": (MATMUL.format(40, 33, 50, "f32", "f32", "0.0"), {0: floats(40, 33), 1: floats(33, 50)}, 1e-5),
    "matmul_i32": (
        MATMUL.format(16, 20, 24, "i32", "i32", "0"),
        {0: RNG.integers(-99, 99, (16, 20), np.int32), 1: RNG.integers(-99, 99, (20, 24), np.int32)},
        0.0,
    ),
    "pad": (PAD, {0: floats(5, 7)}, 0.0),
}


def run_dispatch(device: Any, func: Any, compiled: Any, inputs: Mapping[int, Any]) -> list[Array]:
    """The results of a compiled dispatch; memory that is only written starts as a pattern."""
    dispatch = Dispatch(func)
    shapes = binding_shapes(dispatch, inputs)
    arrays = []
    for binding in dispatch.bindings:
        dtype = element_type(str(binding.value.type.element_type)).dtype
        given = inputs.get(binding.argument)
        start = np.full(shapes[binding.argument], FILL).astype(dtype) if given is None else given
        arrays.append(np.array(start, dtype, order="C"))
    numbers = [int(inputs[s.argument]) for s in dispatch.scalars]
    words = [word for n in numbers for word in (n & 0xFFFFFFFF, n >> 32)]
    (export,) = compiled.exports
    values = dict(enumerate(numbers))
    counts = [dim_ops.evaluate(dim_ops.from_list(e), values) for e in export.workgroup_count]
    run_export(device, compiled.data, export, arrays, words, counts)
    by_index = {b.index: a for b, a in zip(dispatch.bindings, arrays, strict=True)}
    return [by_index[b.index] for _, b in dispatch.results]


def function(text: str) -> Any:
    module = parse_module(text)
    verify(module)
    return module.regions[0].block.first


@pytest.fixture(params=["as a CPU", "as a GPU"])
def like(request: pytest.FixtureRequest, description: Any) -> Any:
    """The device, told to share work between invocations or not."""
    return replace(description, prefers_barriers=request.param == "as a GPU")


@pytest.mark.parametrize("name", CASES)
def test_results(name: str, device: Any, like: Any, validate: Callable[[bytes], None]) -> None:
    text, inputs, tolerance = CASES[name]
    func = function(text)
    compiled = compile_function(func, like)
    validate(SpirvExecutable.deserialize(compiled.data).words)
    expected = run_reference(function(text), inputs)
    for got, want in zip(run_dispatch(device, func, compiled, inputs), expected, strict=True):
        assert_close(got, want, tolerance)


GATHER = """
func.func @f(%a: tensor<40x24xf32>, %i: tensor<9xi64>, %o: tensor<9x24xf32>) -> tensor<9x24xf32> {
  %r = linalg_ext.gather axis(0) ins(%a, %i : tensor<40x24xf32>, tensor<9xi64>) outs(%o : tensor<9x24xf32>) -> tensor<9x24xf32>
  return %r : tensor<9x24xf32>
}"""


@pytest.mark.parametrize("bad", [None, -1, 40, 1 << 40])
def test_indices_are_checked(device: Any, like: Any, bad: int | None) -> None:
    """An index out of range stops the dispatch with an error; nothing outside of the bindings is touched."""
    func = function(GATHER)
    compiled = compile_function(func, like)
    inputs = {0: floats(40, 24), 1: RNG.integers(0, 40, 9)}
    if bad is None:
        (got,) = run_dispatch(device, func, compiled, inputs)
        np.testing.assert_array_equal(got, inputs[0][inputs[1]])
        return
    inputs[1][4] = bad
    with pytest.raises(HalError) as caught:
        run_dispatch(device, func, compiled, inputs)
    assert caught.value.kind == 1  # type: ignore[attr-defined]
