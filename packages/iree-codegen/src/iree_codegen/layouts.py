"""Which constants a strategy wants stored in another layout, and what those layouts are.

``panels``: the rows of a matrix (the first axis; all others are its columns) in panels of ``rows``, column
by column: ``[ceil(R / rows)][columns][rows]``. Rows that are not there are zero. That is the order in which a
register tile reads its weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from iree_core_ir.constant_transforms import constant_transform
from iree_core_ir.ir.types import TensorType
from iree_core_ir.target import ConstantLayout

from iree_codegen.decompose import decomposed
from iree_codegen.dispatch import Dispatch

PANELS = "panels"
Array = np.ndarray[Any, Any]


def constant_layout(func: Any, description: Any) -> Sequence[ConstantLayout]:
    """The layouts that the strategy taking ``func`` asks for."""
    from iree_codegen.strategies import convolution

    dispatch = Dispatch(decomposed(func))
    window = convolution.match(dispatch)
    if window is not None and window.weights.constant and description.vector_bits >= 128:
        return [panels(window.weights, convolution.panel_rows(window, description))]
    return ()


def panels(binding: Any, rows: int) -> ConstantLayout:
    """``binding``'s first axis in panels of ``rows``."""
    shape = binding.value.type.shape
    columns = 1
    for size in shape[1:]:
        columns *= size
    packed = TensorType([-(-shape[0] // rows), columns, rows], binding.value.type.element_type)
    return ConstantLayout(binding.argument, PANELS, {"rows": rows}, packed)


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    rows = parameters["rows"]
    panel_count = -(-shape[0] // rows)
    wide = array.reshape(panel_count, -1, rows).transpose(0, 2, 1)
    return np.ascontiguousarray(wide.reshape(panel_count * rows, -1)[: shape[0]]).reshape(shape)


@constant_transform(PANELS, inverse=_unpack)
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
