"""Runtime values out of numpy results: arrays where an operand was one, else scalars.

The same meanings run scalar bodies and, with arrays in place of scalars, whole iteration spaces.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.interpreters.integers import IntegerFormat


def finish(result: Any, *operands: Any) -> Any:
    """``result`` as an array when an operand is one (also of rank 0), else as a numpy scalar."""
    for operand in operands:
        if isinstance(operand, np.ndarray):
            return np.asarray(result)
    return np.asarray(result)[()]


def finish_integer(f: IntegerFormat, carrier: Any, *operands: Any) -> Any:
    """A kernel's carrier as a value of the format; ``index`` scalars are Python ints."""
    value = finish(f.wrap(carrier), *operands)
    return int(value) if f.is_index and not isinstance(value, np.ndarray) else value
