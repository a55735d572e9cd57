"""The two models of the tests in this folder: magika, and a small network with every kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from onnx import helper

import zoo

NAMES = ("magika", "convnet")
IMAGE = (1, 3, 19, 23)
"""Odd extents: every stride and every vector has a remainder."""


def convnet(path: Path) -> Path:
    """Strided, depthwise, pointwise, grouped and dilated convolutions with batch norm, a residual, both
    poolings and a classifier, on 1x3x19x23 images; 37 classes.
    """
    random = np.random.default_rng(7)
    weights: dict[str, np.ndarray] = {}
    nodes = []

    def conv(
        name: str, source: str, out: int, per_group: int, kernel: tuple[int, int], **options: Any
    ) -> str:
        """Convolution, then batch norm with statistics of its own, then ReLU."""
        scale = np.sqrt(2 / (per_group * kernel[0] * kernel[1]))
        weights[f"{name}_w"] = (random.standard_normal((out, per_group, *kernel)) * scale).astype(np.float32)
        nodes.append(helper.make_node("Conv", [source, f"{name}_w"], [f"{name}_c"], **options))
        for part, low, high in (("s", 0.8, 1.2), ("b", -0.3, 0.3), ("m", -0.2, 0.2), ("v", 0.6, 1.4)):
            weights[f"{name}_{part}"] = random.uniform(low, high, out).astype(np.float32)
        inputs = [f"{name}_c", *(f"{name}_{part}" for part in "sbmv")]
        nodes.append(helper.make_node("BatchNormalization", inputs, [f"{name}_n"]))
        nodes.append(helper.make_node("Relu", [f"{name}_n"], [name]))
        return name

    stem = conv("stem", "image", 13, 3, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    wide = conv("expand", stem, 21, 13, (1, 1))
    depth = conv("depthwise", wide, 21, 1, (3, 3), pads=[1, 1, 1, 1], group=21)
    narrow = conv("project", depth, 13, 21, (1, 1))
    nodes.append(helper.make_node("Add", [narrow, stem], ["residual"]))
    nodes.append(
        helper.make_node(
            "MaxPool", ["residual"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        )
    )
    grown = conv("grow", "pooled", 18, 13, (3, 2))
    grouped = conv("grouped", grown, 12, 6, (3, 3), group=3, dilations=[1, 2], pads=[1, 2, 1, 2])
    nodes += [
        helper.make_node("GlobalAveragePool", [grouped], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc_w", "fc_b"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]
    weights["fc_w"] = random.standard_normal((37, 12)).astype(np.float32)
    weights["fc_b"] = random.standard_normal(37).astype(np.float32)
    outputs = [("logits", tiny.F32, (1, 37)), ("scores", tiny.F32, (1, 37))]
    return tiny.save(path, nodes, [("image", tiny.F32, IMAGE)], outputs, **weights)


def prepare(name: str, model_file: Callable[[str], Path], folder: Path) -> Path:
    """The ONNX file of model ``name``; magika from the cache of measured models, the other made in ``folder``."""
    return model_file("magika") if name == "magika" else convnet(folder / "convnet.onnx")


def feed(name: str, seed: int, batch: int = 2) -> list[np.ndarray]:
    """Seeded inputs; two rows for magika, whose batch is dynamic."""
    if name == "magika":
        model = zoo.MODELS["magika"]
        return [np.concatenate([model.feed(seed + 100 * row)["bytes"] for row in range(batch)])]
    return [np.random.default_rng(seed).uniform(-1, 1, IMAGE).astype(np.float32)]


@pytest.fixture(scope="module", params=NAMES)
def network(
    request: pytest.FixtureRequest,
    model_file: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """Each model in turn: its name and its ONNX file."""
    return request.param, prepare(request.param, model_file, tmp_path_factory.mktemp(request.param))
