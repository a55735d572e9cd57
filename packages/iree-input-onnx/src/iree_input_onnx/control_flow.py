"""Operators with subgraphs: what lowers them, and what they are limited to."""

from __future__ import annotations

from collections.abc import Callable

from iree_input_onnx.carried import Run
from iree_input_onnx.conditional import lower_if
from iree_input_onnx.emit import Emitter
from iree_input_onnx.loops import lower_loop, lower_scan
from iree_input_onnx.node import Node
from iree_input_onnx.values import Tensor

LOWERINGS: dict[str, Callable[[Emitter, Node, Run], list[Tensor]]] = {
    "If": lower_if,
    "Loop": lower_loop,
    "Scan": lower_scan,
}
"""Operator -> the outputs of a node, given what lowers its subgraphs."""

NOTES = {
    "If": "the outputs of a graph have one rank, whatever its conditions",
    "Loop": "a variable keeps its rank; no sequences",
    "Scan": "not version 8; a variable keeps its rank",
}

__all__ = ["LOWERINGS", "NOTES"]
