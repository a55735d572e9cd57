"""Layouts of constants that strategies ask for, as transforms of the constant store with their inverses.

``cpu-panels``: a tensor with reduction axes (K) and one column axis (N) becomes
``[other axes][ceil(N / width)][K][width]``, zeros behind the last column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_core_ir.constant_transforms import constant_transform

PANELS = "cpu-panels"
Array = np.ndarray[Any, Any]


def panel_parameters(outer: Sequence[int], depth: Sequence[int], column: int, width: int) -> dict[str, Any]:
    """Axes of the logical tensor by role."""
    return {"outer": list(outer), "depth": list(depth), "column": column, "width": width}


def panel_shape(shape: Sequence[int], parameters: Mapping[str, Any]) -> tuple[int, ...]:
    """The packed shape of a logical ``shape``."""
    outer = int(np.prod([shape[i] for i in parameters["outer"]], dtype=np.int64))
    depth = int(np.prod([shape[i] for i in parameters["depth"]], dtype=np.int64))
    panels = -(-shape[parameters["column"]] // parameters["width"])
    return outer, panels, depth, int(parameters["width"])


def _unpack_panels(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    outer, panels, depth, width = panel_shape(shape, parameters)
    columns = shape[parameters["column"]]
    flat = np.asarray(array).reshape(outer, panels, depth, width).transpose(0, 2, 1, 3)
    flat = flat.reshape(outer, depth, panels * width)[:, :, :columns]
    order = [*parameters["outer"], *parameters["depth"], parameters["column"]]
    full = flat.reshape([shape[i] for i in order])
    return full.transpose(np.argsort(order))


@constant_transform(PANELS, inverse=_unpack_panels)
def pack_panels(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    source = sources[0]
    outer, panels, depth, width = panel_shape(source.shape, parameters)
    order = [*parameters["outer"], *parameters["depth"], parameters["column"]]
    columns = source.shape[parameters["column"]]
    flat = source.transpose(order).reshape(outer, depth, columns)
    if panels * width != columns:
        flat = np.pad(flat, ((0, 0), (0, 0), (0, panels * width - columns)))
    return flat.reshape(outer, depth, panels, width).transpose(0, 2, 1, 3).reshape(shape)
