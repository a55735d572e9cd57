"""Constant masks that keep query ``i`` to keys ``j <= i``: the op says so itself, kernels skip the rest."""

from __future__ import annotations

import numpy as np

from iree_codegen import indexing
from iree_codegen.indexing import Var
from iree_core_ir.constants import ConstantStore
from iree_flow.moved_elements import Element
from iree_flow.quantized import array_of

EXCLUDED = -1e30
"""What is added to exclude a key, at most: no score that is not itself out of range makes up for it."""


def is_causal(mask: Element, row: Var, key: Var, constants: ConstantStore) -> bool:
    """True when ``mask`` is a constant that changes no score of ``row`` up to its own key and excludes all
    others. A masked score is then never computed, so it does no harm where it would be NaN."""
    array = array_of(mask.value, constants)
    if array is None:
        return False
    places: list[int | slice] = []
    axes: list[Var] = []
    for form in mask.forms:
        if form.is_constant and isinstance(form.constant, int):
            places.append(form.constant)
            continue
        var = next((v for v in (row, key) if form == indexing.of(v)), None)
        if var is None or var in axes:
            return False
        axes.append(var)
        places.append(slice(None))
    if len(axes) != 2:
        return False
    found = array[tuple(places)]
    found = found if axes[0] is row else found.T
    rows, keys = found.shape
    if (rows, keys) != (row.extent, key.extent):
        return False
    kept = np.tri(rows, keys, dtype=np.bool_)
    if found.dtype == np.bool_:
        return bool((found == kept).all())
    return bool((found[kept] == 0).all() and (found[~kept] <= EXCLUDED).all())
