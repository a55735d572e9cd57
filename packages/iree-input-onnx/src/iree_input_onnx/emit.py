"""``Emitter``: tensors in, idiomatic ``linalg``/``tensor`` ops out.

Every op lowering goes through here, so that shapes (``Dim``) and IR types always agree and constants stay
constants as long as possible: shape-only steps (reshape, transpose, slice) on them become ConstantStore
transforms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import arith, cf, linalg, tensor
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.types import TensorType
from iree_input_onnx.dims import Dim, product
from iree_input_onnx.elements import ir_type
from iree_input_onnx.emit_elementwise import MAX_FOLD_ELEMENTS, ElementwiseEmitter
from iree_input_onnx.emit_values import (
    PARALLEL,
    REDUCTION,
    body_index,
    extract,
    number_scalar,
    plain_number,
    static_shape,
)
from iree_input_onnx.indexing import group_shape, reshape_groups
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.values import MAX_HOST_ELEMENTS, Tensor


class Emitter(ElementwiseEmitter):
    """Emits at ``builder`` (in the function's entry block), constants into ``constants``."""

    # -- shape only --------------------------------------------------------------------------

    def reshape(self, t: Tensor, shape: Sequence[Dim]) -> Tensor:
        """The elements in row-major order under another shape of as many elements."""
        shape = tuple(shape)
        if shape == t.shape:
            return t
        static = tuple(d for d in shape if isinstance(d, int))
        if 0 in static:
            return self.splat(0, shape, t.element)
        if len(static) == len(shape):
            if t.n_elements is not None and t.n_elements != math.prod(static):
                raise ValueError(f"cannot reshape {list(t.shape)} to {list(shape)}")
            if t.splat is not None:
                return self.splat(t.splat, shape, t.element)
            if t.array is not None:
                return self.constant(t.array.reshape(static), t.element, t.name)
            if t.key is not None:
                return self.transform("reshape", [t], static, {})
            if t.scalars is not None and t.value is None:
                return Tensor(t.element, shape, scalars=t.scalars)
        elif t.splat is not None:
            return self.splat(t.splat, shape, t.element)
        before, after = product(t.shape), product(shape)
        if before != after:
            counts = self.index(before), self.index(after)
            same = self.builder.create(arith.CmpI, "eq", *counts).result
            self.builder.create(cf.Assert, same, "a shape does not fit the elements")
        groups = reshape_groups(t.shape, shape)
        if not t.shape or not shape:
            groups = []
        value = self.value(t)
        middle = group_shape(t.shape, [source for source, _ in groups])
        known = group_shape(shape, [target for _, target in groups])
        # A dim may be static on one side of the reshape only (the other product is symbolic).
        middle = [b if isinstance(b, int) else a for a, b in zip(middle, known, strict=True)]
        if (not groups and t.shape) or any(len(source) != 1 for source, _ in groups):
            type = TensorType(static_shape(middle), ir_type(t.element))
            value = self.builder.create(
                tensor.CollapseShape, value, [source for source, _ in groups], type
            ).result
        if (not groups and shape) or any(len(target) != 1 for _, target in groups):
            value = self.builder.create(
                tensor.ExpandShape, value, [target for _, target in groups], self.mixed(shape)
            ).result
        elif value.type.shape != static_shape(shape):
            value = tensor.cast_to(self.builder, value, TensorType(static_shape(shape), ir_type(t.element)))
        return self.tensor(value, shape, t.element)

    def squeeze(self, t: Tensor, axes: Sequence[int]) -> Tensor:
        """Without the unit dims ``axes``."""
        return self.reshape(t, [d for i, d in enumerate(t.shape) if i not in axes])

    def unsqueeze(self, t: Tensor, axes: Sequence[int]) -> Tensor:
        """With unit dims at ``axes`` of the result."""
        shape = list(t.shape)
        for axis in sorted(axes):
            shape.insert(axis, 1)
        return self.reshape(t, shape)

    def transpose(self, t: Tensor, permutation: Sequence[int]) -> Tensor:
        """``result.shape[i] == t.shape[permutation[i]]``."""
        permutation = list(permutation)
        shape = [t.shape[p] for p in permutation]
        if permutation == sorted(permutation):
            return t
        if t.splat is not None:
            return self.splat(t.splat, shape, t.element)
        moved = [p for p in permutation if t.shape[p] != 1]
        if moved == sorted(moved):
            return self.reshape(t, shape)
        if t.array is not None:
            return self.constant(np.ascontiguousarray(t.array.transpose(permutation)), t.element, t.name)
        if t.key is not None:
            return self.transform("transpose", [t], static_shape(shape), {"permutation": permutation})
        op = linalg.Transpose.make(self.value(t), self.empty(shape, t.element), permutation)
        return self.named(op, shape, t.element)

    def slice(
        self, t: Tensor, offsets: Sequence[Dim], sizes: Sequence[Dim], strides: Sequence[int] | None = None
    ) -> Tensor:
        """A box of ``t``; strides are positive."""
        sizes = tuple(sizes)
        steps = [1] * t.rank if strides is None else list(strides)
        if sizes == t.shape and all(s == 1 for s in steps):
            return t
        if 0 in sizes:
            return self.splat(0, sizes, t.element)
        if t.splat is not None:
            return self.splat(t.splat, sizes, t.element)
        if all(isinstance(d, int) for d in (*offsets, *sizes)) and t.static_shape is not None:
            box = tuple(
                slice(int(o), int(o) + (int(n) - 1) * s + 1, s)  # type: ignore[arg-type]
                for o, n, s in zip(offsets, sizes, steps, strict=True)
            )
            if t.array is not None:
                return self.constant(t.array[box], t.element)
            if t.scalars is not None and t.value is None:
                grid = np.empty(t.static_shape, object)
                grid.reshape(-1)[:] = t.scalars
                return Tensor.host(list(grid[box].reshape(-1)), static_shape(sizes), t.element)
            if t.key is not None:
                where = {"offsets": list(offsets), "sizes": list(sizes), "strides": steps}
                return self.transform("slice", [t], static_shape(sizes), where)
        op = self.builder.create(
            tensor.ExtractSlice, self.value(t), self.mixed(offsets), self.mixed(sizes), steps
        )
        return self.tensor(op.result, sizes, t.element)

    def concat(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """One after the other along ``axis``."""
        tensors = [t for t in tensors if t.shape[axis] != 0] or list(tensors[:1])
        if len(tensors) == 1:
            return tensors[0]
        first = tensors[0]
        shape = list(first.shape)
        for t in tensors[1:]:
            shape[axis] = shape[axis] + t.shape[axis]
        for other in range(len(shape)):
            known = [t.shape[other] for t in tensors if isinstance(t.shape[other], int)]
            if other != axis and known:
                if len(set(known)) > 1:
                    raise ValueError(f"sizes {known} of dimension {other} differ")
                shape[other] = known[0]
        count = self._count(shape)
        if count is not None and all(t.scalars is not None or t.is_constant for t in tensors):
            if count <= MAX_FOLD_ELEMENTS and all(t.is_constant for t in tensors):
                arrays = [a for a in map(self.array, tensors) if a is not None]
                return self.constant(np.concatenate(arrays, axis), first.element)
            if count <= MAX_HOST_ELEMENTS:
                grids = []
                for t in tensors:
                    grid = np.empty(t.static_shape or (), object)
                    grid.reshape(-1)[:] = self.scalars(t)
                    grids.append(grid)
                joined = np.concatenate(grids, axis)
                return Tensor.host(list(joined.reshape(-1)), static_shape(shape), first.element)
        if all(t.is_constant for t in tensors):
            return self.transform("concat", tensors, static_shape(shape), {"axis": axis})
        type = TensorType(static_shape(shape), ir_type(first.element))
        op = self.builder.create(tensor.Concat, axis, [self.value(t) for t in tensors], type)
        return self.tensor(op.result, shape, first.element)

    def _count(self, shape: Sequence[Dim]) -> int | None:
        if any(not isinstance(d, int) for d in shape):
            return None
        return math.prod(d for d in shape if isinstance(d, int))

    def pad(self, t: Tensor, low: Sequence[Dim], high: Sequence[Dim], number: Any) -> Tensor:
        """``t`` with ``number`` around it (elements taken away where negative)."""
        if all(d == 0 for d in (*low, *high)):
            return t
        shape = [a + d + b for a, d, b in zip(low, t.shape, high, strict=True)]
        padding = (
            number if isinstance(number, Scalar) else self.number(plain_number(number, t.element), t.element)
        )
        op = self.builder.create(
            tensor.Pad,
            self.value(t),
            self.mixed(low),
            self.mixed(high),
            padding.value,
            TensorType(static_shape(shape), ir_type(t.element)),
        )
        op.region.block.terminator.location = self.builder.location
        return self.tensor(op.result, shape, t.element)

    # -- reductions --------------------------------------------------------------------------

    def reduce(
        self,
        t: Tensor,
        axes: Sequence[int],
        element: ElementType,
        number: Any,
        body: Callable[[Scalar, Scalar], Scalar],
        keep: bool = False,
    ) -> Tensor:
        """``acc = body(acc, x)`` over ``axes`` from ``number`` on, in ``element``."""
        kept = [i for i in range(t.rank) if i not in axes]
        shape = [t.shape[i] for i in kept]
        maps = [AffineMap.identity(t.rank), AffineMap.select(t.rank, kept)]
        iterators = [REDUCTION if i in axes else PARALLEL for i in range(t.rank)]
        destination = (self.filled(shape, element, number), shape, element)
        result = self.generic([t], maps, iterators, [destination], lambda b, x, acc: body(acc, x))[0]
        return self.unsqueeze(result, axes) if keep else result


__all__ = ["PARALLEL", "REDUCTION", "Emitter", "body_index", "extract", "number_scalar"]
