"""The layout of blocked convolution weights: output channels in panels of vectors, in order of execution.

``[fb, cb, kh, kw, ci, fi]`` becomes, panel after panel, ``[cb][kh][kw][ci][vectors][fi]`` without the input
lanes behind the last channel. The last panel holds what vectors are left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from iree_core_ir.constant_transforms import constant_transform

BLOCKED_PANELS = "blocked-panels"
Array = np.ndarray[Any, Any]


def blocked_panels(shape: Sequence[int], channels: int, vectors: int) -> dict[str, Any]:
    """Parameters for weights ``[fb, cb, kh, kw, ci, fi]``; ``channels`` of cb * ci are there."""
    return {"shape": list(shape), "channels": channels, "vectors": vectors}


def packed_size(parameters: Mapping[str, Any]) -> int:
    blocks, _, kh, kw, _, lanes = parameters["shape"]
    return int(blocks * parameters["channels"] * kh * kw * lanes)


def _panels(flat: Array, shape: Sequence[int], vectors: int) -> Iterator[tuple[Array, slice]]:
    """The full panels of ``flat``, then what is left: views ``[panel][vector][...][fi]``, and which of
    ``shape[fb][...][fi]`` they hold."""
    fb, *depth, lanes = shape
    size, full = math.prod(shape[1:]), fb // vectors * vectors
    for own, width in ((slice(0, full), vectors), (slice(full, fb), fb - full)):
        if own.start < own.stop:
            part = flat[own.start * size : own.stop * size].reshape(-1, *depth, width, lanes)
            yield np.moveaxis(part, -2, 1), own


def to_panels(rows: Array, vectors: int, dtype: np.dtype[Any]) -> Array:
    """``rows[fb][...][fi]`` as panels ``[...][vectors][fi]``, one behind the other."""
    result = np.empty(rows.size, dtype)
    for panels, own in _panels(result, rows.shape, vectors):
        panels[...] = rows[own].reshape(panels.shape)
    return result


def from_panels(panels: Array, shape: Sequence[int], vectors: int) -> Array:
    """The ``shape[fb][...][fi]`` that ``to_panels`` made ``panels`` of."""
    rows = np.empty(shape, panels.dtype)
    for part, own in _panels(panels.reshape(-1), shape, vectors):
        rows[own] = part.reshape(rows[own].shape)
    return rows


def unpack_blocked(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    vectors, channels = parameters["vectors"], parameters["channels"]
    rows = from_panels(np.asarray(array), (fb, channels * kh * kw, lanes), vectors)
    result = np.zeros((fb, cb, kh, kw, ci, lanes), rows.dtype)
    whole = channels // ci
    split = whole * kh * kw * ci
    result[:, :whole] = rows[:, :split].reshape(fb, whole, kh, kw, ci, lanes)
    if channels % ci:
        result[:, whole, :, :, : channels % ci] = rows[:, split:].reshape(fb, kh, kw, -1, lanes)
    return result.reshape(shape)


@constant_transform(BLOCKED_PANELS, inverse=unpack_blocked)
def pack_blocked(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    fb, _, _, _, ci, lanes = parameters["shape"]
    channels = parameters["channels"]
    weights = np.asarray(sources[0]).reshape(parameters["shape"])
    whole = channels // ci
    rows = [weights[:, :whole].reshape(fb, -1, lanes)]
    if channels % ci:
        rows.append(weights[:, whole, :, :, : channels % ci].reshape(fb, -1, lanes))
    joined = np.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
    return to_panels(joined, parameters["vectors"], dtype).reshape(shape)
