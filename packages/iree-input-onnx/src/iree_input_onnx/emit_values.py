"""``ValueEmitter``: dims, constants, SSA values and destinations; the floor of the ``Emitter``.

Constants enter the IR when an op asks for their value: few elements and splats inline, others as resources of
the ConstantStore. Every destination is a ``tensor.empty``, filled where an op accumulates.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType, element_type
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.attributes import MAX_INLINE_ELEMENTS, DenseElementsAttr, DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import NameLoc
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType
from iree_input_onnx.dims import Dim, DimSpace
from iree_input_onnx.elements import ir_type, storage_name
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.values import MAX_HOST_ELEMENTS, Array, HostScalar, Tensor

Body = Callable[..., Any]
"""``(*scalars) -> scalar`` or a tuple of them, on ``Scalar``."""

PARALLEL, REDUCTION = "parallel", "reduction"


class ValueEmitter:
    """Emits at ``builder``, constants into ``constants``.

    The builder stands in the function's entry block, or in a block that ``inside`` was given.
    """

    def __init__(
        self, builder: Builder, constants: ConstantStore, load: Callable[[Any, str], Tensor]
    ) -> None:
        self.builder = builder
        self.constants = constants
        self.load = load
        """A TensorProto of the model and its name -> constant tensor."""
        self.space = DimSpace()
        self._broadcast: dict[tuple[Dim, Dim], Dim] = {}

    # -- regions -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Emit at the end of ``block`` for the duration.

        Values of tensors and dims from outside that are first needed there are made there, and forgotten
        afterwards: they do not reach further.
        """
        forgotten: list[Callable[[], None]] = []
        outer, self.space.undo = self.space.undo, forgotten.append
        try:
            with self.builder.into(block):
                yield
        finally:
            self.space.undo = outer
            for forget in reversed(forgotten):
                forget()

    def forget_later(self, forget: Callable[[], None]) -> None:
        """Call ``forget`` at the end of the region that is being written, if there is one."""
        self.space.forget_later(forget)

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
                t.scalars = tuple(int(v) if integers else self.number(v, t.element) for v in flat)
                if not integers:
                    self.forget_later(t.forget_scalars)
            else:
                t.scalars = tuple(self._read(t, position) for position in np.ndindex(*t.static_shape or ()))
                self.forget_later(t.forget_scalars)
        return t.scalars

    def number(self, number: Any, element: ElementType) -> Scalar:
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
            return self.number(host, element)
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
                number = plain_number(t.number, t.element)
                t.key = self.constants.add_splat(number, array.shape, stored, key=name)
            else:
                t.key = self.constants.add_array(array.view(plain_dtype(t.element)), stored, key=name)
        return t.key

    def transform(
        self, kind: str, tensors: Sequence[Tensor], shape: Sequence[int], parameters: dict[str, Any]
    ) -> Tensor:
        """A constant made from constants of one element type when the artefact is written."""
        element = tensors[0].element
        keys = [self._store(t) for t in tensors]
        key = self.constants.add_transform(kind, keys, tuple(shape), storage_name(element), parameters)
        return Tensor(element, shape, key=key, name=tensors[0].name)

    def widened(self, t: Tensor, element: ElementType) -> Tensor:
        """A constant of integers as those of ``element``, which has more bits; made when the artefact is
        written where the constant lies in the store."""
        if t.splat is not None:
            return self.splat(int(t.splat), t.shape, element)
        if t.key is not None:
            parameters = {"source": t.element.name}
            shape = self.constants[t.key].shape
            key = self.constants.add_transform("cast", [t.key], shape, storage_name(element), parameters)
            return Tensor(element, t.shape, key=key, name=t.name)
        array = self.array(t)
        assert array is not None
        return self.constant(array.astype(element.dtype), element, t.name)

    # -- values ------------------------------------------------------------------------------

    def value(self, t: Tensor) -> Value:
        """The SSA value of a tensor; constants, splats and host tensors enter the IR here."""
        if t.value is None:
            t.value = self._materialize(t)
            self.forget_later(t.forget_value)
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
            return DenseElementsAttr.from_splat(np.asarray(number).view(plain_dtype(t.element)), type)
        if t.array is not None and t.array.size <= MAX_INLINE_ELEMENTS:
            return DenseElementsAttr.from_array(
                np.ascontiguousarray(t.array).view(plain_dtype(t.element)), type
            )
        return DenseResourceAttr(self._store(t), type)

    def tensor(self, value: Value, shape: Sequence[Dim], element: ElementType) -> Tensor:
        """A tensor of the IR. Its type must say what ``shape`` says."""
        return Tensor(element, shape, value=value)

    # -- destinations ------------------------------------------------------------------------

    def empty(self, shape: Sequence[Dim], element: ElementType) -> Value:
        return self.builder.create(tensor.Empty, self.mixed(shape), ir_type(element)).result

    def filled(self, shape: Sequence[Dim], element: ElementType, number: Any) -> Value:
        """A destination with ``number`` everywhere."""
        scalar = self.number(np.asarray(number).astype(element.dtype).view(plain_dtype(element))[()], element)
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


def static_shape(shape: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else DYNAMIC for d in shape)


@functools.cache
def plain_dtype(element: ElementType) -> np.dtype[Any]:
    """The numpy dtype under which the IR stores ``element``: the signed one of the same width."""
    return element_type(storage_name(element)).dtype


def plain_number(number: Any, element: ElementType) -> Any:
    return np.asarray(number).astype(element.dtype).view(plain_dtype(element))[()]


def number_scalar(builder: Builder, t: Tensor) -> Scalar:
    """The one number of a constant as a scalar."""
    return Scalar.constant(builder, plain_number(t.number, t.element), t.element)


def body_index(builder: Builder, axis: int) -> Value:
    """The loop index ``axis`` inside a generic body."""
    return builder.create(linalg.Index, axis).result


def extract(builder: Builder, t: Tensor, value: Value, indices: Sequence[Value]) -> Scalar:
    """An element of another tensor inside a generic body; ``value`` is the tensor's, taken before."""
    return Scalar(builder, builder.create(tensor.Extract, value, indices).result, t.element)
