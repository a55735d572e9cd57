"""Meanings of ``stream``: resources are byte arrays, dispatches read and write ranges of them.

The arena starts filled with a NaN pattern, so a range read before it is written shows up in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_base.packed_rows import from_bytes, to_bytes
from iree_core_ir.dispatch_function import run_on_memory
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.ir.types import TensorType
from iree_flow.dialects import stream
from iree_flow.interpreters.flow import executable_function

Array = np.ndarray[Any, Any]
POISON = 0xFF


@implements(stream.ConstantSegment)
def segment(frame: Frame, op: stream.ConstantSegment) -> None:
    """A declaration; nothing happens."""


@implements(stream.ConstantLoad)
def constant_load(frame: Frame, op: stream.ConstantLoad) -> Array:
    cache = frame.interpreter.state.setdefault("stream.segments", {})
    found: Array | None = cache.get(op.segment.root)
    if found is None:
        declared: Any = frame.lookup(op, op.segment.root)
        store = frame.interpreter.constants
        assert store is not None
        found = np.full(declared.size.value, POISON, np.uint8)
        for value, offset in zip(declared.values, declared.offsets, strict=True):
            position = offset
            for chunk in store.chunks(value.key):
                found[position : position + chunk.nbytes] = np.frombuffer(chunk, np.uint8)
                position += chunk.nbytes
        found.flags.writeable = False
        cache[op.segment.root] = found
    return found


@implements(stream.TensorImport)
def tensor_import(frame: Frame, op: stream.TensorImport, source: Array, *rest: int) -> Array:
    element = element_type(str(op.source.type.element_type))
    view = to_bytes(source, element).view()
    view.flags.writeable = False
    return view


@implements(stream.TensorExport)
def tensor_export(frame: Frame, op: stream.TensorExport, source: Array, size: int, *dims: int) -> Array:
    return _typed(source[:size], op.result.type, list(dims))


@implements(stream.ResourceAlloc, stream.ResourceAlloca)
def alloc(frame: Frame, op: Any, size: int) -> Array:
    return np.full(size, POISON, np.uint8)


@implements(stream.ResourceLoad)
def resource_load(frame: Frame, op: stream.ResourceLoad, source: Array, size: int, offset: int) -> Any:
    row = element_type(str(op.result.type))
    value = source[offset : offset + row.bytes].view(row.dtype)[0]
    return int(value) if str(op.result.type) == "index" else value


@implements(stream.CmdExecute)
def execute(frame: Frame, op: stream.CmdExecute, *operands: Any) -> None:
    frame.run_region(op.body, operands[: len(op.resources)])


@implements(stream.CmdConcurrent)
def concurrent(frame: Frame, op: stream.CmdConcurrent) -> None:
    frame.run_region(op.body)


@implements(stream.CmdCopy)
def copy(
    frame: Frame,
    op: stream.CmdCopy,
    source: Array,
    source_offset: int,
    target: Array,
    target_offset: int,
    length: int,
) -> None:
    target[target_offset : target_offset + length] = source[source_offset : source_offset + length]


@implements(stream.CmdDispatch)
def dispatch(frame: Frame, op: stream.CmdDispatch, *operands: Any) -> None:
    values = dict(zip(op.operands, operands, strict=True))
    function = executable_function(frame, op, op.entry_point)
    ranges = [
        values[r][values[o] : values[o] + values[n]]
        for r, o, n in zip(op.resources, op.offsets, op.lengths, strict=True)
    ]
    run_on_memory(frame.interpreter.invoke, function, [values[v] for v in op.scalars], ranges)


def _typed(raw: Array, type: TensorType, dims: list[int]) -> Array:
    rest = iter(dims)
    shape = [size if size >= 0 else next(rest) for size in type.shape]
    element = element_type(str(type.element_type))
    return from_bytes(raw.copy(), shape, element)
