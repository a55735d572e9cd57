"""The lowering table: ``@onnx_op("Conv")`` registers a function that turns a node into tensors.

A function covers every version of its op from ``since`` to the newest the package was checked against
(``reader.NEWEST_OPSET``); differences between versions are decided inside by ``node.since``. Each file of
``ops`` is one family of ops.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from iree_base.records import record
from iree_input_onnx.emit import Emitter
from iree_input_onnx.node import Node
from iree_input_onnx.reader import NEWEST_OPSET
from iree_input_onnx.values import Tensor

Lowering = Callable[[Emitter, Node], Tensor | Sequence[Tensor | None]]

FAMILIES = (
    "elementwise",
    "activation",
    "cast",
    "constant",
    "shape",
    "slicing",
    "indexing",
    "selection",
    "sampling",
    "regions",
    "spectral",
    "matmul",
    "attention",
    "convolution",
    "pooling",
    "normalization",
    "reduction",
    "softmax",
    "recurrent",
    "resize",
    "quantization",
)


@record(frozen=True)
class Entry:
    """One op of the table; ``notes`` says which cases are not covered (for the coverage page).

    With ``body`` the standard's function body is taken for what ``lower`` does not support.
    """

    domain: str
    op_type: str
    since: int
    lower: Lowering
    notes: str
    body: bool = False


_TABLE: dict[tuple[str, str], Entry] = {}
_loaded = False


def onnx_op(
    *op_types: str, since: int = 1, domain: str = "", notes: str = "", body: bool = False
) -> Callable[[Lowering], Lowering]:
    """Register the decorated function for ``op_types`` of ``domain``, from definition ``since`` on."""

    def register(function: Lowering) -> Lowering:
        for op_type in op_types:
            _TABLE[domain, op_type] = Entry(domain, op_type, since, function, notes, body)
        return function

    return register


def register_op(op_type: str, lower: Lowering, since: int = 1, notes: str = "") -> None:
    """Register a function made by a family's own table."""
    onnx_op(op_type, since=since, notes=notes)(lower)


def table() -> dict[tuple[str, str], Entry]:
    """(domain, op type) -> entry of every supported op."""
    global _loaded
    if not _loaded:
        for family in FAMILIES:
            importlib.import_module(f"iree_input_onnx.ops.{family}")
        _loaded = True
    return _TABLE


def find(domain: str, op_type: str, version: int) -> Entry | None:
    """The entry that covers definition ``version`` of an op."""
    entry = table().get((domain, op_type))
    if entry is None or not entry.since <= version <= NEWEST_OPSET:
        return None
    return entry
