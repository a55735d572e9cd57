"""Quantized networks as onnxruntime's quantizer writes them: onnxruntime's bytes, whatever the sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import iree_flow
import iree_vm
from iree_target_llvm.description import host_features

Array = np.ndarray[Any, Any]
STEP = 0.9
"""Between two results."""


class Network:
    """A graph in which what convolutions and sums read and make is quantized."""

    def __init__(self, *shape: int | str, signed: bool = False) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.random = np.random.default_rng(0)
        self.byte: Any = np.int8 if signed else np.uint8
        self.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)

    def constant(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def quantized(self, value: str, scale: float, zero: int) -> tuple[str, float]:
        """``value`` quantized and dequantized, and its scale."""
        zero_point = np.asarray(zero - 128 if self.byte is np.int8 else zero).astype(self.byte)
        numbers = self.constant(np.float32(scale)), self.constant(zero_point)
        bytes_of = self.node("QuantizeLinear", value, *numbers)
        return self.node("DequantizeLinear", bytes_of, *numbers), scale

    def weights(self, shape: tuple[int, ...], scale: float) -> tuple[str, str]:
        """Weights by filter, and a bias in units of the products of what has ``scale``."""
        filters = shape[0]
        scales = self.random.uniform(0.002, 0.01, filters).astype(np.float32)
        integers = self.random.integers(-127, 128, shape).astype(np.int8)
        parameters = self.constant(scales), self.constant(np.zeros(filters, np.int8))
        weights = self.node("DequantizeLinear", self.constant(integers), *parameters, axis=0)
        offsets = self.random.integers(-2000, 2000, filters).astype(np.int32)
        units = self.constant((scales * np.float32(scale)).astype(np.float32))
        zeros = self.constant(np.zeros(filters, np.int32))
        return weights, self.node("DequantizeLinear", self.constant(offsets), units, zeros, axis=0)

    def convolution(
        self, source: tuple[str, float], shape: tuple[int, ...], scale: float, zero: int, stride: int = 1
    ) -> tuple[str, float]:
        weights, bias = self.weights(shape, source[1])
        pads = [shape[2] // 2] * 4
        made = self.node("Conv", source[0], weights, bias, pads=pads, strides=[stride] * 2)
        return self.quantized(made, scale, zero)

    def model(self, result: str) -> onnx.ModelProto:
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "g", [self.input], [output], constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        made.ir_version = 8
        return made


def residual(
    batch: int | str, channels: int, size: tuple[int, int], *, signed: bool = False
) -> onnx.ModelProto:
    """A stem, a pooling, a residual block and a classifier."""
    n = Network(batch, 3, *size, signed=signed)
    image = n.quantized("x", 0.02, 120)
    stem = n.convolution(image, (channels, 3, 7, 7), 0.11, 0, stride=2)
    pooled = n.node("MaxPool", stem[0], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    first = n.quantized(pooled, stem[1], 0)
    narrow = n.convolution(first, (20, channels, 1, 1), 0.21, 0)
    inner = n.convolution(narrow, (24, 20, 3, 3), 0.37, 0)
    wide = n.convolution(inner, (channels, 24, 1, 1), 0.55, 131)
    total = n.quantized(n.node("Add", wide[0], first[0]), 0.6, 7)
    mean = n.node("ReduceMean", total[0], axes=[2, 3], keepdims=0)
    features = n.quantized(mean, 0.3, 3)
    weights, bias = n.weights((11, channels), features[1])
    return n.model(n.quantized(n.node("Gemm", features[0], weights, bias, transB=1), STEP, 121)[0])


def answers(model: onnx.ModelProto, folder: Path, x: Array, **options: Any) -> tuple[Array, Array]:
    """Ours and onnxruntime's."""
    onnx.save(model, folder / "m.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    found = iree_vm.load(iree_flow.compile(folder / "m.onnx", target="llvm-cpu", **options)).main(x)
    return np.asarray(found), expected


CASES = [(1, 36, (38, 45)), (2, 16, (21, 24)), (1, 64, (64, 64))]


@pytest.mark.parametrize(("batch", "channels", "size"), CASES)
@pytest.mark.parametrize("signed", [False, True])
def test_residual_blocks(batch: int, channels: int, size: Any, signed: bool, tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((batch, 3, *size)).astype(np.float32)
    found, expected = answers(residual(batch, channels, size, signed=signed), tmp_path, x)
    assert len(np.unique(expected)) > 5
    if "avx512vnni" in host_features() and not signed:
        np.testing.assert_array_equal(found, expected)
        return
    # On f32, and of signed bytes in onnxruntime, some sums halfway between two integers go the other way.
    np.testing.assert_allclose(found, expected, atol=STEP * 1.01)
    assert np.mean(np.abs(found - expected) > STEP / 2) <= 0.2


def test_batches_known_when_called(tmp_path: Path) -> None:
    model = residual("n", 20, (21, 24))
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 3, 21, 24)).astype(np.float32)
        found, expected = answers(model, tmp_path, x)
        np.testing.assert_allclose(found, expected, atol=STEP * 1.01)


def test_without_products_of_bytes(tmp_path: Path) -> None:
    x = np.random.default_rng(2).standard_normal((1, 3, 21, 24)).astype(np.float32)
    model = residual(1, 16, (21, 24))
    found, expected = answers(model, tmp_path, x, target_features="-avx512vnni")
    np.testing.assert_allclose(found, expected, atol=STEP * 1.01)
