"""``flow-tile-and-distribute``: the acceptance table, one test a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.attributes import StringAttr
from iree_core_ir.pass_manager import PassContext, PassManager
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify
from iree_flow.dialects import flow
from iree_flow.errors import FlowError
from iree_flow.launch import cpu_workgroup_count, gpu_workgroup_count, lowering_configuration
from iree_flow.passes.flow_tile_and_distribute import FlowTileAndDistribute
from iree_flow.passes.resolve_dims import ResolveDims

MATMUL = """
func.func @main(%a: tensor<?x?xf32>, %b: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %m = tensor.dim %a, %c0 : tensor<?x?xf32>
  %n = tensor.dim %b, %c1 : tensor<?x?xf32>
  %e = tensor.empty(%m, %n) : tensor<?x?xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x?xf32>) -> tensor<?x?xf32>
  %r = linalg.matmul ins(%a, %b : tensor<?x?xf32>, tensor<?x?xf32>) outs(%f : tensor<?x?xf32>) -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}
"""

FOUR_DIMS = """
#id = affine_map<(a, b, c, d) -> (a, b, c, d)>
func.func @main(%x: tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %d0 = tensor.dim %x, %c0 : tensor<?x?x?x?xf32>
  %d1 = tensor.dim %x, %c1 : tensor<?x?x?x?xf32>
  %d2 = tensor.dim %x, %c2 : tensor<?x?x?x?xf32>
  %d3 = tensor.dim %x, %c3 : tensor<?x?x?x?xf32>
  %e = tensor.empty(%d0, %d1, %d2, %d3) : tensor<?x?x?x?xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%x : tensor<?x?x?x?xf32>) outs(%e : tensor<?x?x?x?xf32>) {
  ^bb0(%p: f32, %o: f32):
    %t = arith.negf %p : f32
    linalg.yield %t : f32
  } -> tensor<?x?x?x?xf32>
  return %r : tensor<?x?x?x?xf32>
}
"""

RESHAPE = """
func.func @main(%x: tensor<?x?xf32>) -> tensor<?xf32> {
  %r = tensor.collapse_shape %x [[0, 1]] : tensor<?x?xf32> into tensor<?xf32>
  return %r : tensor<?xf32>
}
"""

RESHAPE_INTO_CONSUMER = """
#id = affine_map<(a) -> (a)>
func.func @main(%x: tensor<3x4xf32>) -> tensor<12xf32> {
  %r = tensor.collapse_shape %x [[0, 1]] : tensor<3x4xf32> into tensor<12xf32>
  %e = tensor.empty() : tensor<12xf32>
  %s = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%r : tensor<12xf32>) outs(%e : tensor<12xf32>) {
  ^bb0(%p: f32, %o: f32):
    %t = math.absf %p : f32
    linalg.yield %t : f32
  } -> tensor<12xf32>
  return %s : tensor<12xf32>
}
"""


def distribute(text: str) -> Any:
    module = parse_module(text)
    PassManager([ResolveDims(), FlowTileAndDistribute()]).run(module, PassContext())
    verify(module)
    printed = print_op(module)
    assert print_op(parse_module(printed)) == printed
    return module


def regions(module: Any) -> list[flow.DispatchRegion]:
    return [op for op in module.walk() if isinstance(op, flow.DispatchRegion)]


def names(op: Any) -> list[str]:
    return [inner.name for inner in op.walk()]


def workload(module: Any, *inputs: Any) -> list[int]:
    """The values of the first region's workload, seen while interpreting."""
    region = regions(module)[0]
    seen: dict[Any, Any] = {}
    arguments = module.regions[0].block.first.regions[0].block.args

    def observe(op: Any, results: tuple[Any, ...]) -> None:
        seen.update(zip(op.results, results, strict=True))

    Interpreter(module, observer=observe).call("main", *inputs)
    seen.update(zip(arguments, inputs, strict=True))
    return [seen[v] for v in region.workload]


