"""``ElementwiseEmitter``: numpy broadcasting -> ``linalg.generic``, or a constant or host tensor.

Static unit dims and missing leading ones repeat through the indexing maps. Dims not known to agree are
checked when the model runs (``util.broadcast_dim``), and an operand whose dim may turn out to be 1 is read at
index 0 then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import arith, util
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_input_onnx.dims import Dim, Expr, differ
from iree_input_onnx.emit_values import PARALLEL, Body, ValueEmitter, body_index, extract, number_scalar
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.values import MAX_HOST_ELEMENTS, HostScalar, Tensor

MAX_FOLD_ELEMENTS = 1 << 16
"""Constants up to this size are computed at import."""


class ElementwiseEmitter(ValueEmitter):
    """Adds elementwise ops and broadcasting."""

    def elementwise(
        self,
        inputs: Sequence[Tensor],
        body: Body,
        element: ElementType,
        fold: Callable[..., Any] | None = None,
        dims: Callable[..., Dim | None] | None = None,
    ) -> Tensor:
        """``body`` of the broadcast inputs, as an element of type ``element`` each.

        ``fold`` is its numpy meaning where that rounds exactly as the op does (constants are folded with
        it; None declines); ``dims`` its meaning on dims, used for host tensors.
        """
        folded = self._on_host(inputs, body, element, fold, dims)
        if folded is not None:
            return folded
        shape = self.broadcast_shape([t.shape for t in inputs])
        rank = len(shape)
        direct: list[Tensor] = []
        maps: list[AffineMap] = []
        how: list[Any] = []  # per input: its place in `direct`, a number, or (tensor, alignment) to extract
        for t in inputs:
            if t.number is not None:
                how.append(("number", t))
                continue
            map = self.broadcast_map(t.shape, shape)
            if map is None:
                how.append(("extract", (t, self.value(t), [self.index(d) for d in t.shape])))
                continue
            if t not in direct:
                direct.append(t)
                maps.append(map)
            how.append(("direct", direct.index(t)))

        def build(builder: Builder, *scalars: Scalar) -> Any:
            arguments = []
            for kind, given in how:
                if kind == "direct":
                    arguments.append(scalars[given])
                elif kind == "number":
                    arguments.append(number_scalar(builder, given))
                else:
                    source, value, sizes = given
                    arguments.append(_extract_broadcast(builder, source, value, sizes, rank))
            return body(*arguments)

        maps.append(AffineMap.identity(rank))
        destination = (self.empty(shape, element), shape, element)
        return self.generic(direct, maps, [PARALLEL] * rank, [destination], build)[0]

    def _on_host(
        self,
        inputs: Sequence[Tensor],
        body: Body,
        element: ElementType,
        fold: Callable[..., Any] | None,
        dims: Callable[..., Dim | None] | None,
    ) -> Tensor | None:
        """The result when all inputs are constants or small host tensors."""
        if not all(t.is_constant or t.scalars is not None for t in inputs):
            return None
        shapes = [t.static_shape for t in inputs]
        if any(s is None for s in shapes):
            number = self._folded(fold, [t.number for t in inputs])
            if number is None:
                return None
            return self.splat(number, self.broadcast_shape([t.shape for t in inputs]), element)
        static = np.broadcast_shapes(*[s for s in shapes if s is not None])
        count = math.prod(static)
        if all(t.is_constant for t in inputs):
            number = self._folded(fold, [t.number for t in inputs])
            if number is not None:
                return self.splat(number, static, element)
            if count > MAX_FOLD_ELEMENTS:
                return None
            array = self._folded(fold, [self.array(t) for t in inputs])
            return None if array is None else self.constant(array.astype(element.dtype), element)
        if count > MAX_HOST_ELEMENTS:
            return None
        columns = []
        for t in inputs:
            scalars = np.empty(t.static_shape or (), object)
            for position, scalar in zip(np.ndindex(scalars.shape), self.scalars(t), strict=True):
                scalars[position] = scalar
            columns.append(np.broadcast_to(scalars, static).reshape(-1))
        rows = list(zip(*columns, strict=True))
        return self._host_rows(rows, inputs, static, body, element, dims)

    @staticmethod
    def _folded(fold: Callable[..., Any] | None, operands: Sequence[Any]) -> Any:
        """``fold`` of known operands as an array; None when one is unknown or ``fold`` declines."""
        if fold is None or any(o is None for o in operands):
            return None
        with np.errstate(all="ignore"):
            result = fold(*map(np.asarray, operands))
        return None if result is None else np.asarray(result)

    def _host_rows(
        self,
        rows: list[tuple[HostScalar, ...]],
        inputs: Sequence[Tensor],
        shape: tuple[int, ...],
        body: Body,
        element: ElementType,
        dims: Callable[..., Dim | None] | None,
    ) -> Tensor:
        """One host scalar a row: through ``dims`` where that is defined, else as ops on scalars."""
        results: list[HostScalar] = []
        for row in rows:
            made: HostScalar | None = None
            if dims is not None and not any(isinstance(s, Scalar) for s in row):
                made = dims(*row)
                if made is not None and element.kind not in "iub":
                    made = self.number(made, element)
            if made is None:
                made = body(*(self.scalar(s, t.element) for s, t in zip(row, inputs, strict=True)))
                if element.kind in "iu":
                    assert isinstance(made, Scalar)
                    made = self._dim(made)
            results.append(made)
        return Tensor.host(results, shape, element)

    # -- broadcasting ------------------------------------------------------------------------

    def broadcast_shape(self, shapes: Sequence[Sequence[Dim]]) -> tuple[Dim, ...]:
        """The shape that ``shapes`` broadcast to; checked at run time where it is not known."""
        rank = max((len(s) for s in shapes), default=0)
        result: list[Dim] = []
        for axis in range(-rank, 0):
            dim: Dim = 1
            for shape in shapes:
                if len(shape) >= -axis:
                    dim = self._broadcast_dim(dim, shape[axis])
            result.append(dim)
        return tuple(result)

    def _broadcast_dim(self, a: Dim, b: Dim) -> Dim:
        if a == b or b == 1:
            return a
        if a == 1:
            return b
        if isinstance(a, int) and isinstance(b, int):
            raise ValueError(f"dimensions {a} and {b} do not broadcast")
        key = (a, b)
        found = self._broadcast.get(key)
        if found is None:
            if isinstance(a, Expr) and isinstance(b, Expr) and differ(a, 1) and differ(b, 1) and differ(a, b):
                raise ValueError(f"dimensions {a} and {b} do not broadcast")
            op = self.builder.create(util.BroadcastDim, self.index(a), self.index(b))
            static = next((d for d in key if isinstance(d, int)), None)
            found = self.space.symbol("broadcast", op.result) if static is None else static
            self._broadcast[key] = self._broadcast[b, a] = found
            self.forget_later(lambda: self._forget_broadcast(key))
        return found

    def _forget_broadcast(self, key: tuple[Dim, Dim]) -> None:
        self._broadcast.pop(key, None)
        self._broadcast.pop(key[::-1], None)

    def broadcast_map(self, shape: Sequence[Dim], target: Sequence[Dim]) -> AffineMap | None:
        """The map from loops over ``target`` to an operand of ``shape``; None when a dim may be 1 or not."""
        if shape == target:
            return AffineMap.identity(len(target))
        results: list[AffineExpr] = []
        first = len(target) - len(shape)
        for axis, dim in enumerate(shape):
            if dim == target[first + axis]:
                results.append(AffineDim(first + axis))
            elif dim == 1:
                results.append(AffineConstant(0))
            else:
                return None
        return AffineMap(len(target), 0, results)

    def broadcast_to(self, t: Tensor, shape: Sequence[Dim]) -> Tensor:
        """``t`` with exactly ``shape`` (to which its own broadcasts)."""
        shape = tuple(shape)
        if t.shape == shape:
            return t
        if t.number is not None:
            return self.splat(t.number, shape, t.element)
        array = self.array(t)
        static = tuple(d for d in shape if isinstance(d, int))
        if array is not None and len(static) == len(shape) and math.prod(static) <= MAX_FOLD_ELEMENTS:
            return self.constant(np.broadcast_to(array, static), t.element)
        if t.scalars is not None and len(static) == len(shape) and math.prod(static) <= MAX_HOST_ELEMENTS:
            scalars = np.empty(t.static_shape or (), object)
            for position, scalar in zip(np.ndindex(scalars.shape), t.scalars, strict=True):
                scalars[position] = scalar
            return Tensor.host(list(np.broadcast_to(scalars, static).reshape(-1)), static, t.element)
        rank = len(shape)
        destination = (self.empty(shape, t.element), shape, t.element)
        map = self.broadcast_map(t.shape, shape)
        if map is not None:
            maps = [map, AffineMap.identity(rank)]
            return self.generic([t], maps, [PARALLEL] * rank, [destination], lambda b, x, out: x)[0]
        value, sizes = self.value(t), [self.index(d) for d in t.shape]
        return self.generic(
            [],
            [AffineMap.identity(rank)],
            [PARALLEL] * rank,
            [destination],
            lambda b, out: _extract_broadcast(b, t, value, sizes, rank),
        )[0]


def _extract_broadcast(
    builder: Builder, t: Tensor, value: Value, sizes: Sequence[Value], rank: int
) -> Scalar:
    """The element of ``t`` at the current indices, 0 along dims that turn out to be 1."""
    zero = builder.insert(arith.Constant.index(0)).result
    one = builder.insert(arith.Constant.index(1)).result
    indices = []
    for axis, size in enumerate(sizes):
        is_one = builder.create(arith.CmpI, "eq", size, one).result
        here = body_index(builder, rank - len(sizes) + axis)
        indices.append(builder.create(arith.Select, is_one, zero, here).result)
    return extract(builder, t, value, indices)
