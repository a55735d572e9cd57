"""An ONNX file -> the same model that also returns tensors from inside, and how far two runs of it are apart.

The final probabilities say little about a network: softmax flattens errors, and a wrong layer can hide behind
a right answer. So a probed model returns the tensor before its closing softmax or sigmoid and some tensors
spread over the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

Array = np.ndarray[Any, Any]

TOLERANCE = 1e-4
"""``max|a - b| <= TOLERANCE * max|b - mean(b)|``, with ``b`` the reference."""
DISTINCT = 100 * TOLERANCE
"""Outputs for two different inputs differ by at least this, or they would prove nothing."""

_CLOSING = {"Softmax", "LogSoftmax", "Sigmoid", "Identity"}


@dataclass(frozen=True)
class Probe:
    """``model`` returns ``outputs`` (those of the file first), of which ``logits`` come before a softmax."""

    model: onnx.ModelProto
    outputs: tuple[str, ...]
    logits: tuple[str, ...]
    inner: tuple[str, ...]


def probe(path: Path, logits: str = "", inner: int = 5) -> Probe:
    """Add outputs to the model at ``path``; ``logits``: the tensor before the softmax, if that is no op."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    originals = [output.name for output in graph.output]
    before = [logits] if logits else [name for name in (_before_softmax(graph, n) for n in originals) if name]
    before = [name for name in dict.fromkeys(before) if name not in originals]
    spread = _spread(graph, inner, {*originals, *before})
    known = {value.name: value for value in graph.value_info}
    for name in (*before, *spread):
        value = known.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        graph.output.append(value)
    return Probe(model, (*originals, *before, *spread), tuple(before) or tuple(originals), tuple(spread))


def _before_softmax(graph: onnx.GraphProto, output: str) -> str:
    """The input of the softmax or sigmoid that makes ``output``, or ``""``."""
    producer = {name: node for node in graph.node for name in node.output}
    name, found = output, ""
    while (node := producer.get(name)) is not None and node.op_type in _CLOSING:
        name = node.input[0]
        if node.op_type != "Identity":
            found = name
    return found


def _spread(graph: onnx.GraphProto, count: int, taken: set[str]) -> list[str]:
    """``count`` float tensors that depend on the inputs, evenly spaced over the graph."""
    types = {value.name: value.type.tensor_type for value in graph.value_info}
    constants = {initializer.name for initializer in graph.initializer}
    alive = {value.name for value in graph.input} - constants
    candidates = []
    for node in graph.node:
        if not alive & set(node.input):
            continue
        alive.update(node.output)
        if node.op_type == "Shape":
            alive.difference_update(node.output)
        for name in node.output:
            kind = types.get(name)
            if kind is not None and kind.elem_type == onnx.TensorProto.FLOAT and name not in taken:
                candidates.append(name)
    if len(candidates) <= count:
        return candidates
    return [candidates[(2 * i + 1) * len(candidates) // (2 * count)] for i in range(count)]


def scale(reference: Array) -> float:
    """How much ``reference`` varies: ``max|b - mean(b)|``, or its magnitude where it is constant."""
    if reference.size == 0:
        return 1.0
    wide = reference.astype(np.float64)
    return float(np.abs(wide - wide.mean()).max()) or float(np.abs(wide).max()) or 1.0


def error(value: Array, reference: Array) -> float:
    """``max|a - b| / scale(b)``; infinite for another shape or where only one is finite."""
    if value.shape != reference.shape:
        return float("inf")
    if reference.size == 0:
        return 0.0
    both = np.isfinite(value) & np.isfinite(reference)
    if not np.array_equal(value[~both], reference[~both], equal_nan=True):
        return float("inf")
    difference = np.abs(value[both].astype(np.float64) - reference[both].astype(np.float64))
    return float(difference.max(initial=0.0)) / scale(reference[both])
