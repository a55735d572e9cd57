"""Numpy helpers for reading parts of arrays, with checked bounds: slices, boxes, base buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_core_ir.errors import CoreIrError

Array = np.ndarray[Any, Any]


def unspecified(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """A read-only array of unspecified contents, the same each run and hard to overlook: NaN, 0xA5... ."""
    return np.broadcast_to(_junk(dtype), tuple(shape))


def fresh(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """As ``unspecified``, writable."""
    return np.full(tuple(shape), _junk(dtype), dtype)


def _junk(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "fc":
        return np.asarray(np.nan, dtype)
    if dtype.kind in "iu":
        return np.frombuffer(b"\xa5" * dtype.itemsize, dtype)[0]
    if dtype.kind == "b":
        return np.asarray(True, dtype)
    return np.zeros((), np.float32).astype(dtype)


def strided(array: Array, shape: Sequence[int], steps: Sequence[int], writeable: bool) -> Array:
    """A view with these sizes and byte strides from the first element of ``array``."""
    # numpy's array interface does not know every dtype of ml_dtypes: go through integers of the size.
    plain = array.dtype.isbuiltin == 1
    raw = array if plain else array.view(np.dtype(f"u{array.itemsize}"))
    view = np.lib.stride_tricks.as_strided(raw, tuple(shape), tuple(steps), writeable=writeable)
    return view if plain else view.view(array.dtype)


def check_indices(indices: Sequence[Any], shape: Sequence[int]) -> None:
    """Every index (integer or array of them) lies in its dim. Raises CoreIrError 12."""
    for axis, (index, size) in enumerate(zip(indices, shape, strict=True)):
        if isinstance(index, np.ndarray):
            bad = (index < 0) | (index >= size)
            if bad.any():
                found = int(index[bad].ravel()[0])
                raise CoreIrError(12, f"index {found} is outside dim {axis} of size {size}")
        elif not 0 <= index < size:
            raise CoreIrError(12, f"index {index} is outside dim {axis} of size {size}")


def slice_view(array: Array, offsets: Sequence[int], sizes: Sequence[int], strides: Sequence[int]) -> Array:
    """The strided box as a view. Raises CoreIrError 12 when it leaves the array."""
    selection: list[Any] = []
    for axis, (offset, size, stride, dim) in enumerate(
        zip(offsets, sizes, strides, array.shape, strict=True)
    ):
        last = offset + (size - 1) * stride
        if size < 0 or offset < 0 or offset > dim or (size and not (0 <= offset < dim and 0 <= last < dim)):
            raise CoreIrError(
                12, f"slice [{offset}, {size} elements, stride {stride}] leaves dim {axis} of size {dim}"
            )
        if size == 0:
            selection.append(slice(offset, offset))
        elif stride == 0:
            selection.append(slice(offset, offset + 1))
        else:
            stop = last + (1 if stride > 0 else -1)
            selection.append(slice(offset, None if stop < 0 else stop, stride))
    view = array[(*selection, ...)]
    if 0 in strides:
        # One element again and again; of several writes to it the last stays.
        steps = [0 if s == 0 else old for s, old in zip(strides, view.strides, strict=True)]
        return strided(view, sizes, steps, view.flags.writeable)
    return view


def root(array: Array) -> Array:
    """The array that owns the memory ``array`` looks at."""
    while True:
        base = array.base
        if not isinstance(base, np.ndarray):
            # Strided views hold on to their array through a helper object.
            base = getattr(base, "base", None)
        if not isinstance(base, np.ndarray):
            return array
        array = base


def address(array: Array) -> int:
    """Where the first element lies."""
    return int(array.__array_interface__["data"][0])


def element_offset(array: Array) -> int:
    """Elements between the start of the owning memory and the first element."""
    return (address(array) - address(root(array))) // array.itemsize


def rebased(array: Array, start: int, offset: int, sizes: Sequence[int], strides: Sequence[int]) -> Array:
    """A view of the owning memory: ``offset`` elements past element ``start`` of it, strides in elements.

    Raises CoreIrError 12 when it leaves the memory.
    """
    owner = root(array)
    n = owner.nbytes // array.itemsize
    low = high = start + offset
    for size, stride in zip(sizes, strides, strict=True):
        reach = (size - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
    if any(s < 0 for s in sizes) or (0 not in sizes and not (low >= 0 and high < n)):
        raise CoreIrError(12, f"a view of elements {low}..{high} of a buffer of {n}")
    if 0 in sizes:
        return np.zeros(tuple(sizes), array.dtype)
    flat = owner.ravel(order="K").view(np.uint8)[: n * array.itemsize].view(array.dtype)
    return strided(
        flat[start + offset :], sizes, [s * array.itemsize for s in strides], array.flags.writeable
    )
