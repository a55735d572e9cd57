"""Numpy meanings of ``linalg_ext``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from iree_core_ir.dialects import linalg_ext
from iree_core_ir.dialects.linalg_ext_base import LinalgExtOp
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters import floats, integers
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.interpreters.memory import check_indices, strided
from iree_core_ir.interpreters.tensor import dtype_of
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.types import FloatType, MemRefType, element_of

Array = np.ndarray[Any, Any]


def deliver(op: LinalgExtOp, operands: Sequence[Any], results: Sequence[Array]) -> Any:
    """Results of tensor outputs; memref outputs are written. Raises CoreIrError 12 on a wrong shape."""
    given = []
    outputs = operands[len(op.inputs) :]
    for value, output, result in zip(op.outputs, outputs, results, strict=True):
        result = np.asarray(result, dtype_of(value.type))
        if result.shape != output.shape:
            raise CoreIrError(12, f"gives shape {list(result.shape)} to an output of {list(output.shape)}")
        if isinstance(value.type, MemRefType):
            output[...] = result
        else:
            given.append(result)
    return given[0] if len(given) == 1 else tuple(given)


@implements(linalg_ext.Softmax)
def softmax(frame: Frame, op: linalg_ext.Softmax, source: Array, output: Array) -> Any:
    f = float_format(op.inputs[0].type.element_type)
    return deliver(op, (source, output), [f.narrow(stable_softmax(f.widen(source), op.dimension.value))])


def stable_softmax(x: Array, axis: int) -> Array:
    """Softmax in the precision of ``x``."""
    if x.shape[axis] == 0:
        return x
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


@implements(linalg_ext.Gather)
def gather(frame: Frame, op: linalg_ext.Gather, source: Array, indices: Array, output: Array) -> Any:
    axis = op.axis.value
    size = source.shape[axis]
    positions = indices.astype(np.int64)
    check_indices([positions], [size])
    if size == 0:
        result = np.zeros((*source.shape[:axis], *indices.shape, *source.shape[axis + 1 :]), source.dtype)
    else:
        result = np.take(source, positions, axis=axis)
    return deliver(op, (source, indices, output), [result])


_SCAN_FLOAT: dict[str, str] = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}
_SCAN_INTEGER: dict[str, str] = {"add": "add", "mul": "mul", "max": "maxs", "min": "mins"}


def _step(kind: str, type: Type) -> Callable[[Any, Any], Any]:
    """The scan's combination, on accumulators."""
    if isinstance(type, FloatType):
        return floats.BINARY[_SCAN_FLOAT[kind]]
    g = integer_format(type)
    kernel = integers.BINARY[_SCAN_INTEGER[kind]]
    return lambda a, b: g.wrap(kernel(g, a, b))


def neutral(kind: str, type: Any) -> Any:
    """The element that combines to the other operand."""
    if kind in ("add", "mul"):
        return 0 if kind == "add" else 1
    if isinstance(type, FloatType):
        return -np.inf if kind == "max" else np.inf
    width = getattr(type, "width", 64)
    if width == 1:
        return kind == "max"  # signed: true is -1, the least
    return -(1 << (width - 1)) if kind == "max" else (1 << (width - 1)) - 1


def converted(value: Array, source: Type, target: Type) -> Array:
    """Numbers of one element type as another: integers signed (i1: 0 or 1), narrowing wraps or rounds."""
    if source is target:
        return value
    if isinstance(target, FloatType):
        f = float_format(target)
        if isinstance(source, FloatType):
            return np.asarray(f.narrow(float_format(source).widen(value)))
        return np.asarray(floats.from_integer(f, value.astype(np.int64)))
    g = integer_format(target)
    if isinstance(source, FloatType):
        wide = floats.to_integer(float_format(source).widest(value), g.width, True)
        return np.asarray(g.wrap(np.asarray(wide).astype(g.unsigned)))
    return np.asarray(g.wrap(value.astype(np.int64).astype(g.unsigned)))


@implements(linalg_ext.Scan)
def scan(frame: Frame, op: linalg_ext.Scan, source: Array, output: Array) -> Any:
    axis, kind = op.dimension.value, op.kind.value
    type = element_of(op.outputs[0].type)
    values = np.moveaxis(converted(source, element_of(op.inputs[0].type), type), axis, 0)
    if op.reverse is not None:
        values = values[::-1]
    step = _step(kind, type)
    is_float = isinstance(type, FloatType)
    lanes = float_format(type).widen(values) if is_float else values
    result = np.empty(values.shape, lanes.dtype)
    current = np.full(values.shape[1:], neutral(kind, type), lanes.dtype)
    exclusive = op.exclusive is not None
    for i in range(len(lanes)):
        if exclusive:
            result[i] = current
        current = step(current, lanes[i]) if exclusive or i else lanes[i]
        if not exclusive:
            result[i] = current
    if is_float:
        result = float_format(type).narrow(result)
    if op.reverse is not None:
        result = result[::-1]
    return deliver(op, (source, output), [np.moveaxis(result, 0, axis)])


def order(source: Array, axis: int, descending: bool) -> Array:
    """Positions that sort along ``axis``, stably; NaN counts as the greatest."""
    keys = np.asarray(source)
    if keys.dtype.kind == "V" or (keys.dtype.itemsize == 1 and keys.dtype.kind not in "biu"):
        keys = keys.astype(np.float32)
    if not descending:
        # numpy sorts NaN last and is stable.
        return np.argsort(keys, axis=axis, kind="stable")
    # Sorting the reversed sequence ascending and reversing keeps equal elements in their order.
    flipped = np.argsort(np.flip(keys, axis), axis=axis, kind="stable")
    return np.flip(keys.shape[axis] - 1 - flipped, axis)


