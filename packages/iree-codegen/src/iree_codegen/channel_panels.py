"""The layout of convolution weights: output channels in panels, in the order a register tile reads them.

The rows of a matrix (the first axis; all others are its columns) in panels of ``rows``, column by column:
``[ceil(R / rows)][columns][rows]``. Rows that are not there are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_core_ir.constant_transforms import constant_transform
from iree_core_ir.ir.types import TensorType
from iree_core_ir.target import ConstantLayout

CHANNEL_PANELS = "channel-panels"
Array = np.ndarray[Any, Any]


def channel_panels(binding: Any, rows: int) -> ConstantLayout:
    """``binding``'s first axis in panels of ``rows``."""
    shape = binding.value.type.shape
    columns = 1
    for size in shape[1:]:
        columns *= size
    packed = TensorType([-(-shape[0] // rows), columns, rows], binding.value.type.element_type)
    return ConstantLayout(binding.argument, CHANNEL_PANELS, {"rows": rows}, packed)


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    rows = parameters["rows"]
    panel_count = -(-shape[0] // rows)
    wide = array.reshape(panel_count, -1, rows).transpose(0, 2, 1)
    return np.ascontiguousarray(wide.reshape(panel_count * rows, -1)[: shape[0]]).reshape(shape)


@constant_transform(CHANNEL_PANELS, inverse=_unpack)
def _pack(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """``rows``: how many rows a panel has."""
    n_panels, columns, rows = shape
    matrix = sources[0].reshape(-1, columns)
    missing = n_panels * rows - matrix.shape[0]
    if missing:
        matrix = np.concatenate([matrix, np.zeros((missing, columns), dtype)])
    return matrix.reshape(n_panels, rows, columns).transpose(0, 2, 1)
