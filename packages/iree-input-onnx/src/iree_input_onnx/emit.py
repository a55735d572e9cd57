"""``Emitter``: tensors in, idiomatic ``linalg``/``tensor`` ops out.

Every op lowering goes through here, so that shapes (``Dim``) and IR types always agree, constants stay
constants as long as possible, and destinations are made in one way: ``tensor.empty``, filled where the op
accumulates. Shape-only steps (reshape, transpose, slice) on constants become ConstantStore transforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor, util
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import MAX_INLINE_ELEMENTS, DenseElementsAttr, DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import NameLoc
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType
from iree_input_onnx.dims import Dim, DimSpace, Expr, differ
from iree_input_onnx.elements import I1, I64, ir_type, storage_name
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import group_shape, reshape_groups
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.values import MAX_HOST_ELEMENTS, Array, HostScalar, Tensor

Body = Callable[..., Any]
"""``(*scalars) -> scalar`` or a tuple of them, on ``Scalar``."""

PARALLEL, REDUCTION = "parallel", "reduction"
MAX_FOLD_ELEMENTS = 1 << 16


class Emitter:
    """Emits at ``builder`` (in the function's entry block), constants into ``constants``."""

    def __init__(
        self, builder: Builder, constants: ConstantStore, load: Callable[[Any, str], Tensor]
    ) -> None:
        self.builder = builder
        self.constants = constants
        self.load = load
        """A TensorProto of the model and its name -> constant tensor."""
        self.space = DimSpace()
        self._broadcast: dict[tuple[Dim, Dim], Dim] = {}

    # -- dims --------------------------------------------------------------------------------

    def index(self, dim: Dim) -> Value:
        """``dim`` as an index value."""
        return self.space.value(dim, self.builder)

    def mixed(self, dims: Sequence[Dim]) -> list[Mixed]:
        """Static dims as integers, others as index values."""
        return [d if isinstance(d, int) else self.index(d) for d in dims]

    def dims(self, t: Tensor) -> list[Dim]:
        """The elements of an integer tensor as dims: known numbers, shape arithmetic, or read back."""
        if t.n_elements is None or t.n_elements > MAX_HOST_ELEMENTS:
            raise Unsupported("a shape or index list whose length is only known at run time")
        return [self._dim(s) for s in self.scalars(t)]

    def _dim(self, scalar: HostScalar) -> Dim:
        if not isinstance(scalar, Scalar):
            return scalar
        return self.space.symbol("read", scalar.to_index(), non_negative=False)

    def scalars(self, t: Tensor) -> tuple[HostScalar, ...]:
        """The elements of a small static tensor; read back from the device when not known on the host."""
        if t.scalars is None:
            array = self.array(t)
            if array is not None:
                integers = t.element.kind in "iub"
                flat = array.reshape(-1)
                t.scalars = tuple(int(v) if integers else self._number(v, t.element) for v in flat)
            else:
                t.scalars = tuple(self._read(t, position) for position in np.ndindex(*t.static_shape or ()))
        return t.scalars

    def _number(self, number: Any, element: ElementType) -> Scalar:
        return Scalar.constant(self.builder, number, element)

    def _read(self, t: Tensor, position: Sequence[int]) -> HostScalar:
        indices = [self.index(i) for i in position]
        value = self.builder.create(tensor.Extract, self.value(t), indices).result
        scalar = Scalar(self.builder, value, t.element)
        return self._dim(scalar) if t.element.kind in "iu" else scalar

    def scalar(self, host: HostScalar, element: ElementType) -> Scalar:
        """A host scalar as a scalar of the IR."""
        if isinstance(host, Scalar):
            return host
        if isinstance(host, int):
            return self._number(host, element)
        return Scalar.from_index(self.builder, self.index(host), element)

    # -- constants ---------------------------------------------------------------------------

    def array(self, t: Tensor) -> Array | None:
        """The elements when they are known now (large ones memory-mapped, a splat as a broadcast)."""
        if t.array is not None:
            return t.array
        if t.key is not None:
            stored = self.constants.array(t.key)
            return stored if stored.dtype == t.element.dtype else stored.view(t.element.dtype)
        shape = t.static_shape
        if t.splat is not None and shape is not None:
            return np.broadcast_to(np.asarray(t.splat, t.element.dtype), shape)
        if t.scalars is not None and t.element.kind in "iu" and all(isinstance(s, int) for s in t.scalars):
            return np.array(t.scalars, t.element.dtype).reshape(shape or ())
        return None

    def splat(self, number: Any, shape: Sequence[Dim], element: ElementType) -> Tensor:
        """``number`` everywhere."""
        return Tensor(element, shape, splat=np.asarray(number).astype(element.dtype)[()])

    def constant(self, array: Array, element: ElementType, name: str = "") -> Tensor:
        """A constant of an array that was computed here."""
        t = Tensor.constant(array, element)
        t.name = name
        return t

    def _store(self, t: Tensor) -> str:
        """The key of a constant, put into the ConstantStore when it is not there yet."""
        if t.key is None:
            array = self.array(t)
            assert array is not None
            stored = storage_name(t.element)
            name = t.name or None
            if t.number is not None:
                number = _plain_number(t.number, t.element)
                t.key = self.constants.add_splat(number, array.shape, stored, key=name)
            else:
                t.key = self.constants.add_array(array.view(_plain(t.element)), stored, key=name)
        return t.key

    def transform(self, kind: str, t: Tensor, shape: Sequence[int], parameters: dict[str, Any]) -> Tensor:
        """A constant made from the constant ``t`` when the artefact is written."""
        key = self.constants.add_transform(
            kind, [self._store(t)], tuple(shape), storage_name(t.element), parameters
        )
        return Tensor(t.element, shape, key=key, name=t.name)

    # -- values ------------------------------------------------------------------------------

    def value(self, t: Tensor) -> Value:
        """The SSA value of a tensor; constants, splats and host tensors enter the IR here."""
        if t.value is None:
            t.value = self._materialize(t)
        return t.value

    def _materialize(self, t: Tensor) -> Value:
        type = t.ir_type
        if t.is_constant and type.is_static:
            location = NameLoc(t.name) if t.name else self.builder.location
            with self.builder.at(location):
                return self.builder.create(arith.Constant, self._attribute(t, type)).result
        if t.splat is not None:
            return self.filled(t.shape, t.element, t.splat)
        assert t.scalars is not None
        elements = [self.scalar(s, t.element).value for s in t.scalars]
        return self.builder.create(tensor.FromElements, elements, type).result

    def _attribute(self, t: Tensor, type: TensorType) -> Any:
        number = t.number
        if number is not None:
            return DenseElementsAttr.from_splat(np.asarray(number).view(_plain(t.element)), type)
        if t.array is not None and t.array.size <= MAX_INLINE_ELEMENTS:
            return DenseElementsAttr.from_array(np.ascontiguousarray(t.array).view(_plain(t.element)), type)
        return DenseResourceAttr(self._store(t), type)

    def tensor(self, value: Value, shape: Sequence[Dim], element: ElementType) -> Tensor:
        """A tensor of the IR. Its type must say what ``shape`` says."""
        return Tensor(element, shape, value=value)

    # -- destinations ------------------------------------------------------------------------

    def empty(self, shape: Sequence[Dim], element: ElementType) -> Value:
        return self.builder.create(tensor.Empty, self.mixed(shape), ir_type(element)).result

    def filled(self, shape: Sequence[Dim], element: ElementType, number: Any) -> Value:
        """A destination with ``number`` everywhere."""
        scalar = self._number(np.asarray(number).astype(element.dtype).view(_plain(element))[()], element)
        op = linalg.Fill.make([scalar.value], [self.empty(shape, element)])
        return self.builder.insert(op).results[0]

    # -- structured ops ----------------------------------------------------------------------

    def generic(
        self,
        inputs: Sequence[Tensor],
        maps: Sequence[AffineMap],
        iterators: Sequence[str],
        outputs: Sequence[tuple[Value, Sequence[Dim], ElementType]],
        body: Body,
    ) -> list[Tensor]:
        """A ``linalg.generic``; ``outputs`` are (destination, shape, element), maps inputs first.

        ``body`` gets a Scalar per operand and returns one per output. Inside it ``body_index`` gives loop
        indices and ``extract`` reads other tensors.
        """
        elements = [t.element for t in inputs] + [element for _, _, element in outputs]

        def build(builder: Builder, *values: Value) -> list[Value]:
            arguments = [Scalar(builder, v, e) for v, e in zip(values, elements, strict=True)]
            made = body(builder, *arguments)
            return [s.value for s in (made if isinstance(made, (tuple, list)) else (made,))]

        values = [self.value(t) for t in inputs]
        op = linalg.generic(self.builder, values, [d for d, _, _ in outputs], maps, iterators, build)
        return [
            self.tensor(value, shape, element)
            for value, (_, shape, element) in zip(op.results, outputs, strict=True)
        ]

    def named(self, op: Op, shape: Sequence[Dim], element: ElementType) -> Tensor:
        """The single result of a structured op that is inserted here."""
        self.builder.insert(op)
        return self.tensor(op.results[0], shape, element)

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
        it); ``dims`` its meaning on dims, used for host tensors.
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
            if fold is not None and all(t.number is not None for t in inputs):
                shape = self.broadcast_shape([t.shape for t in inputs])
                with np.errstate(all="ignore"):
                    number = fold(*(np.asarray(t.number) for t in inputs))
                return self.splat(number, shape, element)
            return None
        static = np.broadcast_shapes(*[s for s in shapes if s is not None])
        count = int(np.prod(static, dtype=object))
        if all(t.is_constant for t in inputs):
            if fold is None or (count > MAX_FOLD_ELEMENTS and any(t.number is None for t in inputs)):
                return None
            with np.errstate(all="ignore"):
                if all(t.number is not None for t in inputs):
                    return self.splat(fold(*(np.asarray(t.number) for t in inputs)), static, element)
                arrays = [self.array(t) for t in inputs]
                return self.constant(np.asarray(fold(*arrays)).astype(element.dtype), element)
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
                    made = self._number(made, element)
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
        return found

    def broadcast_map(self, shape: Sequence[Dim], target: Sequence[Dim]) -> AffineMap | None:
        """The map from loops over ``target`` to an operand of ``shape``; None when a dim may be 1 or not."""
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
        if array is not None and len(static) == len(shape) and np.prod(static) <= MAX_FOLD_ELEMENTS:
            return self.constant(np.broadcast_to(array, static), t.element)
        if t.scalars is not None and len(static) == len(shape) and np.prod(static) <= MAX_HOST_ELEMENTS:
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
            if t.n_elements is not None and t.n_elements != int(np.prod(static, dtype=object)):
                raise ValueError(f"cannot reshape {list(t.shape)} to {list(shape)}")
            if t.splat is not None:
                return self.splat(t.splat, shape, t.element)
            if t.array is not None:
                return self.constant(t.array.reshape(static), t.element, t.name)
            if t.key is not None:
                return self.transform("reshape", t, static, {})
            if t.scalars is not None and t.value is None:
                return Tensor(t.element, shape, scalars=t.scalars)
        elif t.splat is not None:
            return self.splat(t.splat, shape, t.element)
        groups = reshape_groups(t.shape, shape)
        if not t.shape or not shape:
            groups = []
        value = self.value(t)
        middle = group_shape(t.shape, [source for source, _ in groups])
        known = group_shape(shape, [target for _, target in groups])
        # A dim may be static on one side of the reshape only (the other product is symbolic).
        middle = [b if isinstance(b, int) else a for a, b in zip(middle, known, strict=True)]
        if (not groups and t.shape) or any(len(source) != 1 for source, _ in groups):
            type = TensorType(_static(middle), ir_type(t.element))
            value = self.builder.create(
                tensor.CollapseShape, value, [source for source, _ in groups], type
            ).result
        if (not groups and shape) or any(len(target) != 1 for _, target in groups):
            value = self.builder.create(
                tensor.ExpandShape, value, [target for _, target in groups], self.mixed(shape)
            ).result
        elif value.type.shape != _static(shape):
            value = tensor.cast_to(self.builder, value, TensorType(_static(shape), ir_type(t.element)))
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
            return self.transform("transpose", t, _static(shape), {"permutation": permutation})
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
                return Tensor.host(list(grid[box].reshape(-1)), _static(sizes), t.element)
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
                return Tensor.host(list(joined.reshape(-1)), _static(shape), first.element)
        type = TensorType(_static(shape), ir_type(first.element))
        op = self.builder.create(tensor.Concat, axis, [self.value(t) for t in tensors], type)
        return self.tensor(op.result, shape, first.element)

    def _count(self, shape: Sequence[Dim]) -> int | None:
        if any(not isinstance(d, int) for d in shape):
            return None
        return int(np.prod(np.array(shape, object), dtype=object))

    def pad(self, t: Tensor, low: Sequence[Dim], high: Sequence[Dim], number: Any) -> Tensor:
        """``t`` with ``number`` around it (elements taken away where negative)."""
        if all(d == 0 for d in (*low, *high)):
            return t
        shape = [a + d + b for a, d, b in zip(low, t.shape, high, strict=True)]
        padding = (
            number
            if isinstance(number, Scalar)
            else self._number(_plain_number(number, t.element), t.element)
        )
        op = self.builder.create(
            tensor.Pad,
            self.value(t),
            self.mixed(low),
            self.mixed(high),
            padding.value,
            TensorType(_static(shape), ir_type(t.element)),
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


def _static(shape: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else DYNAMIC for d in shape)


def _plain(element: ElementType) -> np.dtype[Any]:
    """The numpy dtype under which the IR stores ``element``: the signed one of the same width."""
    from iree_base.element_types import element_type

    return element_type(storage_name(element)).dtype


def _plain_number(number: Any, element: ElementType) -> Any:
    return np.asarray(number).astype(element.dtype).view(_plain(element))[()]


def number_scalar(builder: Builder, t: Tensor) -> Scalar:
    """The one number of a constant as a scalar."""
    return Scalar.constant(builder, _plain_number(t.number, t.element), t.element)


def body_index(builder: Builder, axis: int) -> Value:
    """The loop index ``axis`` inside a generic body."""
    return builder.create(linalg.Index, axis).result


def extract(builder: Builder, t: Tensor, value: Value, indices: Sequence[Value]) -> Scalar:
    """An element of another tensor inside a generic body; ``value`` is the tensor's, taken before."""
    return Scalar(builder, builder.create(tensor.Extract, value, indices).result, t.element)


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


__all__ = ["I1", "I64", "PARALLEL", "REDUCTION", "Emitter", "body_index", "extract", "number_scalar"]
