"""Integers of less than a byte in memory: packed along the last dimension, low bits first, whole bytes a row.

Numpy (with ml-dtypes) holds them one a byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType

Array = np.ndarray[Any, Any]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def row_bytes(length: int, element: ElementType) -> int:
    """Bytes of ``length`` elements one behind the other."""
    return length * element.bytes if element.bits >= 8 else -(-length * element.bits // 8)


def packed_bytes(shape: Sequence[int], element: ElementType) -> int:
    """Bytes of a dense array of ``shape``, of any element type; rank 0 is one element."""
    return math.prod(shape[:-1]) * row_bytes(shape[-1] if shape else 1, element)


def pack_rows(array: Array, element: ElementType) -> Bytes:
    """An array with one element a byte -> the packed bytes, row behind row."""
    bits, per_byte = element.bits, 8 // element.bits
    length = array.shape[-1] if array.ndim else 1
    n_rows, n_bytes = math.prod(array.shape[:-1]), row_bytes(length, element)
    codes = np.ascontiguousarray(array).astype(np.int8).view(np.uint8).reshape(n_rows, length)
    padded = np.zeros((n_rows, n_bytes * per_byte), np.uint8)
    padded[:, :length] = codes & ((1 << bits) - 1)
    shifts = (np.arange(per_byte) * bits).astype(np.uint8)
    groups = padded.reshape(n_rows, n_bytes, per_byte) << shifts
    packed: Bytes = np.bitwise_or.reduce(groups, axis=-1).astype(np.uint8)
    return packed.reshape(-1)


def unpack_rows(data: Bytes, shape: Sequence[int], element: ElementType) -> Array:
    """The array of ``shape`` and the element type's dtype that ``pack_rows`` made ``data`` of."""
    bits, per_byte = element.bits, 8 // element.bits
    length = shape[-1] if len(shape) else 1
    n_rows, n_bytes = math.prod(shape[:-1]), row_bytes(length, element)
    shifts = (np.arange(per_byte) * bits).astype(np.uint8)
    spread = (data.reshape(n_rows, n_bytes, 1) >> shifts) & ((1 << bits) - 1)
    codes = spread.reshape(n_rows, n_bytes * per_byte)[:, :length]
    if element.kind == "i":  # sign-extend within the byte
        sign = 1 << (bits - 1)
        codes = ((codes.astype(np.int16) ^ sign) - sign).astype(np.int8)
    return codes.astype(element.dtype).reshape(tuple(shape))


def to_bytes(array: Array, element: ElementType) -> Bytes:
    """What an array is in memory, row behind row: packed where elements are less than a byte, else as it lies
    (no copy if it lies so)."""
    if element.bits < 8:
        return pack_rows(array, element)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def from_bytes(data: Bytes, shape: Sequence[int], element: ElementType) -> Array:
    """The array of ``shape`` that ``data`` holds: a view where elements are whole bytes."""
    if element.bits < 8:
        return unpack_rows(data, shape, element)
    return data.view(element.dtype).reshape(tuple(shape))


__all__ = ["from_bytes", "pack_rows", "packed_bytes", "row_bytes", "to_bytes", "unpack_rows"]
