"""The target and its driver together: a dispatch function compiled, loaded and run gives its numpy meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_core_ir.target import DispatchRequest, Target
from iree_hal import create_device, drivers
from iree_hal.errors import HalError
from iree_hal.executable import ExecutableSpec, ExportSpec
from iree_hal.recording import BindingRef, RecordingBuilder
from iree_target_reference.errors import ReferenceError
from iree_target_reference.target import ReferenceTarget

SCALE = """
func.func @scale(%x: tensor<?x3xf32> {iree.access = "read", iree.dims = array<i64: 1, -1>},
                 %n: index, %f: f32, %k: i64,
                 %out: tensor<?x3xf32> {iree.access = "write", iree.dims = array<i64: 1, -1>}) -> tensor<?x3xf32>
    attributes {iree.destinations = array<i64: 4>} {
  %c = arith.sitofp %k : i64 to f32
  %r = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x3xf32>) outs(%out : tensor<?x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %t = arith.mulf %a, %f : f32
    %u = arith.addf %t, %c : f32
    linalg.yield %u : f32
  } -> tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}
"""

UPDATE = """
func.func @update(%x: tensor<4xi32> {iree.access = "readwrite", iree.dims = array<i64: -1>},
                  %y: tensor<4xi32> {iree.access = "read", iree.dims = array<i64: -1>}) -> tensor<4xi32>
    attributes {iree.destinations = array<i64: 0>} {
  %r = linalg.add ins(%y, %y : tensor<4xi32>, tensor<4xi32>) outs(%x : tensor<4xi32>) -> tensor<4xi32>
  return %r : tensor<4xi32>
}
"""


def compiled(name: str, text: str) -> Any:
    target = ReferenceTarget()
    assert isinstance(target, Target)
    return target.compile_dispatch(DispatchRequest(name, text, target.describe({})))


def spec(compiled: Any) -> ExecutableSpec:
    exports = tuple(
        ExportSpec(e.name, e.scratch_bytes, e.n_constants, tuple(e.bindings)) for e in compiled.exports
    )
    return ExecutableSpec("iree-ir", compiled.data, exports, name="test")


def run(name: str, text: str, arrays: list[Any], scalars: list[int], words: list[int]) -> None:
    """Dispatch once; ``scalars`` are parameters, ``words`` how many constants each takes."""
    device = create_device("reference")
    executable = device.load_executable(spec(compiled(name, text)))
    builder = RecordingBuilder(1 + len(arrays), len(scalars))
    one, zero = builder.const(1), builder.const(0)
    constants = [
        (slot, half) for slot, count in enumerate(words) for half in (("lo", "hi") if count == 2 else ("lo",))
    ]
    bindings = [BindingRef(i + 1, zero, builder.const(a.nbytes)) for i, a in enumerate(arrays)]
    builder.dispatch(0, 0, (one, one, one), constants, bindings)
    device.execute(device.create_command_buffer(builder.finish(), [executable]), arrays, scalars)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_dynamic_dispatch_with_scalars(rows: int) -> None:
    x = np.random.default_rng(1).standard_normal((rows, 3), np.float32)
    out = np.full((rows, 3), np.nan, np.float32)
    factor = int(np.float32(2.5).view(np.uint32))
    run("scale", SCALE, [x, out], [rows, factor, -7], [2, 1, 2])
    np.testing.assert_array_equal(out, x * np.float32(2.5) - 7)


def test_a_tied_destination_is_updated_in_place() -> None:
    x, y = np.array([1, 2, 3, 4], np.int32), np.array([10, 20, 30, 40], np.int32)
    run("update", UPDATE, [x, y], [], [])
    np.testing.assert_array_equal(x, [20, 40, 60, 80])


def test_the_driver_is_found_by_name() -> None:
    assert "reference" in drivers()


def test_the_same_dispatch_gives_the_same_bytes() -> None:
    assert compiled("scale", SCALE).data == compiled("scale", SCALE).data


def test_options_are_refused() -> None:
    with pytest.raises(ReferenceError) as error:
        ReferenceTarget().describe({"cpu": "abacus"})
    assert error.value.code == "IREE-REF-001" and error.value.status == 2


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"module {"])
def test_a_damaged_executable_is_refused_at_load(data: bytes) -> None:
    good = spec(compiled("scale", SCALE))
    bad = ExecutableSpec(good.format, data, good.exports, name="damaged")
    with pytest.raises(ReferenceError) as error:
        create_device("reference").load_executable(bad)
    assert error.value.code == "IREE-REF-002" and "damaged" in str(error.value)


def test_a_missing_function_is_named_at_load() -> None:
    good = spec(compiled("scale", SCALE))
    other = ExecutableSpec(good.format, b"func.func private @other()", good.exports, name="incomplete")
    with pytest.raises(HalError, match=r"IREE-HAL-017.*'scale'.*incomplete"):
        create_device("reference").load_executable(other)
