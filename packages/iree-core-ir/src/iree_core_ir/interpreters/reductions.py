"""Reductions over array axes and sums of products, for every element type.

Floats narrower than f32 accumulate in f32 and round once; integers wrap. Sums run in numpy's fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_core_ir.interpreters import floats, integers
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.types import FloatType

Array = np.ndarray[Any, Any]

_FLOAT_REDUCE: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "maxnum": np.fmax,
    "minnum": np.fmin,
}
_INTEGER_REDUCE: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "maxs": np.maximum,
    "mins": np.minimum,
    "maxu": np.maximum,
    "minu": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
_BOOL_REDUCE: dict[str, Any] = {
    "add": np.bitwise_xor,
    "mul": np.bitwise_and,
    "maxs": np.bitwise_and,  # true is -1
    "mins": np.bitwise_or,
    "maxu": np.bitwise_or,
    "minu": np.bitwise_and,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
CHUNK_BYTES = 1 << 28
"""A product of sums gathers at most about this much of its window view at a time."""


def reduce(kind: str, values: Array, axes: tuple[int, ...], initial: Array, type: Type) -> Array:
    """``initial`` combined with ``values`` reduced along ``axes`` (dropped); both of element ``type``.

    Raises KeyError for a kind that does not combine ``type``.
    """
    if isinstance(type, FloatType):
        f = float_format(type)
        wide = f.widen(values)
        if any(values.shape[a] == 0 for a in axes):
            return initial
        total = _float_reduce(kind, wide, axes)
        return np.asarray(f.narrow(floats.BINARY[kind](f.widen(initial), total)))
    g = integer_format(type)
    if any(values.shape[a] == 0 for a in axes):
        return initial
    if initial.dtype == np.bool_:
        ufunc = _BOOL_REDUCE[kind]
        return np.asarray(ufunc(ufunc.reduce(values, axis=axes), initial))
    carrier = g.as_unsigned(values) if kind in ("maxu", "minu") else g.as_signed(values)
    ufunc = _INTEGER_REDUCE[kind]
    options = {"dtype": np.int64} if kind in ("add", "mul") else {}
    total = ufunc.reduce(carrier, axis=axes, **options)
    unsigned = np.asarray(total).astype(g.unsigned)
    return np.asarray(g.wrap(integers.BINARY[kind](g, g.wrap(unsigned), initial)))


def _float_reduce(kind: str, wide: Array, axes: tuple[int, ...]) -> Array:
    total = np.asarray(_FLOAT_REDUCE[kind].reduce(wide, axis=axes))
    if kind in ("add", "mul"):
        return total
    # Of zeros numpy takes any: +0 is the greater.
    zero = total == 0
    if np.any(zero):
        wanted = np.any((wide == 0) & (np.signbit(wide) == kind.startswith("min")), axis=axes)
        negative = wanted if kind.startswith("min") else ~wanted
        total = np.where(zero, np.where(negative, total.dtype.type(-0.0), total.dtype.type(0.0)), total)
    return total


def sum_of_products(
    a: Array, b: Array, sizes: Sequence[int], reduced: Sequence[int], initial: Array, type: Type
) -> Array:
    """``initial`` plus the sum over axes ``reduced`` of ``a * b``, broadcast to ``sizes``.

    The result has the other axes, in order. Done as batched matrix products.
    """
    wide = _accumulator(a, b, sizes, reduced, type)
    x, y = a.astype(wide, copy=False), b.astype(wide, copy=False)
    factor = 1
    for axis in reduced:
        n = sizes[axis]
        if x.shape[axis] == 1 and y.shape[axis] == 1:
            factor *= n
        elif x.shape[axis] == 1:
            y = y.sum(axis=axis, keepdims=True, dtype=wide)
        elif y.shape[axis] == 1:
            x = x.sum(axis=axis, keepdims=True, dtype=wide)
    kept = [axis for axis in range(len(sizes)) if axis not in reduced]
    batch = [d for d in kept if x.shape[d] != 1 and y.shape[d] != 1]
    rows = [d for d in kept if x.shape[d] != 1 and y.shape[d] == 1]
    columns = [d for d in kept if x.shape[d] == 1 and y.shape[d] != 1]
    rest = [d for d in kept if x.shape[d] == 1 and y.shape[d] == 1]
    inner = [d for d in reduced if x.shape[d] != 1 and y.shape[d] != 1]
    ones = [d for d in reduced if d not in inner]
    product = _matmul(x, y, (batch, rows, columns, inner), [*rest, *ones])
    order = [*batch, *rows, *columns, *rest]
    product = product.reshape([sizes[d] if d not in rest else 1 for d in order])
    product = product.transpose([order.index(d) for d in kept])
    if factor != 1:
        product = product * np.asarray(factor).astype(wide)
    if isinstance(type, FloatType):
        f = float_format(type)
        return np.asarray(f.narrow(product + f.widen(initial).astype(wide, copy=False)))
    g = integer_format(type)
    total = product.astype(np.int64).astype(g.unsigned)
    return np.asarray(g.wrap(integers.BINARY["add"](g, g.wrap(total), initial)))


def _accumulator(
    a: Array, b: Array, sizes: Sequence[int], reduced: Sequence[int], type: Type
) -> np.dtype[Any]:
    """The dtype products are summed in: exact for integers (modulo their width)."""
    if isinstance(type, FloatType):
        return float_format(type).wide
    if not a.size or not b.size:
        return np.dtype(np.int64)
    # f64 products are exact, and fast, while no partial sum leaves 53 bits.
    terms = math.prod(sizes[d] for d in reduced)
    a64, b64 = a.astype(np.int64), b.astype(np.int64)
    reach = max(abs(int(a64.min())), abs(int(a64.max()))) * max(abs(int(b64.min())), abs(int(b64.max())))
    return np.dtype(np.float64 if reach * terms < 1 << 53 else np.int64)


def _matmul(
    x: Array, y: Array, groups: tuple[list[int], list[int], list[int], list[int]], unit: Sequence[int]
) -> Array:
    """``[batch, rows, columns]`` of the product summed over ``inner``; axes ``unit`` have size 1."""
    batch, rows, columns, inner = groups
    n_batch, n_rows, n_columns, n_inner = (
        math.prod(max(x.shape[d], y.shape[d]) if 0 not in (x.shape[d], y.shape[d]) else 0 for d in group)
        for group in groups
    )
    left = x.transpose([*batch, *rows, *inner, *columns, *unit])
    right = y.transpose([*batch, *inner, *columns, *rows, *unit]).reshape(n_batch, n_inner, n_columns)
    if batch or not rows or left.size * left.itemsize <= CHUNK_BYTES:
        return np.asarray(np.matmul(left.reshape(n_batch, n_rows, n_inner), right))
    # A window view grows by the kernel's size when gathered: do it in parts along the first row dim.
    length = left.shape[0]
    step = max(1, length * CHUNK_BYTES // (left.size * left.itemsize))
    parts = [
        np.matmul(left[start : start + step].reshape(1, -1, n_inner), right)
        for start in range(0, length, step)
    ]
    return np.concatenate(parts, axis=1)
