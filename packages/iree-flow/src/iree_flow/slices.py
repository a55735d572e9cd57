"""Slices and concatenations that are runs of memory: offsets instead of copies.

They become ``flow.tensor.slice`` and ``flow.tensor.concat``.
"""

from __future__ import annotations

from iree_base.element_types import element_type
from iree_core_ir.dialects import tensor
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_flow.dialects import flow
from iree_flow.dims import Dim, DimResolver


def _known(dim: Dim) -> Dim:
    """``dim``, as a number when it is a constant."""
    if isinstance(dim, int):
        return dim
    constant = known_integer(dim)
    return dim if constant is None else constant


def is_contiguous(op: tensor.ExtractSlice, resolver: DimResolver) -> bool:
    """Units, then one axis of any extent, then whole axes; every element at a whole byte."""
    if element_type(str(op.result.type.element_type)).bits % 8:
        return False
    if any(_known(s) != 1 for s in op.mixed_strides):
        return False
    full = [_known(d) for d in resolver.dims(op.source)]
    sizes = [_known(s) for s in op.mixed_sizes]
    whole = [
        _known(offset) == 0 and size == extent
        for offset, size, extent in zip(op.mixed_offsets, sizes, full, strict=True)
    ]
    axis = len(whole)
    while axis > 0 and whole[axis - 1]:
        axis -= 1
    return all(size == 1 for size in sizes[: max(axis - 1, 0)])


def alias_slice(op: tensor.ExtractSlice, resolver: DimResolver) -> None:
    """Replace a contiguous slice; its unit dims are dropped, if they are, by a reshape."""
    if not is_contiguous(op, resolver):
        return
    builder = Builder.before_op(op)
    sizes = [_known(s) for s in op.mixed_sizes]
    type = op.source.type.with_shape([s if isinstance(s, int) else -1 for s in sizes])
    lengths = [resolver.value(s) for s in sizes]
    dynamic = [s for s in sizes if not isinstance(s, int)]
    starts = [resolver.value(_known(o)) for o in op.mixed_offsets]
    made = builder.create(
        flow.TensorSlice, op.source, resolver.dynamic(op.source), starts, lengths, type, dynamic
    )
    value = made.result
    if value.type is not op.result.type:
        target = resolver.dynamic(op.result)
        value = builder.create(flow.TensorReshape, value, dynamic, op.result.type, target).result
    value.hint = op.result.hint
    op.replace_by([value])


def alias_concat(op: tensor.Concat, resolver: DimResolver) -> None:
    """Replace a concatenation whose inputs lie one behind the other, if elements are whole bytes."""
    type = op.result.type
    axis = op.dim.value
    if any(size != 1 for size in type.shape[:axis]) or element_type(str(type.element_type)).bits % 8:
        return
    inputs = list(op.inputs)
    dims = [dim for value in inputs for dim in resolver.dynamic(value)]
    result_dims = resolver.dynamic(op.result)
    made = Builder.before_op(op).create(flow.TensorConcat, inputs, dims, axis, type, result_dims)
    made.result.hint = op.result.hint
    op.replace_by([made.result])


__all__ = ["alias_concat", "alias_slice", "is_contiguous"]
