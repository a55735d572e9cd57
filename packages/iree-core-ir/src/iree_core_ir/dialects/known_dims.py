"""Where the size of a tensor or memref dim comes from, found without building anything."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects.mixed import Mixed, join, shape_of
from iree_core_ir.dialects.slices import dropped_unit_dims
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE
from iree_core_ir.ir.types import DYNAMIC, ShapedType

_SIZED = (
    "tensor.empty",
    "tensor.splat",
    "tensor.generate",
    "bufferization.alloc_tensor",
    "memref.alloc",
    "memref.alloca",
)
_SAME_SHAPE = (
    "tensor.cast",
    "tensor.bitcast",
    "memref.cast",
    "memref.memory_space_cast",
    "memref.assume_alignment",
    "bufferization.to_tensor",
    "bufferization.to_buffer",
    "bufferization.clone",
)


def trace_dim(value: Value, axis: int) -> Mixed | tuple[Value, int]:
    """The size along ``axis``: a number, a value, or (value, axis) of the origin of an equal dim."""
    while True:
        type: Any = value.type
        if isinstance(type, ShapedType) and axis < type.rank and type.shape[axis] != DYNAMIC:
            return type.shape[axis]
        op = value.defining_op
        step = None if op is None else _step(op, value.index, axis)
        if step is None:
            return value, axis
        if not isinstance(step, tuple):
            known = known_integer(step) if isinstance(step, Value) else None
            return step if known is None else known
        value, axis = step


def known_dim(value: Value, axis: int) -> Mixed | None:
    """The size along ``axis`` as a number or an existing value; None when only ``dim`` can tell."""
    found = trace_dim(value, axis)
    return None if isinstance(found, tuple) else found


def _step(op: Any, result: int, axis: int) -> Mixed | tuple[Value, int] | None:
    """One step towards the origin of dim ``axis`` of a result."""
    name = op.name
    if name in _SIZED:
        copied = op.copy if name == "bufferization.alloc_tensor" else None
        sizes: tuple[Mixed, ...] = op.mixed_sizes
        return sizes[axis] if copied is None else (copied, axis)
    if name in _SAME_SHAPE:
        source: Value = op.operands[0]
        return (source, axis) if isinstance(source.type, ShapedType) else None
    if name in ("tensor.extract_slice", "memref.subview"):
        sizes = op.mixed_sizes
        dropped = dropped_unit_dims(shape_of(sizes), op.results[0].type.shape)
        if dropped is None:
            return None
        return [size for i, size in enumerate(sizes) if i not in dropped][axis]
    if name in ("tensor.insert_slice", "tensor.insert"):
        return op.operands[1], axis
    if name in ("tensor.expand_shape", "memref.expand_shape"):
        return join(op.static_output_shape.values, op.output_shape)[axis]
    if name in ("tensor.collapse_shape", "memref.collapse_shape"):
        group = op.groups[axis]
        source_type: Any = op.src.type
        wide = [i for i in group if source_type.shape[i] != 1]
        return (op.src, wide[0]) if len(wide) == 1 else None
    if name == "tensor.concat":
        return (op.operands[0], axis) if op.dim.value != axis and op.operands else None
    if name == "tensor.pad":
        if op.mixed_low[axis] == 0 and op.mixed_high[axis] == 0:
            return op.operands[0], axis
        return None
    if DESTINATION_STYLE in type(op).traits:
        return _destination(op, result, axis)
    return None


def _destination(op: Op, result: int, axis: int) -> tuple[Value, int] | None:
    """The destination tied to a result: results go with the last operands, tensors in order."""
    outputs = getattr(op, "outputs", None)
    if outputs is None:
        outputs = [v for v in op.operands if v.type is op.results[result].type][-1:]
        return (outputs[0], axis) if len(outputs) == 1 and len(op.results) == 1 else None
    tied = [v for v in outputs if v.type is op.results[result].type]
    if len(outputs) == len(op.results):
        return outputs[result], axis
    return (tied[0], axis) if len(tied) == 1 else None
