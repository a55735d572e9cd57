"""The layout of blocked 3x3 weights for Winograd's F(2x2, 3x3): transformed, panels in order of execution.

``[fb, cb, 3, 3, ci, fi]`` becomes, panel after panel, ``[16][channels][vectors][fi]`` with ``u = G g G^T``
for every 3x3 ``g``. The last panel holds what vectors are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_codegen.blocked_panels import from_panels, to_panels
from iree_codegen.winograd_panels import G
from iree_core_ir.constant_transforms import constant_transform

BLOCKED_WINOGRAD_PANELS = "blocked-winograd-panels"
POINTS = 16
Array = np.ndarray[Any, Any]


def packed_size(parameters: Mapping[str, Any]) -> int:
    fb, _, _, _, _, lanes = parameters["shape"]
    return int(fb * parameters["channels"] * POINTS * lanes)


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    """The weights again, up to the rounding of the transform."""
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    vectors, channels = parameters["vectors"], parameters["channels"]
    points = from_panels(np.asarray(array, np.float64), (fb, POINTS, channels, lanes), vectors)
    back = np.linalg.pinv(np.kron(G, G))
    taps = np.einsum("tp,fpcl->ftcl", back, points)
    result = np.zeros((fb, kh * kw, cb * ci, lanes), np.asarray(array).dtype)
    result[:, :, :channels] = taps
    return np.ascontiguousarray(
        result.reshape(fb, kh, kw, cb, ci, lanes).transpose(0, 3, 1, 2, 4, 5).reshape(shape)
    )


@constant_transform(BLOCKED_WINOGRAD_PANELS, inverse=_unpack)
def pack_blocked_winograd(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    channels = parameters["channels"]
    weights = np.asarray(sources[0]).reshape(parameters["shape"])
    rows = np.empty((fb, POINTS, channels, lanes), dtype)
    both = np.kron(G, G)
    # A block of output channels at a time: what is computed in float64 stays in the cache.
    for own, result in zip(weights, rows, strict=True):
        taps = own.transpose(1, 2, 0, 3, 4).reshape(kh * kw, cb * ci * lanes)[:, : channels * lanes]
        result[...] = (both @ taps.astype(np.float64)).reshape(result.shape)
    return to_panels(rows, parameters["vectors"], dtype).reshape(shape)
