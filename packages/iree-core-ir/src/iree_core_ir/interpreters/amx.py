"""Numpy meanings of ``amx``: a tile is an array of its shape.

Products of bf16 are exact in f32; the order of their sum is numpy's, so results agree with a machine's up to
the rounding of the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import amx
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.tensor import dtype_of

Array = np.ndarray[Any, Any]


def _rows(op: Any, base: Array, at: int, stride: int, type: amx.TileType) -> list[slice]:
    """Where the tile's rows lie. Raises CoreIrError 12 when one is outside."""
    length = type.row_bytes // base.itemsize
    last = at + (type.rows - 1) * stride
    if min(at, last) < 0 or max(at, last) + length > base.size:
        raise CoreIrError(
            12, f"{op.name}: rows at {at} to {last} are outside of memory of {base.size}",
            source=op.location.user_text(),
        )  # fmt: skip
    return [slice(at + i * stride, at + i * stride + length) for i in range(type.rows)]


@implements(amx.TileZero)
def zero(frame: Frame, op: amx.TileZero) -> Array:
    return np.zeros(op.res.type.shape, dtype_of(op.res.type))


@implements(amx.TileLoad)
def load(frame: Frame, op: amx.TileLoad, base: Array, at: int, stride: int) -> Array:
    type = op.res.type
    rows = np.stack([base[row] for row in _rows(op, base, at, stride, type)])
    return rows.view(np.uint8).view(dtype_of(type)).reshape(type.shape)


@implements(amx.TileStore)
def store(frame: Frame, op: amx.TileStore, base: Array, at: int, value: Array, stride: int) -> None:
    raw = np.ascontiguousarray(value).view(np.uint8)
    for row, data in zip(_rows(op, base, at, stride, op.val.type), raw, strict=True):
        base[row] = data.view(base.dtype)


def _matrices(a: Array, b: Array, group: int) -> tuple[Array, Array]:
    """``b``'s groups side by side -> one below the other."""
    rows = b.shape[0]
    return a, b.reshape(rows, -1, group).transpose(0, 2, 1).reshape(rows * group, -1)


def _flushed(x: Array) -> Array:
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)


@implements(amx.TileMulF)
def multiply(frame: Frame, op: amx.TileMulF, lhs: Array, rhs: Array, acc: Array) -> Array:
    a, b = _matrices(_flushed(lhs.astype(np.float32)), _flushed(rhs.astype(np.float32)), 2)
    with np.errstate(all="ignore"):
        return _flushed(np.asarray(_flushed(acc) + a @ b, np.float32))


@implements(amx.TileMulI)
def multiply_integers(frame: Frame, op: amx.TileMulI, lhs: Array, rhs: Array, acc: Array) -> Array:
    a = lhs.view(np.uint8 if op.is_zext_lhs is not None else np.int8).astype(np.int32)
    b = rhs.view(np.uint8 if op.is_zext_rhs is not None else np.int8).astype(np.int32)
    a, b = _matrices(a, b, 4)
    with np.errstate(over="ignore"):
        return np.asarray(acc + a @ b, np.int32)
