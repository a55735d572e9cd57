"""Reductions and ArgMax/ArgMin -> ``linalg.generic`` with reduction loops; running sums -> ``linalg_ext``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import linalg_ext
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_input_onnx.dims import Dim, product
from iree_input_onnx.elements import I64, accumulator, is_float
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter, body_index
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axes, normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.shape import axes_of
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op, register_op
from iree_input_onnx.values import Tensor

_LARGEST = {"f8E4M3FN": 448.0, "f8E4M3FNUZ": 240.0, "f8E5M2": np.inf, "f8E5M2FNUZ": 57344.0}


def lowest(element: ElementType) -> Any:
    """What no number of the type is below."""
    if element.kind == "f":
        return -np.inf if not element.name.startswith("f8") else -_LARGEST[element.name]
    return False if element.kind == "b" else np.iinfo(element.dtype).min


def highest(element: ElementType) -> Any:
    """What no number of the type is above."""
    if element.kind == "f":
        return np.inf if not element.name.startswith("f8") else _LARGEST[element.name]
    return True if element.kind == "b" else np.iinfo(element.dtype).max


def dim_scalar(e: Emitter, builder: Builder, count: Dim, value: Any, element: ElementType) -> Scalar:
    """A dim as a scalar inside a body; ``value`` is its index value when it is dynamic."""
    if isinstance(count, int):
        return Scalar.constant(builder, count, element)
    return Scalar.from_index(builder, value, element)


def divide_by(e: Emitter, t: Tensor, count: Dim) -> Tensor:
    """Every element divided by a dim."""
    value = None if isinstance(count, int) else e.index(count)
    return e.elementwise([t], lambda x: x / dim_scalar(e, x.builder, count, value, t.element), t.element)


def mean(e: Emitter, t: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """The mean over ``axes``, summed in at least f32."""
    wide = accumulator(t.element)
    total = e.reduce(t, axes, wide, 0, lambda a, v: a + v.to(wide), keep)
    return convert(e, divide_by(e, total, product(t.shape[a] for a in axes)), t.element)


def reduction_axes(e: Emitter, node: Node, input_since: int) -> list[int] | None:
    """The axes of a Reduce op; None when the input is to be returned as it is."""
    x = node.input(0)
    given = axes_of(e, node, input_since)
    if given is None or (not given and node.since >= input_since):
        return None if node.int("noop_with_empty_axes", 0) else list(range(x.rank))
    return sorted(normalize_axes(given, x.rank))


_Step = Callable[[Scalar, Scalar], Scalar]
_SIMPLE: dict[str, tuple[Any, _Step]] = {
    "ReduceSum": (0, lambda a, v: a + v),
    "ReduceProd": (1, lambda a, v: a * v),
    "ReduceL1": (0, lambda a, v: a + v.abs()),
    "ReduceL2": (0, lambda a, v: a + v * v),
    "ReduceSumSquare": (0, lambda a, v: a + v * v),
    "ReduceLogSum": (0, lambda a, v: a + v),
    "ReduceMean": (0, lambda a, v: a + v),
}
_FINISH: dict[str, Callable[[Scalar], Scalar]] = {
    "ReduceL2": lambda x: x.sqrt(),
    "ReduceLogSum": lambda x: x.log(),
}
_BEFORE: dict[str, Callable[[Scalar], Scalar]] = {
    "ReduceL1": lambda x: x.abs(),
    "ReduceL2": lambda x: x.abs(),
    "ReduceSumSquare": lambda x: x * x,
    "ReduceLogSum": lambda x: x.log(),
}
"""What the op does to an element alone, when there are no axes to reduce."""


def _simple(op_type: str) -> None:
    number, step = _SIMPLE[op_type]
    finish, alone = _FINISH.get(op_type), _BEFORE.get(op_type)

    def lower(e: Emitter, node: Node) -> Tensor:
        x = node.input(0)
        axes = reduction_axes(e, node, 13 if op_type == "ReduceSum" else 18)
        if axes is None:
            return x if alone is None else e.elementwise([x], alone, x.element)
        if finish is not None and not is_float(x.element):
            raise Unsupported(f"element type {x.element.name}")
        wide = accumulator(x.element)
        keep = bool(node.int("keepdims"))
        result = e.reduce(x, axes, wide, number, lambda a, v: step(a, v.to(wide)), keep)
        if op_type == "ReduceMean":
            result = divide_by(e, result, product(x.shape[a] for a in axes))
        if finish is not None:
            result = e.elementwise([result], finish, wide)
        return convert(e, result, x.element)

    register_op(op_type, lower)


for _name in _SIMPLE:
    _simple(_name)


@onnx_op("ReduceMax", "ReduceMin")
def reduce_extreme(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    axes = reduction_axes(e, node, 18)
    if axes is None:
        return x
    keep = bool(node.int("keepdims"))
    if node.op_type == "ReduceMax":
        return e.reduce(x, axes, x.element, lowest(x.element), lambda a, v: a.maximum(v), keep)
    return e.reduce(x, axes, x.element, highest(x.element), lambda a, v: a.minimum(v), keep)


@onnx_op("ReduceLogSumExp")
def reduce_log_sum_exp(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    if not is_float(x.element):
        raise Unsupported(f"element type {x.element.name}")
    axes = reduction_axes(e, node, 18)
    if axes is None:
        return x
    wide = accumulator(x.element)
    x_wide = convert(e, x, wide)
    top = e.reduce(x_wide, axes, wide, lowest(wide), lambda a, v: a.maximum(v), keep=True)
    # An infinite maximum must not be subtracted from itself.
    shift = e.elementwise([top], lambda m: (m - m).equals(0).select(m, m.like(0)), wide)
    powers = e.elementwise([x_wide, shift], lambda v, m: (v - m).exp(), wide)
    total = e.reduce(powers, axes, wide, 0, lambda a, v: a + v, keep=True)
    result = e.elementwise([total, shift], lambda s, m: s.log() + m, wide)
    result = result if node.int("keepdims") else e.squeeze(result, axes)
    return convert(e, result, x.element)


@onnx_op("ArgMax", "ArgMin")
def arg_extreme(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    axis = normalize_axis(node.int("axis"), x.rank)
    largest, last = node.op_type == "ArgMax", bool(node.int("select_last_index", 0))
    kept = [i for i in range(x.rank) if i != axis]
    shape = [x.shape[i] for i in kept]
    start = lowest(x.element) if largest else highest(x.element)

    def body(builder: Builder, v: Scalar, best: Scalar, at: Scalar) -> list[Scalar]:
        index = Scalar.from_index(builder, body_index(builder, axis))
        better = (v > best) if largest else (v < best)
        if last:
            better = better | v.equals(best)
        better = better | (at < 0)
        if v.is_float:
            # As in numpy the first NaN wins.
            better = (better & ~best.is_nan()) | (v.is_nan() & ~best.is_nan())
        return [better.select(v, best), better.select(index, at)]

    maps = [AffineMap.identity(x.rank), *[AffineMap.select(x.rank, kept)] * 2]
    iterators = [REDUCTION if i == axis else PARALLEL for i in range(x.rank)]
    outputs = [(e.filled(shape, x.element, start), shape, x.element), (e.filled(shape, I64, -1), shape, I64)]
    result = e.generic([x], maps, iterators, outputs, body)[1]
    return e.unsqueeze(result, [axis]) if node.int("keepdims") else result


@onnx_op("CumSum", "CumProd")
def running(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    axes = e.array(node.input(1))
    if axes is None or axes.size != 1:
        raise Unsupported("an axis only known at run time")
    axis = normalize_axis(int(axes.reshape(-1)[0]), x.rank)
    wide = accumulator(x.element)
    op = linalg_ext.Scan.make(
        e.value(convert(e, x, wide)),
        e.empty(x.shape, wide),
        axis,
        "add" if node.op_type == "CumSum" else "mul",
        bool(node.int("exclusive", 0)),
        bool(node.int("reverse", 0)),
    )
    return convert(e, e.named(op, x.shape, wide), x.element)
