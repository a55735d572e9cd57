"""Dims with identity: which SSA index value (or constant) each dimension of a tensor is.

``DimResolver.dims(value)`` never inspects data: sizes come from destination operands, from the ops that
define shapes, from what came over a branch with a tensor, and finally from ``tensor.dim`` of the function's
arguments, one per distinct name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects import arith, tensor
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Block, Op, OpResult, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE
from iree_core_ir.ir.types import TensorType

Dim = int | Value
"""A static size, or the index value that holds it."""


class DimResolver:
    """Dims of the tensors of a function; new ``tensor.dim`` and arithmetic is inserted where needed.

    ``block`` is the function's entry, where constants go: from there they reach all its blocks.
    """

    def __init__(self, block: Block, names: dict[Value, Sequence[str]] | None = None) -> None:
        self.block = block
        self._cache: dict[Value, list[Dim]] = {}
        self._named: dict[str, Value] = {}
        self._names = names or {}
        self._constants: dict[int, Value] = {}

    def dims(self, value: Value) -> list[Dim]:
        """One Dim per axis of ``value``."""
        found = self._cache.get(value)
        if found is None:
            type = value.type
            if not isinstance(type, TensorType) or type.is_static:
                found = list(type.shape) if isinstance(type, TensorType) else []
            else:
                found = [
                    size if size >= 0 else dim
                    for size, dim in zip(type.shape, self._dims(value), strict=True)
                ]
            self._cache[value] = found
        return found

    def dynamic(self, value: Value) -> list[Value]:
        """The index values of the dynamic axes, in order."""
        type: TensorType = value.type
        if type.is_static:
            return []
        return [self.value(d) for d, size in zip(self.dims(value), type.shape, strict=True) if size < 0]

    def value(self, dim: Dim) -> Value:
        """``dim`` as an index value (a constant at the start of the function for a static size)."""
        if isinstance(dim, Value):
            return dim
        found = self._constants.get(dim)
        if found is None:
            found = Builder.at_start(self.block).insert(arith.Constant.index(dim)).result
            self._constants[dim] = found
        return found

    def _dims(self, value: Value) -> Sequence[Dim]:
        owner = value.owner
        if isinstance(owner, Block):
            return self._argument_dims(value, owner)
        op: Op = owner
        assert isinstance(value, OpResult)
        rule = _RULES.get(op.name)
        if rule is not None:
            found: Sequence[Dim] = rule(self, op, value)
            return found
        if DESTINATION_STYLE in op.traits:
            return self.dims(op.outputs[value.index])  # type: ignore[attr-defined]
        return self._ask(value, Builder.after_op(op))

    def _argument_dims(self, value: Value, block: Block) -> Sequence[Dim]:
        names = self._names.get(value, ())
        builder = Builder.at_start(block)
        # Insert behind constants already placed there, so that they dominate.
        dims: list[Dim] = []
        for axis, size in enumerate(value.type.shape):
            if size >= 0:
                dims.append(size)
                continue
            name = names[axis] if axis < len(names) else ""
            found = self._named.get(name) if name else None
            if found is None:
                found = self._find_dim(value, axis, block)
                if found is None:
                    c = builder.insert(arith.Constant.index(axis)).result
                    found = builder.create(tensor.Dim, value, c).result
                    found.hint = name or None
                if name:
                    self._named[name] = found
            dims.append(found)
        return dims

    def _find_dim(self, value: Value, axis: int, block: Block) -> Value | None:
        """An existing ``tensor.dim``, moved to the start of the block so that it dominates every use."""
        for user in value.users:
            if isinstance(user, tensor.Dim) and user.parent is block:
                position = known_integer(user.operands[1])
                if position == axis:
                    assert block.first is not None
                    if block.first is not user:
                        user.move_before(block.first)
                    position_op = user.operands[1].defining_op
                    assert position_op is not None
                    position_op.move_before(user)
                    return user.result
        return None

    def _ask(self, value: Value, builder: Builder) -> Sequence[Dim]:
        dims: list[Dim] = []
        for axis, size in enumerate(value.type.shape):
            if size >= 0:
                dims.append(size)
                continue
            c = builder.insert(arith.Constant.index(axis)).result
            dims.append(builder.create(tensor.Dim, value, c).result)
        return dims

    def product(self, dims: Sequence[Dim], builder: Builder) -> Dim:
        """The product, folded as far as known."""
        known = 1
        unknown: list[Value] = []
        for dim in dims:
            constant = dim if isinstance(dim, int) else known_integer(dim)
            if constant is None:
                assert isinstance(dim, Value)
                unknown.append(dim)
            else:
                known *= constant
        if not unknown or known == 0:
            return known
        total = unknown[0]
        for dim in unknown[1:]:
            total = builder.create(arith.MulI, total, dim).result
        if known != 1:
            c = builder.insert(arith.Constant.index(known)).result
            total = builder.create(arith.MulI, total, c).result
        return total


def _mixed(static: Sequence[int], dynamic: Sequence[Value]) -> list[Dim]:
    rest = iter(dynamic)
    return [size if size >= 0 else next(rest) for size in static]


def _empty(resolver: DimResolver, op: Any, value: Value) -> Sequence[Dim]:
    return _mixed(value.type.shape, op.operands)


def _cast(resolver: DimResolver, op: Any, value: Value) -> Sequence[Dim]:
    return resolver.dims(op.operands[0])


def _collapse(resolver: DimResolver, op: Any, value: Value) -> Sequence[Dim]:
    source = resolver.dims(op.operands[0])
    builder = Builder.before_op(op)
    return [resolver.product([source[i] for i in group], builder) for group in op.groups]


def _expand(resolver: DimResolver, op: Any, value: Value) -> Sequence[Dim]:
    return list(op.mixed_output_shape)


def _slice(resolver: DimResolver, op: Any, value: Value) -> Sequence[Dim]:
    sizes = list(op.mixed_sizes)
    if len(sizes) == value.type.rank:
        return sizes
    # Rank-reduced: unit sizes were dropped from the left-most possible positions.
    dims: list[Dim] = []
    i = 0
    for size in value.type.shape:
        while sizes[i] == 1 and size != 1 and len(sizes) - i > value.type.rank - len(dims):
            i += 1
        dims.append(sizes[i])
        i += 1
    return dims


def _destination(position: int) -> Any:
    return lambda resolver, op, value: resolver.dims(op.operands[position])


def _pad(resolver: DimResolver, op: Any, value: Value) -> Sequence[Dim]:
    builder = Builder.before_op(op)
    dims: list[Dim] = []
    for size, low, high in zip(resolver.dims(op.source), op.mixed_low, op.mixed_high, strict=True):
        total: Dim = size
        for extra in (low, high):
            total = _sum(resolver, total, extra, builder)
        dims.append(total)
    return dims


def _sum(resolver: DimResolver, a: Dim, b: Dim, builder: Builder) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0:
        return b
    if b == 0:
        return a
    return builder.create(arith.AddI, resolver.value(a), resolver.value(b)).result


def _concat(resolver: DimResolver, op: Any, value: Value) -> Sequence[Dim]:
    builder = Builder.before_op(op)
    parts = [resolver.dims(v) for v in op.inputs]
    dims: list[Dim] = list(parts[0])
    axis = op.dim.value
    total: Dim = parts[0][axis]
    for part in parts[1:]:
        total = _sum(resolver, total, part[axis], builder)
    dims[axis] = total
    return dims


def _result_dims(resolver: DimResolver, op: Any, value: OpResult) -> Sequence[Dim]:
    dynamic = list(op.result_dims)
    for result in op.results[: value.index]:
        dynamic = dynamic[result.type.n_dynamic :]
    return _mixed(value.type.shape, dynamic)


_RULES: dict[str, Any] = {
    "tensor.empty": _empty,
    "tensor.splat": lambda r, op, v: _mixed(v.type.shape, op.operands[1:]),
    "tensor.generate": _empty,
    "tensor.cast": _cast,
    "tensor.collapse_shape": _collapse,
    "tensor.expand_shape": _expand,
    "tensor.extract_slice": _slice,
    "tensor.insert_slice": _destination(1),
    "tensor.insert": _destination(1),
    "tensor.pad": _pad,
    "tensor.concat": _concat,
    "flow.dispatch": _result_dims,
    "flow.dispatch.region": _result_dims,
    "flow.tensor.reshape": _result_dims,
    "flow.tensor.tie_shape": _result_dims,
    "flow.tensor.slice": _result_dims,
    "flow.tensor.concat": _result_dims,
}
