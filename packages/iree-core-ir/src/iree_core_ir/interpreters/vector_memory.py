"""Numpy meanings of ``vector`` loads, stores, gathers, scatters and transfers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects import vector_memory as vector
from iree_core_ir.dialects.vector_memory import mask_shape
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.ir.affine import AffineDim
from iree_core_ir.ir.types import MemRefType, TensorType, VectorType

Array = np.ndarray[Any, Any]


def _lanes(base: Array, indices: Sequence[int], shape: Sequence[int]) -> list[Array]:
    """Per base dim the index of every lane, shaped to broadcast to the vector's ``shape``."""
    lead = base.ndim - len(shape)
    index: list[Array] = [np.asarray(i) for i in indices[:lead]]
    for axis, (start, size) in enumerate(zip(indices[lead:], shape, strict=True)):
        lane_shape = [1] * len(shape)
        lane_shape[axis] = size
        index.append((np.arange(size) + start).reshape(lane_shape))
    return index


def _check(base: Array, lanes: Sequence[Array], active: Array) -> None:
    """Active lanes lie inside the base. Raises CoreIrError 12."""
    for axis, (index, size) in enumerate(zip(lanes, base.shape, strict=True)):
        bad = ((index < 0) | (index >= size)) & active
        if np.any(bad):
            found = int(np.broadcast_to(index, bad.shape)[bad].ravel()[0])
            raise CoreIrError(12, f"a lane at index {found} is outside dim {axis} of size {size}")


def _read(base: Array, lanes: Sequence[Array], active: Array, otherwise: Array) -> Array:
    """The active lanes from ``base``, the others from ``otherwise``."""
    _check(base, lanes, active)
    if base.size == 0:
        return np.array(otherwise)
    safe = tuple(np.clip(index, 0, size - 1) for index, size in zip(lanes, base.shape, strict=True))
    return np.where(active, base[safe], otherwise)


def _write(base: Array, lanes: Sequence[Array], active: Array, value: Array) -> None:
    """Store the active lanes, in row-major order."""
    _check(base, lanes, active)
    where = tuple(np.broadcast_to(index, value.shape)[active] for index in lanes)
    base[where] = value[active]


@implements(vector.Load)
def load(frame: Frame, op: vector.Load, base: Array, *indices: int) -> Array:
    shape = op.result.type.shape
    if len(shape) == 1 == base.ndim and 0 <= indices[0] <= base.shape[0] - shape[0]:
        return base[indices[0] : indices[0] + shape[0]].copy()
    return np.array(
        _read(base, _lanes(base, indices, shape), np.ones(shape, np.bool_), np.zeros(shape, base.dtype))
    )


@implements(vector.Store)
def store(frame: Frame, op: vector.Store, value: Array, base: Array, *indices: int) -> None:
    _write(base, _lanes(base, indices, value.shape), np.ones(value.shape, np.bool_), value)


@implements(vector.MaskedLoad)
def maskedload(frame: Frame, op: vector.MaskedLoad, base: Array, *rest: Any) -> Array:
    *indices, mask, pass_thru = rest
    return _read(base, _lanes(base, indices, mask.shape), mask, pass_thru)


@implements(vector.MaskedStore)
def maskedstore(frame: Frame, op: vector.MaskedStore, base: Array, *rest: Any) -> None:
    *indices, mask, value = rest
    _write(base, _lanes(base, indices, mask.shape), mask, value)


def _packed(base: Array, indices: Sequence[int], mask: Array) -> list[Array]:
    """Lanes where each set mask bit of the last dim takes the next element."""
    lanes = _lanes(base, indices, mask.shape)
    counted = np.cumsum(mask, axis=-1) - 1
    return [*lanes[:-1], counted + indices[-1]]


@implements(vector.ExpandLoad)
def expandload(frame: Frame, op: vector.ExpandLoad, base: Array, *rest: Any) -> Array:
    *indices, mask, pass_thru = rest
    return _read(base, _packed(base, indices, mask), mask, pass_thru)


