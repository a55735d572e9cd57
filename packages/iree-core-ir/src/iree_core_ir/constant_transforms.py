"""Lazy transforms of constants: pure numpy functions by name, registered with ``@constant_transform``.

A transform gets its source arrays, its JSON parameters and the shape and dtype it must return. Views
are welcome: bytes are made contiguous chunk by chunk when they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.errors import CoreIrError

Array = np.ndarray[Any, Any]
Transform = Callable[[Sequence[Array], Mapping[str, Any], tuple[int, ...], np.dtype[Any]], Array]

Inverse = Callable[[Array, Mapping[str, Any], Sequence[int]], Array]

_transforms: dict[str, Transform] = {}
_inverses: dict[str, Inverse] = {}


def constant_transform(kind: str, inverse: Inverse | None = None) -> Callable[[Transform], Transform]:
    """Register a transform under ``kind``; hook ``iree_constant_transforms`` says where plugins do so.

    A layout (a transform that a target asks for) has an ``inverse(array, parameters, logical shape)``,
    with which the interpreter reads it; the array may come flat.
    """

    def register(function: Transform) -> Transform:
        _transforms[kind] = function
        if inverse is not None:
            _inverses[kind] = inverse
        return function

    return register


def transform_function(kind: str) -> Transform:
    """The transform called ``kind``. Raises CoreIrError 13."""
    _load(kind)
    try:
        return _transforms[kind]
    except KeyError:
        raise _unknown(f"'{kind}'", _transforms) from None


def inverse_function(kind: str) -> Inverse:
    """What undoes the layout ``kind``. Raises CoreIrError 13."""
    _load(kind)
    try:
        return _inverses[kind]
    except KeyError:
        raise _unknown(f"'{kind}' has no inverse", _inverses) from None


def _load(kind: str) -> None:
    """Import the module of a plugin that registers ``kind``, unless some other use has done so."""
    if kind not in _transforms:
        from iree_core_ir.plugins import constant_transform_getters

        getter = constant_transform_getters().get(kind)
        if getter is not None:
            getter()


def _unknown(detail: str, known: Mapping[str, Any]) -> CoreIrError:
    return CoreIrError(
        13,
        detail,
        cause="known: " + ", ".join(sorted(known)),
        hint="install the package whose target asked for it",
    )


def _untransposed(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    order = parameters["permutation"]
    return array.reshape([shape[i] for i in order]).transpose(np.argsort(order))


@constant_transform("transpose", inverse=_untransposed)
def transpose(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """``permutation``: result dimension i is source dimension permutation[i]."""
    return sources[0].transpose(parameters["permutation"])


@constant_transform("reshape")
def reshape(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    return sources[0].reshape(shape)


@constant_transform("broadcast")
def broadcast(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """``dimensions``: the result dimensions the source has, in order; without it numpy's rule."""
    source = sources[0]
    if "dimensions" in parameters:
        full = [1] * len(shape)
        for i, dim in enumerate(parameters["dimensions"]):
            full[dim] = source.shape[i]
        source = source.reshape(full)
    return np.broadcast_to(source, shape)


