"""Self-attention as exporters write it, from ONNX to the numbers: one dispatch, and onnxruntime's result."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tiny
from onnx import TensorProto, helper

import iree_flow
import iree_vm

HEADS, SIZE = 2, 8
WIDTH = HEADS * SIZE


def model(style: str, batch: Any, length: Any) -> Any:
    """Three products and their biases, heads to the front, scores, mask, softmax, heads back, a product.

    ``style``: where the scale is and how keys are turned.
    """
    g, rng = tiny.Graph(), np.random.default_rng(0)

    def random(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    heads = []
    for part in "qkv":
        rows = g.add("MatMul", "x", g.constant(random(WIDTH, WIDTH) / 4))
        rows = g.add("Add", rows, g.constant(random(WIDTH)))
        rows = g.add("Reshape", rows, g.constant(np.array([0, 0, HEADS, SIZE], np.int64)))
        turned = part == "k" and style == "turned at once"
        heads.append(g.add("Transpose", rows, perm=[0, 2, 3, 1] if turned else [0, 2, 1, 3]))
    q, k, v = heads
    if style != "turned at once":
        k = g.add("Transpose", k, perm=[0, 1, 3, 2])
    if style == "both scaled":
        root = g.constant(np.float32(SIZE**-0.25))
        q, k = g.add("Mul", q, root), g.add("Mul", k, root)
    scores = g.add("MatMul", q, k)
    if style != "both scaled":
        scores = g.add("Div", scores, g.constant(np.float32(SIZE**0.5)))
    weights = g.add("Softmax", g.add("Add", scores, "mask"), axis=-1)
    out = g.add("Transpose", g.add("MatMul", weights, v), perm=[0, 2, 1, 3])
    out = g.add("Reshape", out, g.constant(np.array([0, 0, WIDTH], np.int64)))
    y = g.add("MatMul", out, g.constant(random(WIDTH, WIDTH)))

    def value(name: str, *sizes: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)

    inputs = [value("x", batch, length, WIDTH), value("mask", batch, 1, 1, length)]
    graph = helper.make_graph(g.nodes, "attention", inputs, [value(y, batch, length, WIDTH)], g.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("style", ["scores scaled", "turned at once", "both scaled"])
@pytest.mark.parametrize(("batch", "length"), [(1, 10), (2, 5), (1, "s"), ("b", "s")])
def test_one_dispatch_gives_what_onnxruntime_gives(
    tmp_path: Any, style: str, batch: Any, length: Any
) -> None:
    made = model(style, batch, length)
    onnx.checker.check_model(made)
    path = tmp_path / "model.vmfb"
    iree_flow.compile(made, target="llvm-cpu", output=str(path), jobs=1)
    module = iree_vm.load(str(path))
    dispatches = module.artifact.debug_info(module.variant).dispatches.values()
    assert "attention" in [dispatch.strategy for dispatch in dispatches]
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    for b in [batch] if isinstance(batch, int) else [1, 3]:
        for s in [length] if isinstance(length, int) else [1, 7, 40]:
            x = rng.standard_normal((b, s, WIDTH)).astype(np.float32)
            mask = np.where(rng.random((b, 1, 1, s)) < 0.3, np.float32(-1e4), np.float32(0))
            expected = session.run(None, {"x": x, "mask": mask})[0]
            np.testing.assert_allclose(module.main(x, mask), expected, rtol=2e-5, atol=2e-5)
