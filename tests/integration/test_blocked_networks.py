"""Random convolutional networks on images in channel blocks, compiled for this machine, beside onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny

import iree_flow
import iree_vm
from iree_flow import blocked_regions

helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


class Network(tiny.Graph):
    """An ONNX graph that grows layer by layer; sizes of the last image are kept."""

    def __init__(self, rng: np.random.Generator, batch: Any) -> None:
        super().__init__()
        self.rng = rng
        self.size = [int(n) for n in rng.integers(9, 30, 2)]
        self.input = helper.make_tensor_value_info("x", FLOAT, [batch, 3, *self.size])
        self.value, self.channels = "x", 3

    def normal(self, *shape: int) -> str:
        scale = np.sqrt(np.prod(shape[1:], dtype=int))
        return self.constant((self.rng.standard_normal(shape) / scale).astype(np.float32))

    def conv(self, x: str, own: int, out: int, kernel: int = 1, stride: int = 1, group: int = 1) -> str:
        weights, bias = self.normal(out, own // group, kernel, kernel), self.normal(out)
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        return self.add("Conv", x, weights, bias, group=group, **shape)

    def activated(self, x: str) -> str:
        kind = self.rng.choice(["Relu", "HardSwish", "SiLU", "none"])
        if kind == "SiLU":
            return self.add("Mul", x, self.add("Sigmoid", x))
        return x if kind == "none" else self.add(str(kind), x)

    def grow(self, value: str, channels: int, numerator: int = 1, denominator: int = 1) -> None:
        self.value, self.channels = value, channels
        self.size = [-(-n * numerator // denominator) for n in self.size]

    def layer(self) -> None:
        x, c, rng = self.value, self.channels, self.rng
        kind = int(rng.integers(0, 8))
        if kind == 0:
            out, stride = int(rng.choice([16, 24, 32, 50])), int(rng.choice([1, 2]))
            self.grow(
                self.activated(self.conv(x, c, out, int(rng.choice([1, 3, 5])), stride)), out, 1, stride
            )
        elif kind == 1:
            stride = int(rng.choice([1, 2]))
            self.grow(self.activated(self.conv(x, c, c, int(rng.choice([3, 5])), stride, c)), c, 1, stride)
        elif kind == 2:
            wide = self.activated(self.conv(x, c, 2 * c))
            narrow = self.conv(self.activated(self.conv(wide, 2 * c, 2 * c, 3, 1, 2 * c)), 2 * c, c)
            self.grow(self.add("Add", x, narrow), c)
        elif kind == 3:
            squeezed = self.activated(self.conv(self.add("GlobalAveragePool", x), c, c // 4))
            gate = self.add("Sigmoid", self.conv(squeezed, c // 4, c))
            self.grow(self.conv(self.add("Mul", x, gate), c, c), c)
        elif kind == 4:
            pool = str(rng.choice(["MaxPool", "AveragePool"]))
            window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
            self.grow(self.add(pool, x, **window), c, 1, 2)
        elif kind == 5:
            out = int(rng.choice([16, 24]))
            self.grow(self.add("Concat", x, self.activated(self.conv(x, c, out)), axis=1), c + out)
        elif kind == 6 and max(self.size) < 20:
            scales = self.constant(np.array([1, 1, 2, 2], np.float32))
            nearest = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            mode = {"mode": "linear"} if rng.random() < 0.5 else {"mode": "nearest", **nearest}
            self.grow(self.add("Resize", x, "", scales, **mode), c, 2)
        elif kind == 7 and max(self.size) < 20:
            out = int(rng.choice([1, 16, 24]))
            shape = {"strides": [2, 2], "kernel_shape": [2, 2]}
            self.grow(
                self.activated(self.add("ConvTranspose", x, self.normal(c, out, 2, 2), **shape)),
                max(out, 4),
                2,
            )
            if out == 1:
                self.value = self.conv(self.value, 1, 4)

    def model(self) -> Any:
        self.grow(self.activated(self.conv(self.value, 3, int(self.rng.choice([16, 20, 32])), 3, 2)), 0, 1, 2)
        self.channels = int(self.weights[0].dims[0])
        for _ in range(5):
            self.layer()
        results = [self.value, self.add("GlobalAveragePool", self.value)]
        outputs = [helper.make_tensor_value_info(name, FLOAT, [None] * 4) for name in results]
        graph = helper.make_graph(self.nodes, "network", [self.input], outputs, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(made)


SEEDS = [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(40)]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every region with a dense convolution is blocked, however small."""
    monkeypatch.setattr(blocked_regions.Region, "pays", lambda self, lanes: self.has_dense)
    rng = np.random.default_rng(seed)
    batch = "N" if seed % 3 == 1 else 1
    network = Network(rng, batch)
    size = list(network.size)
    model = network.model()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    main = iree_vm.load(iree_flow.compile(model, target="llvm-cpu", jobs=1)).main
    for n in (1, 3) if batch == "N" else (1,):
        x = rng.standard_normal((n, 3, *size)).astype(np.float32)
        for got, want in zip(main(x), session.run(None, {"x": x}), strict=True):
            assert np.abs(got - want).max() <= 1e-4 * max(1e-6, np.abs(want).max())
