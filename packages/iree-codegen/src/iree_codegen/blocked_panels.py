"""The layout of blocked convolution weights: output channels in panels of vectors, in order of execution.

``[fb, cb, kh, kw, ci, fi]`` becomes, panel after panel, ``[cb][kh][kw][ci][vectors][fi]`` without the input
lanes behind the last channel. The last panel holds what vectors are left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    vectors, channels = parameters["vectors"], parameters["channels"]
    full = fb // vectors
    size = channels * kh * kw * vectors * lanes
    flat = np.asarray(array).reshape(-1)
    parts = [flat[: full * size].reshape(full, -1, vectors, lanes).transpose(0, 2, 1, 3)]
    if fb % vectors:
        parts.append(flat[full * size :].reshape(1, -1, fb % vectors, lanes).transpose(0, 2, 1, 3))
    rows = np.concatenate([p.reshape(-1, channels * kh * kw, lanes) for p in parts])
    result = np.zeros((fb, cb, kh, kw, ci, lanes), flat.dtype)
    whole = channels // ci
    split = whole * kh * kw * ci
    result[:, :whole] = rows[:, :split].reshape(fb, whole, kh, kw, ci, lanes)
    if channels % ci:
        result[:, whole, :, :, : channels % ci] = rows[:, split:].reshape(fb, kh, kw, -1, lanes)
    return result.reshape(shape)


@constant_transform(BLOCKED_PANELS, inverse=_unpack)
def pack_blocked(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    fb, _, kh, kw, ci, lanes = parameters["shape"]
    vectors, channels = parameters["vectors"], parameters["channels"]
    weights = np.asarray(sources[0]).reshape(parameters["shape"])
    whole = channels // ci
    rows = [weights[:, :whole].reshape(fb, -1, lanes)]
    if channels % ci:
        rows.append(weights[:, whole, :, :, : channels % ci].reshape(fb, -1, lanes))
    depth = channels * kh * kw
    joined = np.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
    result = np.empty(math.prod(shape), dtype)
    full = fb // vectors
    split = full * vectors * depth * lanes
    panels = joined[: full * vectors].reshape(full, vectors, depth, lanes).transpose(0, 2, 1, 3)
    result[:split].reshape(full, depth, vectors, lanes)[...] = panels
    if fb % vectors:
        rest = joined[full * vectors :].transpose(1, 0, 2)
        result[split:].reshape(depth, fb % vectors, lanes)[...] = rest
    return result.reshape(shape)
