"""Numpy meanings of ``x86vector``."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import x86vector
from iree_core_ir.interpreter import Frame, implements

Array = np.ndarray[Any, Any]


@implements(x86vector.DotU8S8)
def dot_u8s8(frame: Frame, op: x86vector.DotU8S8, w: Array, a: Array, b: Array) -> Array:
    products = a.view(np.uint8).astype(np.int32) * b.view(np.int8)
    with np.errstate(over="ignore"):
        return np.asarray(w + products.reshape(-1, 4).sum(axis=1, dtype=np.int32), np.int32)
