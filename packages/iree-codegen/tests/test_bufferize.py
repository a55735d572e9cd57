"""Bufferization: the three reshape cases, scratch from the target's callback, and the meaning kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen.bufferize import bufferize, stack, workgroup_memory
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.types import i64
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

BODY = """
#id = affine_map<(i) -> (i)>
func.func @f(%x: tensor<3x4xf32>, %out: tensor<12xf32>) -> tensor<12xf32> {{
{ops}
}}
"""
ABS = """
  %{name} = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel"]}}
      ins(%{source} : tensor<12xf32>) outs(%{out} : tensor<12xf32>) {{
  ^bb0(%a: f32, %o: f32):
    %t = {op} %a : f32
    linalg.yield %t : f32
  }} -> tensor<12xf32>
"""
RESHAPE = "  %r = tensor.collapse_shape %x [[0, 1]] : tensor<3x4xf32> into tensor<12xf32>\n"
EMPTY = "  %e = tensor.empty() : tensor<12xf32>\n"

TO_DESTINATION = BODY.format(ops=RESHAPE + "  return %r : tensor<12xf32>")
ONE_USE = BODY.format(
    ops=RESHAPE + ABS.format(name="s", source="r", out="out", op="math.absf") + "  return %s : tensor<12xf32>"
)
SHARED = """
#id = affine_map<(i) -> (i)>
#flat = affine_map<(i, j) -> (i, j)>
func.func @f(%x: tensor<3x4xf32>, %y: tensor<3x4xf32>, %out: tensor<12xf32>) -> (tensor<3x4xf32>, tensor<12xf32>)
    attributes {iree.destinations = array<i64: 1, 2>} {
  %r = tensor.collapse_shape %x [[0, 1]] : tensor<3x4xf32> into tensor<12xf32>
  %n = linalg.generic {indexing_maps = [#flat, #flat], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<3x4xf32>) outs(%y : tensor<3x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %t = arith.negf %a : f32
    linalg.yield %t : f32
  } -> tensor<3x4xf32>
  %s = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%r : tensor<12xf32>) outs(%out : tensor<12xf32>) {
  ^bb0(%a: f32, %o: f32):
    %t = math.absf %a : f32
    linalg.yield %t : f32
  } -> tensor<12xf32>
  return %n, %s : tensor<3x4xf32>, tensor<12xf32>
}
"""
SCRATCH = BODY.format(
    ops=EMPTY
    + RESHAPE
    + ABS.format(name="s", source="r", out="e", op="math.absf")
    + ABS.format(name="t", source="s", out="out", op="arith.negf")
    + "  return %t : tensor<12xf32>"
)


def buffers(text: str, *inputs: Any, allocate: Any = stack) -> tuple[list[str], list[Any]]:
    """Op names of the memref form, and the arguments after running it."""
    module = parse_module(text)
    function = next(iter(module.regions[0].block))
    made = bufferize(function, allocate)
    function.parent.append(made)  # type: ignore[union-attr]
    function.erase()
    verify(module)
    arguments = [np.array(a) for a in inputs]
    Interpreter(module).call("f", *arguments)
    return [op.name for op in made.walk()], arguments


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(5).standard_normal((3, 4), np.float32)


def test_a_reshape_whose_result_has_a_buffer_copies(x: Any) -> None:
    names, (_, out) = buffers(TO_DESTINATION, x, np.zeros(12, np.float32))
    assert "linalg.copy" in names and "memref.alloca" not in names
    np.testing.assert_array_equal(out, x.reshape(-1))


def test_a_reshape_of_a_source_with_one_use_aliases(x: Any) -> None:
    names, (_, out) = buffers(ONE_USE, x, np.zeros(12, np.float32))
    assert "linalg.copy" not in names and "memref.alloca" not in names and "memref.collapse_shape" in names
    np.testing.assert_array_equal(out, np.abs(x).reshape(-1))


def test_any_other_reshape_allocates_and_copies(x: Any) -> None:
    names, (_, negated, out) = buffers(SHARED, x, np.zeros((3, 4), np.float32), np.zeros(12, np.float32))
    assert "linalg.copy" in names and "memref.alloca" in names
    np.testing.assert_array_equal(out, np.abs(x).reshape(-1))
    np.testing.assert_array_equal(negated, -x)


def test_scratch_on_a_cpu_is_the_stack(x: Any) -> None:
    names, (_, out) = buffers(SCRATCH, x, np.zeros(12, np.float32))
    assert names.count("memref.alloca") == 1
    np.testing.assert_array_equal(out, -np.abs(x).reshape(-1))


def test_scratch_on_a_gpu_is_workgroup_memory(x: Any) -> None:
    names, (_, out) = buffers(
        SCRATCH, x, np.zeros(12, np.float32), allocate=workgroup_memory(IntegerAttr(3, i64))
    )
    assert "memref.alloc" in names and "memref.alloca" not in names
    np.testing.assert_array_equal(out, -np.abs(x).reshape(-1))
