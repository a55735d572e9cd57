"""Numpy meanings of ``bufferization``: a tensor taken from memory, or put there, is a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import bufferization
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.memory import unspecified
from iree_core_ir.interpreters.tensor import dtype_of, shape_value
from iree_core_ir.ir.types import MemRefType

Array = np.ndarray[Any, Any]


@implements(bufferization.ToTensor, bufferization.ToBuffer, bufferization.Clone)
def copied(frame: Frame, op: Any, source: Array) -> Array:
    return np.array(source)


@implements(bufferization.AllocTensor)
def alloc_tensor(frame: Frame, op: bufferization.AllocTensor, *operands: Any) -> Array:
    if op.copy is not None:
        source: Array = operands[0]
        return source
    type = op.result.type
    return unspecified(shape_value(type, operands[: len(op.dynamic_sizes)]), dtype_of(type))


@implements(bufferization.MaterializeInDestination)
def materialize(frame: Frame, op: bufferization.MaterializeInDestination, source: Array, dest: Array) -> Any:
    if isinstance(op.dest.type, MemRefType):
        dest[...] = source
        return None
    return source


@implements(bufferization.DeallocTensor)
def dealloc_tensor(frame: Frame, op: bufferization.DeallocTensor, source: Array) -> None:
    return None
