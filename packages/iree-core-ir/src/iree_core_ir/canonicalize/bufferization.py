"""Canonical forms of ``bufferization``: static sizes, temporary tensors that nobody reads."""

from __future__ import annotations

from iree_core_ir.canonicalize.shapes import cast_back
from iree_core_ir.dialects import bufferization, memref, tensor
from iree_core_ir.dialects.mixed import staticize
from iree_core_ir.ir.types import TensorType
from iree_core_ir.rewriter import Rewriter, pattern


@pattern(bufferization.AllocTensor)
def static_alloc_tensor(op: bufferization.AllocTensor, rewriter: Rewriter) -> bool:
    if op.copy is not None or op.memory_space is not None or op.size_hint is not None:
        return False
    sizes = staticize(op.mixed_sizes)
    if all(a is b for a, b in zip(sizes, op.mixed_sizes, strict=True)):
        return False
    if any(isinstance(s, int) and s < 0 for s in sizes):
        return False
    type = op.result.type
    new = rewriter.create(bufferization.AllocTensor, sizes, type.element_type).result
    rewriter.replace(op, cast_back(rewriter, new, type))
    return True


@pattern(bufferization.DeallocTensor)
def dealloc_of_alloc(op: bufferization.DeallocTensor, rewriter: Rewriter) -> bool:
    """A tensor that is allocated only to be freed."""
    value = op.tensor
    while value.has_one_use and isinstance(value.defining_op, tensor.Cast):
        value = value.defining_op.source
    if not value.has_one_use or not isinstance(value.defining_op, bufferization.AllocTensor):
        return False
    rewriter.erase(op)
    return True


@pattern(bufferization.ToBuffer)
def buffer_of_cast(op: bufferization.ToBuffer, rewriter: Rewriter) -> bool:
    """The buffer of the more static tensor, cast."""
    inner = op.tensor.defining_op
    if not isinstance(inner, tensor.Cast) or not isinstance(inner.source.type, TensorType):
        return False
    type = op.buffer.type
    if type.layout is not None:
        return False
    new_type = type.with_shape(inner.source.type.shape)
    new = rewriter.create(bufferization.ToBuffer, inner.source, new_type, op.read_only is not None).buffer
    rewriter.replace(op, new if new.type is type else rewriter.create(memref.Cast, new, type).dest)
    return True


PATTERNS = [static_alloc_tensor, dealloc_of_alloc, buffer_of_cast]
