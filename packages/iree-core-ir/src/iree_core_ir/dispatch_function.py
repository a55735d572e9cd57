"""What a target receives, run by its numpy meaning: the oracle of every dispatch.

A dispatch function takes input tensors, scalars and dims, destination tensors, and returns what is
stored to its destinations (``iree.destinations``). ``iree.dims`` names the arguments that hold dynamic
dims, ``iree.packed`` the layout of a constant whose memory a target has had transformed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_base.packed_rows import from_bytes, to_bytes
from iree_core_ir.constant_transforms import inverse_function
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import DictAttr
from iree_core_ir.ir.types import TensorType

Array = np.ndarray[Any, Any]
Call = Callable[[FuncOp, Sequence[Any]], Sequence[Any]]
EMPTY = DictAttr()


def argument_attributes(function: FuncOp) -> list[DictAttr]:
    """Per argument its attributes, empty where there are none."""
    found: Any = function.attributes.get("arg_attrs")
    count = len(function.regions[0].block.args)
    return [EMPTY] * count if found is None else list(found.items)


def unpacked(function: FuncOp, arguments: Sequence[Any]) -> list[Any]:
    """``arguments`` with packed constants brought back to their logical form."""
    values = list(arguments)
    for i, (arg, facts) in enumerate(
        zip(function.regions[0].block.args, argument_attributes(function), strict=True)
    ):
        packed: Any = facts.get("iree.packed")
        if packed is not None:
            layout = json.loads(packed.value)
            inverse = inverse_function(layout["kind"])
            values[i] = inverse(values[i], layout["parameters"], arg.type.shape)
    return values


def run_on_memory(call: Call, function: FuncOp, scalars: Sequence[Any], memory: Sequence[Array]) -> None:
    """Run over byte arrays, one per tensor argument in order; destinations are written.

    ``scalars`` are the scalar arguments in order.
    """
    block = function.regions[0].block
    rest, ranges = iter(scalars), iter(memory)
    is_tensor = [isinstance(arg.type, TensorType) for arg in block.args]
    arguments: list[Any] = [None if tensor else next(rest) for tensor in is_tensor]
    bytes_of: dict[int, Array] = {}
    for i, (arg, facts) in enumerate(zip(block.args, argument_attributes(function), strict=True)):
        if not is_tensor[i]:
            continue
        own = bytes_of[i] = next(ranges)
        element = element_type(str(arg.type.element_type))
        if facts.get("iree.packed") is not None:
            arguments[i] = own.view(element.dtype)
            continue
        dims: Any = facts.get("iree.dims")
        positions = list(dims.values) if dims is not None else [-1] * arg.type.rank
        shape = [
            size if size >= 0 else int(arguments[p])
            for size, p in zip(arg.type.shape, positions, strict=True)
        ]
        arguments[i] = from_bytes(own.copy(), shape, element)
    results = call(function, unpacked(function, arguments))
    destinations: Any = function.attributes["iree.destinations"]
    for position, value in zip(destinations.values, results, strict=True):
        element = element_type(str(block.args[position].type.element_type))
        bytes_of[position][:] = to_bytes(np.asarray(value), element)