def array(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape, np.float32)


@pytest.mark.parametrize(("m", "k", "n"), [(7, 5, 8), (1, 1, 1), (3, 4, 3), (0, 4, 5)])
def test_a_contraction_is_tiled_and_distributed(m: int, k: int, n: int) -> None:
    module = distribute(MATMUL)
    (region,) = regions(module)
    inner = names(region)
    assert inner.count("scf.for") == 2 and "linalg.matmul" in inner
    assert {"flow.dispatch.workgroup.id", "flow.dispatch.workgroup.count"} <= set(inner)
    a, b = array(m, k), array(k, n)
    (got,) = Interpreter(module).call("main", a, b)
    np.testing.assert_allclose(got, a @ b, rtol=1e-5, atol=1e-6)


def test_any_other_op_goes_into_a_region_whole() -> None:
    (region,) = regions(distribute(FOUR_DIMS))
    assert "scf.for" not in names(region) and "linalg.generic" in names(region)


def test_a_four_dimensional_workload_folds_the_outer_dims_into_z() -> None:
    assert workload(distribute(FOUR_DIMS), array(2, 3, 4, 5)) == [5, 4, 6]


def test_the_workload_of_a_lone_reshape_is_its_element_count() -> None:
    assert workload(distribute(RESHAPE), array(3, 4)) == [12, 1, 1]


def test_a_reshape_fuses_into_its_consumer() -> None:
    module = distribute(RESHAPE_INTO_CONSUMER)
    (region,) = regions(module)
    assert "tensor.collapse_shape" in names(region)
    x = array(3, 4)
    np.testing.assert_array_equal(Interpreter(module).call("main", x)[0], np.abs(x).reshape(-1))


def test_a_reshape_without_consumer_stands_alone() -> None:
    (region,) = regions(distribute(RESHAPE))
    assert names(region) == ["flow.dispatch.region", "tensor.collapse_shape", "flow.return"]


def test_empties_constants_and_fills_are_cloned_in() -> None:
    (region,) = regions(distribute(MATMUL))
    inside = names(region)
    assert "tensor.empty" in inside and "linalg.fill" in inside and "arith.constant" in inside


def test_one_op_carries_the_lowering_configuration() -> None:
    (region,) = regions(distribute(MATMUL))
    assert lowering_configuration(region) is None
    root = next(op for op in region.walk() if op.name == "linalg.matmul")
    root.attributes["lowering_config"] = StringAttr("4x2")
    found = lowering_configuration(region)
    assert found is not None and found[0] is root


def test_two_lowering_configurations_are_an_error_saying_so() -> None:
    (region,) = regions(distribute(MATMUL))
    for name in ("linalg.matmul", "linalg.fill"):
        op = next(op for op in region.walk() if op.name == name)
        op.attributes["lowering_config"] = StringAttr("4x2")
    with pytest.raises(FlowError) as error:
        lowering_configuration(region)
    assert error.value.code == "IREE-FLOW-009"
    assert "linalg.matmul" in str(error.value) and "linalg.fill" in str(error.value)


def test_cpu_counts() -> None:
    """Tile 4x2 over s0 x s1: (ceil(s1 / 2), ceil(s0 / 4), 1); an untiled region runs as one."""
    assert cpu_workgroup_count([4, 2]) == [
        ["ceildiv", ["arg", 0], ["const", 2]],
        ["ceildiv", ["arg", 1], ["const", 4]],
        ["const", 1],
    ]
    assert cpu_workgroup_count(None) == [["const", 1]] * 3


def test_gpu_counts_flatten_to_one_dimension() -> None:
    x, y, z = gpu_workgroup_count()
    total = ["mul", ["mul", ["arg", 0], ["arg", 1]], ["arg", 2]]
    assert x == ["ceildiv", total, ["const", 32]] and y == z == ["const", 1]
