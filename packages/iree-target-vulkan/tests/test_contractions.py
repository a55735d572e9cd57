"""Products, convolutions and transposes on the device against numpy; fragments through spirv-val alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_codegen.decompose import decomposed
from iree_codegen.dims import evaluate, from_list
from iree_codegen.dispatch import Dispatch
from iree_codegen.select_strategy import generate
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_target_vulkan.description import describe
from iree_target_vulkan.executable_format import SpirvExecutable
from iree_target_vulkan.target import compile_kernel
from iree_target_vulkan.testing import run_export

Array = np.ndarray[Any, Any]
DTYPES = {"f32": np.float32, "f16": np.float16, "i8": np.int8, "i32": np.int32}


def product(m: int, k: int, n: int, element: str = "f32", sums: str = "f32", transposed: bool = False) -> str:
    zero = "0.0" if sums.startswith("f") else "0"
    b = f"tensor<{n}x{k}x{element}>" if transposed else f"tensor<{k}x{n}x{element}>"
    op = "linalg.matmul_transpose_b" if transposed else "linalg.matmul"
    return f"""
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>
func.func @product(%a: tensor<{m}x{k}x{element}>, %b: {b}, %bias: tensor<{n}x{sums}>,
    %out: tensor<{m}x{n}x{sums}>) -> tensor<{m}x{n}x{sums}> {{
  %z = arith.constant {zero} : {sums}
  %e = tensor.empty() : tensor<{m}x{n}x{sums}>
  %f = linalg.fill ins(%z : {sums}) outs(%e : tensor<{m}x{n}x{sums}>) -> tensor<{m}x{n}x{sums}>
  %r = {op} ins(%a, %b : tensor<{m}x{k}x{element}>, {b}) outs(%f : tensor<{m}x{n}x{sums}>)
      -> tensor<{m}x{n}x{sums}>
  %s = linalg.generic {{indexing_maps = [#full, #row, #full], iterator_types = ["parallel", "parallel"]}}
      ins(%r, %bias : tensor<{m}x{n}x{sums}>, tensor<{n}x{sums}>) outs(%out : tensor<{m}x{n}x{sums}>) {{
  ^bb0(%x: {sums}, %y: {sums}, %o: {sums}):
    %0 = arith.add{sums[0]} %x, %y : {sums}
    linalg.yield %0 : {sums}
  }} -> tensor<{m}x{n}x{sums}>
  return %s : tensor<{m}x{n}x{sums}>
}}"""


def convolution(n: int, c: int, size: int, f: int, stride: int, element: str = "f32") -> str:
    padded, out = size + 2, (size - 1) // stride + 1
    return f"""
func.func @convolution(%x: tensor<{n}x{c}x{size}x{size}x{element}>, %w: tensor<{f}x{c}x3x3x{element}>,
    %out: tensor<{n}x{f}x{out}x{out}xf32>) -> tensor<{n}x{f}x{out}x{out}xf32> {{
  %zero = arith.constant 0.0 : {element}
  %z = arith.constant 0.0 : f32
  %g = linalg.fill ins(%z : f32) outs(%out : tensor<{n}x{f}x{out}x{out}xf32>) -> tensor<{n}x{f}x{out}x{out}xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%i: index, %j: index, %l: index, %m: index):
    tensor.yield %zero : {element}
  }} : tensor<{n}x{c}x{size}x{size}x{element}> to tensor<{n}x{c}x{padded}x{padded}x{element}>
  %r = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}}
      ins(%p, %w : tensor<{n}x{c}x{padded}x{padded}x{element}>, tensor<{f}x{c}x3x3x{element}>)
      outs(%g : tensor<{n}x{f}x{out}x{out}xf32>) -> tensor<{n}x{f}x{out}x{out}xf32>
  return %r : tensor<{n}x{f}x{out}x{out}xf32>
}}"""


TRANSPOSE = """
func.func @transpose(%a: tensor<3x70x45xf32>, %out: tensor<3x45x70xf32>) -> tensor<3x45x70xf32> {
  %r = linalg.transpose ins(%a : tensor<3x70x45xf32>) outs(%out : tensor<3x45x70xf32>) permutation = [0, 2, 1]
  return %r : tensor<3x45x70xf32>
}"""
CASES = {
    "whole tiles": product(64, 32, 128),
    "tails": product(37, 70, 45),
    "tiny": product(37, 19, 45),
    "one row": product(1, 200, 90),
    "one row, transposed": product(1, 200, 90, transposed=True),
    "few rows": product(5, 64, 48),
    "transposed": product(40, 68, 44, transposed=True),
    "halves": product(33, 68, 40, "f16"),
    "bytes": product(33, 68, 40, "i8", "i32"),
    "convolution": convolution(2, 5, 9, 7, 1),
    "strided convolution": convolution(1, 8, 10, 12, 2),
    "convolution of halves": convolution(1, 8, 8, 6, 1, "f16"),
    "transpose": TRANSPOSE,
}
TOLERANCE = {"f16": 2e-3, "f32": 1e-4, "i8": 0.0, "i32": 0.0}


@pytest.mark.parametrize("barriers", [True, False], ids=["barriers", "no barriers"])
@pytest.mark.parametrize("case", CASES)
def test_on_the_device(
    case: str, barriers: bool, device: Any, description: Any, validate: Callable[[bytes], None]
) -> None:
    """Both ways of sharing work, whatever the device prefers."""
    module = parse_module(CASES[case])
    verify(module)
    func = next(iter(module.regions[0].block))
    dispatch = Dispatch(decomposed(func))
    chosen = replace(description, prefers_barriers=barriers)
    compiled = compile_kernel(generate(func, chosen), chosen)
    validate(SpirvExecutable.deserialize(compiled.data).words)
    rng = np.random.default_rng(7)
    arrays: list[Array] = []
    for binding in dispatch.bindings:
        dtype, shape = DTYPES[str(binding.value.type.element_type)], binding.value.type.shape
        whole = np.dtype(dtype).kind == "i"
        values = rng.integers(-9, 9, shape) if whole else rng.standard_normal(shape)
        arrays.append(values.astype(dtype))
    (expected,) = Interpreter(module).call(func, *arrays)
    arrays[-1] = np.full_like(arrays[-1], np.nan if arrays[-1].dtype.kind == "f" else 77)
    export = compiled.exports[0]
    counts = [evaluate(from_list(e), {}) for e in export.workgroup_count]
    run_export(device, compiled.data, export, arrays, (), counts)
    tolerance = TOLERANCE[str(dispatch.bindings[0].value.type.element_type)]
    np.testing.assert_allclose(arrays[-1], expected, rtol=tolerance, atol=tolerance)


FRAGMENTS = {
    "whole tiles": product(256, 128, 256, "f16"),
    "tails": product(203, 70, 301, "f16"),
    "transposed": product(256, 128, 256, "f16", transposed=True),
    "bf16": product(256, 128, 256, "bf16"),
    "bytes": product(256, 128, 256, "i8", "i32"),
    "convolution": convolution(2, 32, 14, 64, 1, "f16"),
}


@pytest.mark.parametrize("case", FRAGMENTS)
def test_fragments_are_valid(case: str, validate: Callable[[bytes], None]) -> None:
    description: Any = describe({"vulkan-profile": "nvidia-hopper"})
    module = parse_module(FRAGMENTS[case])
    kernel = generate(next(iter(module.regions[0].block)), description)
    assert "fragments" in kernel.why
    executable = SpirvExecutable.deserialize(compile_kernel(kernel, description).data)
    assert any(name.startswith("cooperativeMatrix:") for name in executable.features)
    validate(executable.words)
