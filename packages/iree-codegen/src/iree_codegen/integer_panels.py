"""Layouts of signed 8-bit weights for dot products of four: a word of 32 bits holds four terms of a sum.

``integer-panels``: a tensor with reduction axes (K) and one column axis (N) becomes
``[ceil(N / width)][ceil(K / 4)][width][4]``: vectors of columns, for products whose other factor is
broadcast. ``integer-filters``: weights ``[F][C][window]`` become
``[ceil(F / rows)][ceil(C / 4)][window][rows][4]``: words to broadcast, one filter beside the other. Zeros
stand where there is no weight. ``integer-blocked-panels``: weights ``[fb, cb, kh, kw, ci, fi]`` of images in
channel blocks, or ``[fb, c, kh, kw, fi]`` of a stem, as words of four ``ci`` (or ``c``) that lie like the
weights of :mod:`iree_codegen.blocked_panels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_codegen.blocked_panels import pack_blocked, unpack_blocked
from iree_core_ir.constant_transforms import constant_transform

INTEGER_PANELS, INTEGER_FILTERS = "integer-panels", "integer-filters"
INTEGER_BLOCKED_PANELS = "integer-blocked-panels"
GROUP = 4
Array = np.ndarray[Any, Any]


def panel_parameters(depth: Sequence[int], column: int, width: int) -> dict[str, Any]:
    """Axes of the logical tensor by role."""
    return {"depth": list(depth), "column": column, "width": width}


def panel_shape(shape: Sequence[int], parameters: Mapping[str, Any]) -> tuple[int, ...]:
    """The packed shape of a logical ``shape``."""
    depth = int(np.prod([shape[i] for i in parameters["depth"]], dtype=np.int64))
    width = int(parameters["width"])
    return -(-shape[parameters["column"]] // width), -(-depth // GROUP), width, GROUP


def filter_parameters(rows: int) -> dict[str, Any]:
    return {"rows": rows}


def filter_shape(shape: Sequence[int], parameters: Mapping[str, Any]) -> tuple[int, ...]:
    """The packed shape of weights ``[F][C][window]``."""
    rows = int(parameters["rows"])
    window = int(np.prod(shape[2:], dtype=np.int64))
    return -(-shape[0] // rows), -(-shape[1] // GROUP), window, rows, GROUP


def _padded(array: Array, *sizes: int) -> Array:
    return np.pad(array, [(0, size - own) for size, own in zip(sizes, array.shape, strict=True)])


def _unpack_panels(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    panels, groups, width, _ = panel_shape(shape, parameters)
    order = [*parameters["depth"], parameters["column"]]
    by_group: Array = np.asarray(array).reshape(panels, groups, width, GROUP).transpose(1, 3, 0, 2)
    flat = by_group.reshape(groups * GROUP, panels * width)
    depth = int(np.prod([shape[i] for i in parameters["depth"]], dtype=np.int64))
    full: Array = flat[:depth, : shape[parameters["column"]]].reshape([shape[i] for i in order])
    return full.transpose(np.argsort(order))


@constant_transform(INTEGER_PANELS, inverse=_unpack_panels)
def pack_panels(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    source = sources[0]
    panels, groups, width, _ = panel_shape(source.shape, parameters)
    order = [*parameters["depth"], parameters["column"]]
    flat = source.transpose(order).reshape(-1, source.shape[parameters["column"]])
    flat = _padded(flat, groups * GROUP, panels * width)
    return flat.reshape(groups, GROUP, panels, width).transpose(2, 0, 3, 1).reshape(shape)


def _unpack_filters(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    blocks, groups, window, rows, _ = filter_shape(shape, parameters)
    full = np.asarray(array).reshape(blocks, groups, window, rows, GROUP).transpose(0, 3, 1, 4, 2)
    full = full.reshape(blocks * rows, groups * GROUP, window)[: shape[0], : shape[1]]
    return full.reshape(tuple(shape))


@constant_transform(INTEGER_FILTERS, inverse=_unpack_filters)
def pack_filters(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    source = sources[0]
    blocks, groups, window, rows, _ = filter_shape(source.shape, parameters)
    flat = source.reshape(source.shape[0], source.shape[1], window)
    flat = _padded(flat, blocks * rows, groups * GROUP, window)
    packed: Array = flat.reshape(blocks, rows, groups, GROUP, window).transpose(0, 2, 4, 1, 3)
    return packed.reshape(shape)


def _unpack_blocked(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    """``shape`` may lack axes of one."""
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    words = np.ascontiguousarray(np.asarray(array).reshape(-1)).view(np.int32)
    blocks = unpack_blocked(words, parameters, parameters["shape"])
    full = np.ascontiguousarray(blocks).view(np.int8).reshape(fb, cb, kh, kw, ci, lanes, GROUP)
    if parameters["stem"]:
        channels = int(np.prod(shape, dtype=np.int64)) // (fb * kh * kw * lanes)
        stem = full.transpose(0, 1, 4, 6, 2, 3, 5).reshape(fb, cb * GROUP, kh, kw, lanes)
        return stem[:, :channels].reshape(tuple(shape))
    return full.transpose(0, 1, 2, 3, 4, 6, 5).reshape(tuple(shape))


@constant_transform(INTEGER_BLOCKED_PANELS, inverse=_unpack_blocked)
def pack_integer_blocked(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    weights = np.asarray(sources[0])
    if parameters["stem"]:
        stem = weights.reshape(fb, -1, kh, kw, lanes)
        stem = _padded(stem, fb, cb * GROUP, kh, kw, lanes).reshape(fb, cb, GROUP, kh, kw, lanes)
        by_word = stem.transpose(0, 1, 3, 4, 5, 2)
    else:
        by_word = weights.reshape(fb, cb, kh, kw, ci, GROUP, lanes).transpose(0, 1, 2, 3, 4, 6, 5)
    words = np.ascontiguousarray(by_word).view(np.int32)
    size = int(np.prod(shape, dtype=np.int64)) // GROUP
    packed = pack_blocked([words], parameters, (size,), np.dtype(np.int32))
    return packed.view(np.int8).reshape(shape)
