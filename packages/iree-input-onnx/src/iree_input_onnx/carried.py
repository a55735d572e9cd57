"""What passes the border of a subgraph: the same value either way, a few numbers of the host, or a tensor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from iree_base.records import field, record
from iree_core_ir.dialects import tensor
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType, i1, index
from iree_input_onnx.dims import Dim, known_at
from iree_input_onnx.elements import I1, ir_type
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.values import HostScalar, Tensor

Run = Callable[[Any, Sequence[Tensor]], list[Tensor]]
"""A subgraph and its inputs -> its outputs, lowered at the builder. Raises Unsupported where it has none."""
MAX_CARRIED = 8
"""Tensors of integers or booleans of up to so many elements pass as scalars of the host."""
FIXED, HOST, TENSOR = "fixed", "host", "tensor"
"""The kinds of what passes: known on both sides of the border, numbers of the host, a tensor."""


class RanksDiffer(Unsupported):
    """The value of one output would be of several ranks: what follows has to be lowered for each."""

    def __init__(self, node: Node, text: str) -> None:
        super().__init__(text)
        self.node = node


def on_host(e: Emitter, t: Tensor) -> bool:
    """A few integers or booleans that the host knows or computes."""
    count = t.n_elements
    if count is None or count > MAX_CARRIED or t.element.kind not in "iub":
        return False
    return t.scalars is not None or e.array(t) is not None


def _host_types(t: Tensor) -> list[Type]:
    return [i1 if t.element.kind == "b" else index] * (t.n_elements or 0)


def _host_values(e: Emitter, t: Tensor) -> list[Value]:
    if t.element.kind == "b":
        return [e.scalar(s, I1).value for s in e.scalars(t)]
    return [e.index(s) for s in e.dims(t)]


def _from_host(e: Emitter, like: Tensor, values: Sequence[Value]) -> Tensor:
    """The host tensor of ``values``, of the shape and element type of ``like``."""
    shape = like.static_shape
    assert shape is not None
    scalars: list[HostScalar] = []
    for value in values:
        if like.element.kind == "b":
            scalars.append(Scalar(e.builder, value, I1))
        else:
            scalars.append(e.space.symbol("carried", value, non_negative=False))
    return Tensor.host(scalars, shape, like.element)


def same(e: Emitter, a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are surely the same value, without asking the IR."""
    if a is b or (a.value is not None and a.value is b.value):
        return True
    if a.shape != b.shape or a.element != b.element or not (on_host(e, a) and on_host(e, b)):
        return False
    first, second = e.scalars(a), e.scalars(b)
    return not any(isinstance(s, Scalar) for s in (*first, *second)) and first == second


def _merged(node: Node, shapes: Sequence[Sequence[Dim | None]], mark: int) -> list[Dim | None]:
    """The dims that agree and that mean something outside; None for others."""
    if len({len(shape) for shape in shapes}) > 1:
        ranks = " and ".join(str(len(shape)) for shape in shapes)
        raise RanksDiffer(node, f"values of ranks {ranks} for one output")
    merged: list[Dim | None] = []
    for dims in zip(*shapes, strict=True):
        first = dims[0]
        agree = first is not None and all(d == first for d in dims) and known_at(first, mark)
        merged.append(first if agree else None)
    return merged


def tensor_type(t: Tensor, shape: Sequence[Dim | None]) -> TensorType:
    return TensorType([d if isinstance(d, int) else DYNAMIC for d in shape], ir_type(t.element))


def _bound(e: Emitter, like: Tensor, shape: Sequence[Dim | None], value: Value) -> Tensor:
    """A tensor that came out of a region or over a branch; dims that are not known are its own."""
    dims: list[Dim] = []
    for axis, dim in enumerate(shape):
        dims.append(e.space.symbol(f"dim{axis}", _dim_maker(e, value, axis)) if dim is None else dim)
    return Tensor(like.element, dims, value=value)


def _dim_maker(e: Emitter, value: Value, axis: int) -> Callable[[Builder], Value]:
    return lambda builder: builder.create(tensor.Dim, value, e.index(axis)).result


def cast(e: Emitter, t: Tensor, type: TensorType) -> Value:
    return tensor.cast_to(e.builder, e.value(t), type)


def discard(*blocks: Block) -> None:
    """Drop what blocks that are not used hold."""
    for block in blocks:
        for op in reversed(block.ops):
            op.drop_all_references()
        block.first = block.last = None


@contextlib.contextmanager
def kept_if_done(*blocks: Block) -> Iterator[None]:
    """Blocks that nothing holds when something is raised on the way use nothing either."""
    try:
        yield
    except Exception:
        discard(*blocks)
        raise


@record
class Carried:
    """A variable of a loop or an output of a conditional: how it passes.

    ``init`` is the value it has as ``fixed``, and what it is like as any other kind.
    """

    init: Tensor
    kind: str = FIXED
    shape: list[Dim | None] = field(default_factory=list)

    @classmethod
    def either(cls, e: Emitter, node: Node, sides: Sequence[Tensor], mark: int) -> Self:
        """One of two values, which a condition chooses."""
        a, b = sides
        if a.element != b.element:
            raise node.error(f"an output is {a.element.name} or {b.element.name}")
        if a is b:
            return cls(a)
        if on_host(e, a) and same(e, a, b):
            return cls(Tensor.host(e.scalars(a), a.static_shape or (), a.element))
        if a.shape == b.shape and on_host(e, a) and on_host(e, b):
            return cls(a, HOST)
        return cls(a, TENSOR, _merged(node, [a.shape, b.shape], mark))

    @property
    def types(self) -> list[Type]:
        if self.kind == FIXED:
            return []
        return _host_types(self.init) if self.kind == HOST else [tensor_type(self.init, self.shape)]

    def bind(self, e: Emitter, values: Sequence[Value]) -> Tensor:
        """The value inside the region or behind it."""
        if self.kind == FIXED:
            return self.init
        if self.kind == HOST:
            return _from_host(e, self.init, values)
        return _bound(e, self.init, self.shape, values[0])

    def values(self, e: Emitter, t: Tensor) -> list[Value]:
        """What ``t`` passes."""
        if self.kind == FIXED:
            return []
        return _host_values(e, t) if self.kind == HOST else [cast(e, t, tensor_type(t, self.shape))]

    def widen(self, e: Emitter, node: Node, now: Tensor, before: Tensor, mark: int) -> bool:
        """Make room for ``now``, which the body made of ``before``; tells whether that was needed."""
        if now.element != self.init.element:
            raise node.error(f"a variable is {self.init.element.name} and then {now.element.name}")
        if self.kind == FIXED and (now is before or same(e, now, before)):
            return False
        if self.kind != TENSOR and now.shape == self.init.shape and on_host(e, self.init) and on_host(e, now):
            changed, self.kind = self.kind != HOST, HOST
            return changed
        shape = _merged(node, [self.shape if self.kind == TENSOR else self.init.shape, now.shape], mark)
        changed = self.kind != TENSOR or shape != self.shape
        self.kind, self.shape = TENSOR, shape
        return changed


def truth(e: Emitter, t: Tensor) -> bool | Scalar:
    """A condition: known, or a scalar of the host (read back from the device where it was computed)."""
    if t.n_elements != 1:
        raise Unsupported("a condition of several elements, or of a number only known at run time")
    found = e.scalars(t)[0]
    if isinstance(found, int):
        return bool(found)
    scalar = found if isinstance(found, Scalar) else e.scalar(found, t.element)
    return scalar.to(I1)