@constant_transform("cast")
def cast(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """Round to nearest even between floats; float to integer truncates and saturates, NaN gives 0.

    ``source``: the element type that the source's bits are of, such as the unsigned one of a signless one.
    """
    source = sources[0]
    if "source" in parameters:
        source = source.view(element_type(parameters["source"]).dtype)
    if source.dtype == dtype:
        return source
    if dtype == np.bool_:
        return np.not_equal(source, 0)
    if dtype.kind in "iu" and source.dtype.kind not in "iub":
        wide = np.trunc(np.nan_to_num(source.astype(np.float64), nan=0.0))
        info = np.iinfo(dtype)
        # float64 cannot hold the largest 64-bit integers: compare, then convert what fits.
        low, high = wide <= float(info.min), wide >= float(info.max)
        safe = np.where(low | high, 0.0, wide).astype(dtype)
        return np.where(low, info.min, np.where(high, info.max, safe)).astype(dtype)
    return source.astype(dtype)


@constant_transform("pad")
def pad(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """``low``, ``high`` per dimension, ``value`` (default 0)."""
    result = np.full(shape, parameters.get("value", 0), dtype)
    low = parameters["low"]
    result[tuple(slice(lo, lo + n) for lo, n in zip(low, sources[0].shape, strict=True))] = sources[0]
    return result


@constant_transform("slice")
def slice_(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """``offsets``, ``sizes``, ``strides`` (default 1) per dimension."""
    offsets, sizes = parameters["offsets"], parameters["sizes"]
    strides = parameters.get("strides", [1] * len(sizes))
    index = tuple(
        slice(o, o + (n - 1) * s + 1 if n else o, s) for o, n, s in zip(offsets, sizes, strides, strict=True)
    )
    result: Array = sources[0][index]
    return result


@constant_transform("concat")
def concat(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """All sources along ``axis``."""
    return np.concatenate(list(sources), axis=parameters["axis"])


@constant_transform("add")
def add(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    return _elementwise(np.add, sources, dtype)


@constant_transform("sub")
def sub(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    return _elementwise(np.subtract, sources, dtype)


@constant_transform("mul")
def mul(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    return _elementwise(np.multiply, sources, dtype)


@constant_transform("scale_rows")
def scale_rows(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """The first source times the vector ``sources[1]`` along ``axis`` (default 0)."""
    data, scale = sources
    full = [1] * data.ndim
    full[parameters.get("axis", 0)] = scale.shape[0]
    return _elementwise(np.multiply, (data, scale.reshape(full)), dtype)


def _elementwise(function: Any, sources: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    """Integers wrap; small floats compute in f32 and round once."""
    if dtype.kind in "iub" or dtype in (np.float32, np.float64):
        return np.asarray(function(sources[0], sources[1]), dtype=dtype)
    return np.asarray(function(*(s.astype(np.float32) for s in sources[:2]))).astype(dtype)


@constant_transform("pack")
def pack(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """As ``linalg.pack``: ``inner_dims_pos``, ``inner_tiles``, ``outer_dims_perm``, ``padding`` (0).

    A source that fills its tiles gives a view.
    """
    source = sources[0]
    positions, tiles = list(parameters["inner_dims_pos"]), list(parameters["inner_tiles"])
    padded = list(source.shape)
    for position, tile in zip(positions, tiles, strict=True):
        padded[position] = -(-padded[position] // tile) * tile
    if tuple(padded) != source.shape:
        full = np.full(padded, parameters.get("padding", 0), dtype)
        full[tuple(slice(0, n) for n in source.shape)] = source
        source = full
    split: list[int] = []
    outer: list[int] = []
    inner = [0] * len(positions)
    for dim, size in enumerate(padded):
        outer.append(len(split))
        if dim in positions:
            i = positions.index(dim)
            split += [size // tiles[i], tiles[i]]
            inner[i] = len(split) - 1
        else:
            split.append(size)
    permutation = parameters.get("outer_dims_perm") or range(len(outer))
    return source.reshape(split).transpose([outer[p] for p in permutation] + inner)


@constant_transform("unpack")
def unpack(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """The inverse of ``pack``, cut to the result's shape."""
    source = sources[0]
    positions = list(parameters["inner_dims_pos"])
    rank = source.ndim - len(positions)
    permutation = list(parameters.get("outer_dims_perm") or range(rank))
    order: list[int] = []
    for dim in range(rank):
        order.append(permutation.index(dim))
        if dim in positions:
            order.append(rank + positions.index(dim))
    merged = source.transpose(order)
    full: list[int] = []
    at = 0
    for dim in range(rank):
        size = merged.shape[at]
        at += 1
        if dim in positions:
            size *= merged.shape[at]
            at += 1
        full.append(size)
    return merged.reshape(full)[tuple(slice(0, n) for n in shape)]
