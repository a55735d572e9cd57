"""The layout of convolution weights: output channels in panels, in the order a register tile reads them.

The rows of a matrix (the first axis; all others are its columns) in panels of ``rows``, column by column:
``[ceil(R / rows)][columns][rows]``. Rows that are not there are zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_core_ir.constant_transforms import constant_transform
from iree_core_ir.ir.types import TensorType
from iree_core_ir.target import ConstantLayout

CHANNEL_PANELS = "channel-panels"
Array = np.ndarray[Any, Any]


def channel_panels(binding: Any, rows: int, groups: int = 1) -> ConstantLayout:
    """``binding``'s first axis (with several ``groups``: the second, in each of the first) in panels."""
    shape = binding.value.type.shape
    logical = shape[1:] if groups > 1 else shape
    columns = math.prod(logical[1:])
    packed = TensorType([groups * -(-logical[0] // rows), columns, rows], binding.value.type.element_type)
    return ConstantLayout(binding.argument, CHANNEL_PANELS, {"rows": rows, "groups": groups}, packed)


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    rows, groups = parameters["rows"], parameters.get("groups", 1)
    own = shape[1] if groups > 1 else shape[0]
    wide = array.reshape(groups, -(-own // rows), -1, rows).transpose(0, 1, 3, 2)
    columns = wide.shape[3]
    return np.ascontiguousarray(wide.reshape(groups, -1, columns)[:, :own]).reshape(shape)


@constant_transform(CHANNEL_PANELS, inverse=_unpack)
def _pack(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """``rows``: how many rows a panel has; ``groups``: matrices packed one behind the other."""
    n_panels, columns, rows = shape
    groups = parameters.get("groups", 1)
    matrix = sources[0].reshape(groups, -1, columns)
    missing = n_panels // groups * rows - matrix.shape[1]
    if missing:
        matrix = np.concatenate([matrix, np.zeros((groups, missing, columns), dtype)], axis=1)
    return matrix.reshape(n_panels, rows, columns).transpose(0, 2, 1)
