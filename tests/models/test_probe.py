"""The yardstick itself: it finds a wrong number, ignores rounding, and probes where numbers are made."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import probe


def test_the_error_is_relative_to_how_much_the_reference_varies() -> None:
    reference = np.array([1000.0, 1001.0, 1002.0], np.float32)
    assert probe.error(reference + 0.5, reference) == pytest.approx(0.5)
    assert probe.error(reference, reference) == 0


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        (np.zeros((2, 1)), np.zeros((1, 2))),
        (np.array([np.nan, 1.0]), np.array([0.0, 1.0])),
        (np.array([np.inf, 1.0]), np.array([-np.inf, 1.0])),
    ],
)
def test_shapes_and_special_values_must_match(value: np.ndarray, reference: np.ndarray) -> None:
    assert probe.error(value, reference) == float("inf")


def test_equal_special_values_match() -> None:
    value = np.array([np.nan, np.inf, 1.0, 2.0])
    assert probe.error(value, value) == 0


def test_constant_references_are_measured_by_their_size() -> None:
    assert probe.error(np.array([4.0, 5.0]), np.array([4.0, 4.0])) == pytest.approx(0.25)
    assert probe.error(np.zeros((0, 3)), np.zeros((0, 3))) == 0


@pytest.fixture
def classifier(tmp_path):  # type: ignore[no-untyped-def]
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Shape", ["a"], ["s"])]
    nodes += [helper.make_node("Abs", ["k"], ["constant"]), helper.make_node("Exp", ["a"], ["b"])]
    nodes += [helper.make_node("Softmax", ["b"], ["p"]), helper.make_node("Identity", ["p"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor("k", TensorProto.FLOAT, [1], [1.0])],
    )
    path = tmp_path / "classifier.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_tensors_before_the_softmax_and_inside_become_outputs(classifier) -> None:  # type: ignore[no-untyped-def]
    found = probe.probe(classifier)
    assert found.logits == ("b",)
    assert found.outputs == ("y", "b", "a", "p")
    assert [output.name for output in found.model.graph.output] == list(found.outputs)
