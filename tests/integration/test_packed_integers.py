"""4-bit integers, two a byte: sizes known and not, odd rows and none; as weights on any target."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import iree_flow
import iree_vm
from iree_base.errors import IreeError


def model(dims: Any, weights: Any = None) -> onnx.ModelProto:
    scale = helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, [])
    inputs = [] if weights is not None else [helper.make_tensor_value_info("x", onnx.TensorProto.INT4, dims)]
    node = helper.make_node("DequantizeLinear", ["x", "s"], ["y"])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    known = [] if weights is None else [numpy_helper.from_array(weights, "x")]
    graph = helper.make_graph([node], "g", [*inputs, scale], [output], known)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    made.ir_version = 10
    return made


@pytest.mark.parametrize("type", [ml_dtypes.int4, ml_dtypes.uint4])
@pytest.mark.parametrize("shape", [(64, 32), (63, 33), (1, 255)])
def test_weights_in_a_file(tmp_path: Any, type: Any, shape: tuple[int, int]) -> None:
    weights = numbers(*shape).view(np.uint8).astype(type)
    onnx.save(model(None, weights), tmp_path / "m.onnx")
    module = iree_vm.load(iree_flow.compile(tmp_path / "m.onnx", target="llvm-cpu"))
    found = module.main(np.array(0.25, np.float32))
    np.testing.assert_array_equal(found, weights.astype(np.float32) / 4)


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).integers(-8, 8, shape).astype(ml_dtypes.int4)


@pytest.mark.parametrize("dims", [["n", "k"], ["n", 5], [3, "k"], [3, 5]])
def test_inputs(dims: Any) -> None:
    """On the target that has them."""
    module = iree_vm.load(iree_flow.compile(model(dims), target="reference"))
    for shape in ((3, 5), (3, 4), (0, 5), (3, 0)):
        if all(isinstance(d, str) or d == size for d, size in zip(dims, shape, strict=True)):
            x = numbers(*shape)
            found = module.main(x, np.array(0.5, np.float32))
            np.testing.assert_array_equal(found, x.astype(np.float32) / 2)


@pytest.mark.parametrize("dims", [["n", "k"], [3, 5]])
def test_targets_that_address_bytes_refuse_them(dims: Any) -> None:
    with pytest.raises(IreeError, match=r"IREE-FLOW-007.*element type i4"):
        iree_flow.compile(model(dims), target="llvm-cpu")


@pytest.mark.parametrize("target", ["reference", "llvm-cpu"])
def test_weights(target: str) -> None:
    weights = numbers(7, 33)
    module = iree_vm.load(iree_flow.compile(model(None, weights), target=target))
    found = module.main(np.array(0.25, np.float32))
    np.testing.assert_array_equal(found, weights.astype(np.float32) / 4)
