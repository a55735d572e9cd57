"""The layout of recurrent weights: the gates of some elements side by side, in the order a step reads them.

``[gates * n, k]`` becomes ``[ceil(n / width)][k][gates][width]``, zeros behind the last element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_core_ir.constant_transforms import constant_transform

GATE_PANELS = "gate-panels"
Array = np.ndarray[Any, Any]


def gate_panel_shape(shape: Sequence[int], gates: int, width: int) -> tuple[int, int, int, int]:
    """The packed shape of weights of logical ``shape``."""
    return -(-shape[0] // gates // width), shape[1], gates, width


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    gates, size = parameters["gates"], shape[0] // parameters["gates"]
    wide = np.asarray(array).transpose(2, 0, 3, 1).reshape(gates, -1, shape[1])
    return np.ascontiguousarray(wide[:, :size]).reshape(shape)


@constant_transform(GATE_PANELS, inverse=_unpack)
def _pack(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    panels, depth, gates, width = shape
    source = sources[0].reshape(gates, -1, depth)
    missing = panels * width - source.shape[1]
    if missing:
        source = np.pad(source, ((0, 0), (0, missing), (0, 0)))
    return source.reshape(gates, panels, width, depth).transpose(1, 3, 0, 2)
