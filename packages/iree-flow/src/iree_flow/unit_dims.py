"""Reshapes that only add or remove dims of size 1: looking through them, and building them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from iree_core_ir.dialects import tensor
from iree_core_ir.dialects.reassociation import Reassociation
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType
from iree_flow.dims import Dim


def squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape`` without its ones."""
    return tuple(size for size in shape if size != 1)


def is_unit_reshape(op: Op | None) -> bool:
    """An expand or collapse that only changes dims of size 1."""
    if not isinstance(op, (tensor.ExpandShape, tensor.CollapseShape)):
        return False
    source, result = op.operands[0].type, op.results[0].type
    if not isinstance(source, TensorType):
        return False
    if isinstance(op, tensor.ExpandShape):
        source, result = result, source
    return _merges_ones(source.shape, result.shape, op.groups)


@functools.lru_cache(maxsize=1 << 12)
def _merges_ones(expanded: tuple[int, ...], collapsed: tuple[int, ...], groups: Reassociation) -> bool:
    """Each group has one dim at most that is not 1."""
    if squeezed(expanded) != squeezed(collapsed):
        return False
    return all(sum(expanded[i] != 1 for i in group) <= 1 for group in groups)


def strip(value: Value) -> Value:
    """``value`` behind all unit reshapes."""
    op = value.defining_op
    while is_unit_reshape(op):
        assert op is not None
        value = op.operands[0]
        op = value.defining_op
    return value


def groups_onto(shape: Sequence[int], dropped: Sequence[int]) -> list[list[int]]:
    """Reassociation that merges the axes ``dropped`` (all ones) of ``shape`` into their neighbours."""
    groups: list[list[int]] = []
    leading: list[int] = []
    for axis in range(len(shape)):
        if axis in dropped:
            (groups[-1] if groups else leading).append(axis)
        else:
            groups.append([axis])
    if groups:
        groups[0] = leading + groups[0]
    return groups


def drop_axes(builder: Builder, value: Value, dropped: Sequence[int]) -> Value:
    """``value`` without the unit axes ``dropped``; an existing reshape that added them is undone."""
    shape = value.type.shape
    target = tuple(size for axis, size in enumerate(shape) if axis not in dropped)
    source = value
    op = source.defining_op
    while is_unit_reshape(op):
        assert op is not None
        source = op.operands[0]
        if source.type.shape == target:
            return source
        op = source.defining_op
    if not dropped:
        return value
    result = value.type.with_shape(target)
    return builder.create(tensor.CollapseShape, value, groups_onto(shape, dropped), result).result


def add_axes(builder: Builder, value: Value, dropped: Sequence[int], sizes: Sequence[Dim]) -> Value:
    """The inverse of ``drop_axes``: ``sizes`` are the full dims."""
    shape = [size if isinstance(size, int) else -1 for size in sizes]
    return builder.create(tensor.ExpandShape, value, groups_onto(shape, dropped), list(sizes)).result
