"""Small ONNX files for tests across packages, each with one thing to go wrong or right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
F32, I64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """A graph that grows node by node; results and weights are named by their numbers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node of one result, whose name is returned."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        """The name of a new weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, Sequence[int | str]]],
    outputs: Sequence[tuple[str, int, Sequence[int | str]]],
    **weights: np.ndarray,
) -> Path:
    """Write a model; every node without a name is named after its first output."""
    for node in nodes:
        node.name = node.name or f"node_{node.output[0]}"
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain for node in nodes):
        opsets.append(helper.make_opsetid("com.example", 1))
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def mlp(path: Path) -> Path:
    """``y = softmax(relu(x @ w + b) @ v)`` with a dynamic batch: 8 -> 16 -> 4."""
    random = np.random.default_rng(0)
    w, v = (random.standard_normal(shape).astype(np.float32) for shape in ((8, 16), (16, 4)))
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("MatMul", ["a", "v"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    b = np.linspace(-1, 1, 16, dtype=np.float32)
    return save(path, nodes, [("x", F32, ("batch", 8))], [("y", F32, ("batch", 4))], w=w, b=b, v=v)


def convolution(path: Path) -> Path:
    """Two convolutions, a residual, pooling and a classifier on 1x3x12x12 images."""
    random = np.random.default_rng(1)

    def weight(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Add", ["c2", "r1"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["y"]),
    ]
    weights = {"w1": weight(8, 3, 3, 3), "b1": weight(8), "w2": weight(8, 1, 3, 3), "w3": weight(8, 5)}
    return save(path, nodes, [("x", F32, (1, 3, 12, 12))], [("y", F32, (1, 5))], **weights)


def add(path: Path) -> Path:
    """``y = x + 1`` on 4 elements."""
    nodes = [helper.make_node("Add", ["x", "one"], ["y"])]
    return save(path, nodes, [("x", F32, (4,))], [("y", F32, (4,))], one=np.ones(4, np.float32))


def gather(path: Path) -> Path:
    """``y = table[ids]`` on a table of 10 rows; the node is called ``lookup``."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["y"], name="lookup")]
    table = np.arange(30, dtype=np.float32).reshape(10, 3)
    return save(path, nodes, [("ids", I64, (5,))], [("y", F32, (5, 3))], table=table)


def unsupported(path: Path) -> Path:
    """Two nodes that no frontend can know, around one that it does."""
    nodes = [
        helper.make_node("Mystery", ["x"], ["a"], name="first_mystery", domain="com.example"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Enigma", ["b"], ["y"], name="second_enigma", domain="com.example"),
    ]
    return save(path, nodes, [("x", F32, (4,))], [("y", F32, (4,))])
