"""The GPU's form of kernels from a model to its results, on no GPU: every kernel is interpreted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import invocation_target
import numpy as np
import pytest
import tiny
from onnx import helper
from onnx.reference import ReferenceEvaluator

import iree_flow
import iree_vm
from iree_core_ir.plugins import manager, target_getters


@pytest.fixture(scope="module", autouse=True)
def target() -> None:
    if invocation_target.NAME not in target_getters():
        getters = {invocation_target.NAME: invocation_target.InvocationTarget}
        plugin = SimpleNamespace(__name__="invocations", api=(1, 0), iree_targets=lambda: getters)
        manager().register(plugin)


def layers(path: Path) -> Path:
    """A convolution, pooling, normalization over rows, a product, softmax and what is most likely."""
    random = np.random.default_rng(11)
    weights = {
        "w": random.standard_normal((5, 2, 3, 3)).astype(np.float32),
        "scale": random.uniform(0.5, 1.5, 20).astype(np.float32),
        "shift": random.standard_normal(20).astype(np.float32),
        "fc": random.standard_normal((20, 7)).astype(np.float32),
        "flat": np.array([-1, 20], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["p", "flat"], ["f"]),
        helper.make_node("LayerNormalization", ["f", "scale", "shift"], ["n"], axis=-1),
        helper.make_node("MatMul", ["n", "fc"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
        helper.make_node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
    ]
    outputs = [("scores", tiny.F32, (5, 7)), ("best", tiny.I64, (5,))]
    return tiny.save(path, nodes, [("x", tiny.F32, (1, 2, 7, 9))], outputs, **weights)


def test_a_model_of_many_kernels(tmp_path: Path) -> None:
    model = layers(tmp_path / "layers.onnx")
    x = np.random.default_rng(5).standard_normal((1, 2, 7, 9)).astype(np.float32)
    artifact = iree_flow.compile(model, target=invocation_target.NAME, cache=False)
    assert len({d.strategy for d in artifact.report.dispatches}) > 1
    scores, best = iree_vm.load(artifact, device="reference").main(x)
    expected = ReferenceEvaluator(str(model)).run(None, {"x": x})
    np.testing.assert_allclose(scores, expected[0], atol=1e-5)
    np.testing.assert_array_equal(best, expected[1])