@implements(vector.CompressStore)
def compressstore(frame: Frame, op: vector.CompressStore, base: Array, *rest: Any) -> None:
    *indices, mask, value = rest
    _write(base, _packed(base, indices, mask), mask, value)


def _flat_lanes(base: Array, indices: Sequence[int], offsets: Array) -> list[Array]:
    """Lanes ``offsets`` elements past ``base[indices]``, counted row-major."""
    start = 0
    for index, size in zip(indices, base.shape, strict=True):
        start = start * size + index
    positions = np.asarray(offsets).astype(np.int64) + start
    lanes: list[Array] = []
    for axis in range(base.ndim - 1, 0, -1):
        size = max(base.shape[axis], 1)
        lanes.insert(0, positions % size)
        positions = positions // size
    return [positions, *lanes]


@implements(vector.Gather)
def gather(frame: Frame, op: vector.Gather, base: Array, *rest: Any) -> Array:
    *indices, offsets, mask, pass_thru = rest
    return _read(base, _flat_lanes(base, indices, offsets), mask, pass_thru)


@implements(vector.Scatter)
def scatter(frame: Frame, op: vector.Scatter, base: Array, *rest: Any) -> None:
    *indices, offsets, mask, value = rest
    _write(base, _flat_lanes(base, indices, offsets), mask, value)


# -- transfers ------------------------------------------------------------------------------------


def _transfer(op: Any, base: Array, indices: Sequence[int], mask: Array | None) -> tuple[list[Array], Array]:
    """Per base dim the lanes' indices, and which lanes take part (in bounds, not masked off)."""
    type: VectorType = op.vector_type
    permutation = op.permutation
    lanes: list[Array] = [np.asarray(i) for i in indices]
    active = np.ones(type.shape, np.bool_)
    for axis, (expr, size) in enumerate(zip(permutation.results, type.shape, strict=True)):
        if not isinstance(expr, AffineDim):
            continue
        shape = [1] * type.rank
        shape[axis] = size
        lane = (np.arange(size) + indices[expr.position]).reshape(shape)
        lanes[expr.position] = lane
        if not op.bounds[axis]:
            active = active & (lane >= 0) & (lane < base.shape[expr.position])
    if mask is not None:
        active = active & _mask_on_lanes(op, mask, type)
    return lanes, active


def _mask_on_lanes(op: Any, mask: Array, type: VectorType) -> Array:
    """A transfer's mask, which follows the base's dims, laid over the vector's."""
    dims = [e.position if isinstance(e, AffineDim) else None for e in op.permutation.results]
    used = sorted(d for d in dims if d is not None)
    if not used:
        return np.broadcast_to(mask.reshape([1] * type.rank), type.shape)
    assert mask.shape == mask_shape(op.permutation, type)
    order = [used.index(d) for d in dims if d is not None]
    spread = mask.transpose(order).reshape(
        [1 if d is None else n for d, n in zip(dims, type.shape, strict=True)]
    )
    return np.broadcast_to(spread, type.shape)


@implements(vector.TransferRead)
def transfer_read(frame: Frame, op: vector.TransferRead, base: Array, *rest: Any) -> Array:
    indices = rest[: len(op.indices)]
    padding = rest[len(op.indices)]
    mask = rest[len(op.indices) + 1] if op.mask is not None else None
    lanes, active = _transfer(op, base, indices, mask)
    return _read(base, lanes, active, np.asarray(padding, base.dtype))


@implements(vector.TransferWrite)
def transfer_write(frame: Frame, op: vector.TransferWrite, value: Array, base: Array, *rest: Any) -> Any:
    indices = rest[: len(op.indices)]
    mask = rest[len(op.indices)] if op.mask is not None else None
    target = base if isinstance(op.base.type, MemRefType) else base.copy()
    lanes, active = _transfer(op, target, indices, mask)
    _write(target, lanes, active, value)
    return target if isinstance(op.base.type, TensorType) else None
