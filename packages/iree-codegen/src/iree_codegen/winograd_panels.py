"""The layout of 3x3 weights for Winograd's F(2x2, 3x3): transformed, in panels of output channels.

``[O, C, 3, 3]`` becomes ``[ceil(O / rows)][16][C][rows]`` with ``u = G g G^T`` for every 3x3 ``g``; channels
that are not there are zero. (Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, 2015.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_core_ir.constant_transforms import constant_transform

WINOGRAD_PANELS = "winograd-panels"
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
Array = np.ndarray[Any, Any]


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    """The weights again, up to the rounding of the transform."""
    panels, _, channels, rows = array.shape
    wide = np.asarray(array, np.float64).transpose(0, 3, 2, 1).reshape(panels * rows, channels, 4, 4)
    back = np.linalg.pinv(G)
    found = np.einsum("ij,ocjk,lk->ocil", back, wide[: shape[0]], back)
    return np.ascontiguousarray(found.reshape(shape), array.dtype)


@constant_transform(WINOGRAD_PANELS, inverse=_unpack)
def _pack(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    panels, points, channels, rows = shape
    weights = sources[0].reshape(-1, channels, 3, 3)
    found: Array = np.matmul(np.matmul(G, weights.astype(np.float64)), G.T).astype(dtype)
    missing = panels * rows - len(found)
    if missing:
        found = np.pad(found, ((0, missing), (0, 0), (0, 0), (0, 0)))
    packed: Array = found.reshape(panels, rows, channels, points).transpose(0, 3, 2, 1)
    return packed
