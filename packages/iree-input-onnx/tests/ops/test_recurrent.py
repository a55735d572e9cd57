"""LSTM, GRU, RNN against onnxruntime: directions, lengths, states, peepholes, activations, layouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from iree_input_onnx.testing import ImportedModel

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclass(frozen=True)
class Layer:
    """One layer; ``constant``: weights are initializers."""

    kind: str
    steps: int = 5
    batch: int = 3
    width: int = 4
    size: int = 6
    direction: str = "forward"
    bias: bool = True
    lengths: tuple[int, ...] | None = None
    initial: bool = True
    peepholes: bool = False
    constant: bool = True
    dynamic: bool = False
    """Steps and batch are known when called."""
    attributes: dict[str, Any] = field(default_factory=dict)


def build(layer: Layer, seed: int = 0) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model, and arrays for its inputs."""
    rng = np.random.default_rng(seed)
    d = 2 if layer.direction == "bidirectional" else 1
    g, n = GATES[layer.kind], layer.size
    arrays: dict[str, Any] = {
        "X": rng.standard_normal((layer.steps, layer.batch, layer.width)).astype(np.float32),
        "W": (rng.standard_normal((d, g * n, layer.width)) * 0.5).astype(np.float32),
        "R": (rng.standard_normal((d, g * n, n)) * 0.4).astype(np.float32),
    }
    if layer.bias:
        arrays["B"] = (rng.standard_normal((d, 2 * g * n)) * 0.3).astype(np.float32)
    if layer.lengths is not None:
        arrays["lengths"] = np.array(layer.lengths, np.int32)
    if layer.initial:
        arrays["h"] = rng.standard_normal((d, layer.batch, n)).astype(np.float32)
        if layer.kind == "LSTM":
            arrays["c"] = rng.standard_normal((d, layer.batch, n)).astype(np.float32)
    if layer.peepholes:
        arrays["P"] = rng.standard_normal((d, 3 * n)).astype(np.float32)
    names = ["X", "W", "R", "B", "lengths", "h", *(["c", "P"] if layer.kind == "LSTM" else [])]
    outputs = ["Y", "Y_h", *(["Y_c"] if layer.kind == "LSTM" else [])]
    node = helper.make_node(
        layer.kind,
        [name if name in arrays else "" for name in names],
        outputs,
        hidden_size=n,
        direction=layer.direction,
        **layer.attributes,
    )
    fixed = [name for name in ("W", "R", "B", "P") if name in arrays] if layer.constant else []
    graph = helper.make_graph(
        [node],
        "layer",
        [
            helper.make_tensor_value_info(
                name,
                TensorProto.INT32 if name == "lengths" else TensorProto.FLOAT,
                shape_of(name, array.shape, layer.dynamic),
            )
            for name, array in arrays.items()
            if name not in fixed
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(arrays[name], name) for name in fixed],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return model, {name: array for name, array in arrays.items() if name not in fixed}


def shape_of(name: str, shape: tuple[int, ...], dynamic: bool) -> list[Any]:
    if not dynamic or name in ("W", "R", "B", "P"):
        return list(shape)
    return {"X": ["t", "b", shape[-1]], "lengths": ["b"]}.get(name, [shape[0], "b", shape[-1]])


def check(layer: Layer, tolerance: float = 2e-6) -> None:
    model, inputs = build(layer)
    wanted = ort.InferenceSession(model.SerializeToString()).run(None, inputs)
    got = ImportedModel(model)(*inputs.values())
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, (5, 2, 4)])
@pytest.mark.parametrize("initial", [False, True])
def test_layers(kind: str, direction: str, lengths: Any, initial: bool) -> None:
    check(Layer(kind, direction=direction, lengths=lengths, initial=initial))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("bias", [False, True])
def test_weights_that_are_inputs(kind: str, bias: bool) -> None:
    check(Layer(kind, constant=False, bias=bias))


@pytest.mark.parametrize("kind", GATES)
def test_steps_and_rows_known_when_called(kind: str) -> None:
    check(Layer(kind, dynamic=True, direction="bidirectional"))
    check(Layer(kind, dynamic=True, lengths=(1, 5, 3)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_gru_with_the_product_before_the_reset_gate(bias: bool, direction: str) -> None:
    check(Layer("GRU", bias=bias, direction=direction, attributes={"linear_before_reset": 1}))


def test_lstm_with_peepholes() -> None:
    check(Layer("LSTM", peepholes=True))
    check(Layer("LSTM", peepholes=True, direction="bidirectional", lengths=(2, 5, 1)))


def test_lstm_with_coupled_gates() -> None:
    check(Layer("LSTM", attributes={"input_forget": 1}))


def test_clipped_gates() -> None:
    check(Layer("LSTM", attributes={"clip": 0.3}))


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("Relu", {}),
        ("Tanh", {}),
        ("Sigmoid", {}),
        ("Softsign", {}),
        ("Softplus", {}),
        ("Affine", {"activation_alpha": [0.4], "activation_beta": [0.1]}),
        ("LeakyRelu", {"activation_alpha": [0.2]}),
        ("ThresholdedRelu", {"activation_alpha": [0.3]}),
        ("ScaledTanh", {"activation_alpha": [0.7], "activation_beta": [0.9]}),
        ("HardSigmoid", {"activation_alpha": [0.3], "activation_beta": [0.4]}),
        ("Elu", {"activation_alpha": [0.8]}),
    ],
)
def test_activations(name: str, numbers: dict[str, Any]) -> None:
    check(Layer("RNN", size=5, attributes={"activations": [name], **numbers}))


def test_activations_share_their_numbers_in_order() -> None:
    attributes = {"activations": ["LeakyRelu", "Tanh", "HardSigmoid", "Elu"],
                  "activation_alpha": [0.2, 0.3, 0.8], "activation_beta": [0.4]}  # fmt: skip
    check(Layer("GRU", direction="bidirectional", attributes=attributes))