@implements(linalg_ext.Sort)
def sort(frame: Frame, op: linalg_ext.Sort, source: Array, *outputs: Array) -> Any:
    axis = op.dimension.value
    positions = order(source, axis, op.descending is not None)
    results = [np.take_along_axis(source, positions, axis), positions]
    return deliver(op, (source, *outputs), results[: len(outputs)])


@implements(linalg_ext.TopK)
def topk(frame: Frame, op: linalg_ext.TopK, source: Array, values: Array, indices: Array) -> Any:
    axis = op.dimension.value
    k = values.shape[axis]
    if k > source.shape[axis]:
        raise CoreIrError(12, f"takes {k} of {source.shape[axis]} elements")
    positions = order(source, axis, op.smallest is None)
    positions = positions[(*[slice(None)] * axis, slice(0, k))]
    taken = np.take_along_axis(source, positions, axis)
    return deliver(op, (source, values, indices), [taken, positions])


@implements(linalg_ext.Scatter)
def scatter(frame: Frame, op: linalg_ext.Scatter, updates: Array, indices: Array, original: Array) -> Any:
    dims = list(op.dimension_map.values)
    target = original if isinstance(op.outputs[0].type, MemRefType) else original.copy()
    positions = indices.astype(np.int64)
    check_indices([positions[..., i] for i in range(len(dims))], [original.shape[d] for d in dims])
    view = np.moveaxis(target, dims, range(len(dims)))
    batch = indices.shape[:-1]
    block = op.body
    yielded = block.terminator.operands[0]
    for point in product(*map(range, batch)):
        where = tuple(positions[point])
        if yielded is block.args[0]:
            view[where] = updates[point]
            continue
        for rest in np.ndindex(*updates.shape[len(batch) :]):
            new = frame.run_block(block, (updates[(*point, *rest)], view[(*where, *rest)]))[0]
            view[(*where, *rest)] = new
    return None if isinstance(op.outputs[0].type, MemRefType) else target


@implements(linalg_ext.Pack)
def pack(frame: Frame, op: linalg_ext.Pack, source: Array, *rest: Any) -> Any:
    *padding, output = rest
    tiles = dict(zip(op.inner_dims_pos.values, op.inner_tiles.values, strict=True))
    extra = [-size % tiles.get(i, 1) for i, size in enumerate(source.shape)]
    if any(extra) and not padding:
        raise CoreIrError(
            12, f"the tiles do not divide the shape {list(source.shape)}, and no padding is given"
        )
    if any(extra):
        padded = np.full([s + e for s, e in zip(source.shape, extra, strict=True)], padding[0], source.dtype)
        padded[tuple(slice(0, s) for s in source.shape)] = source
    else:
        padded = source
    split: list[int] = []
    outer: list[int] = []
    inner: dict[int, int] = {}
    for i, size in enumerate(padded.shape):
        outer.append(len(split))
        split.append(size // tiles.get(i, 1))
        if i in tiles:
            inner[i] = len(split)
            split.append(tiles[i])
    axes = [outer[i] for i in op.permutation(source.ndim)] + [inner[d] for d in op.inner_dims_pos.values]
    result = padded.reshape(split).transpose(axes)
    return deliver(op, (source, *padding, output), [result])


@implements(linalg_ext.UnPack)
def unpack(frame: Frame, op: linalg_ext.UnPack, source: Array, output: Array) -> Any:
    rank = output.ndim
    permutation = list(op.permutation(rank))
    position = {d: rank + i for i, d in enumerate(op.inner_dims_pos.values)}
    axes: list[int] = []
    shape: list[int] = []
    for i in range(rank):
        axes.append(permutation.index(i))
        size = source.shape[axes[-1]]
        if i in position:
            axes.append(position[i])
            size *= source.shape[position[i]]
        shape.append(size)
    if any(s < n or s - n >= _tile(op, i) for i, (s, n) in enumerate(zip(shape, output.shape, strict=True))):
        raise CoreIrError(12, f"unpacks {shape} elements to {list(output.shape)}")
    plain = source.transpose(axes).reshape(shape)
    return deliver(op, (source, output), [plain[tuple(slice(0, n) for n in output.shape)]])


def _tile(op: linalg_ext.UnPack, dim: int) -> int:
    tiles = dict(zip(op.inner_dims_pos.values, op.inner_tiles.values, strict=True))
    return int(tiles.get(dim, 1))


@implements(linalg_ext.Im2Col)
def im2col(frame: Frame, op: linalg_ext.Im2Col, source: Array, output: Array) -> Any:
    kernel = list(op.kernel.values)
    positions = [max(p, 0) for p in op.positions(source.shape)]
    n, c = source.shape[:2]
    if 0 in positions or source.size == 0:
        result = np.zeros((n, c * int(np.prod(kernel)), int(np.prod(positions))), source.dtype)
        return deliver(op, (source, output), [result])
    space = source.strides[2:]
    steps = [
        *source.strides[:2],
        *(s * d for s, d in zip(space, op.dilations.values, strict=True)),
        *(s * d for s, d in zip(space, op.strides.values, strict=True)),
    ]
    view = strided(source, (n, c, *kernel, *positions), steps, False)
    result = view.reshape(n, c * int(np.prod(kernel)), int(np.prod(positions)))
    return deliver(op, (source, output), [result])


from iree_core_ir.interpreters import linalg_ext_attention as linalg_ext_attention  # noqa: E402
from iree_core_ir.interpreters import linalg_ext_recurrence as linalg_ext_recurrence  # noqa: E402
