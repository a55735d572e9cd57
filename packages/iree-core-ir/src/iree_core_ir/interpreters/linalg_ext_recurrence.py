"""The numpy meaning of ``linalg_ext.recurrence``: steps one after the other, rows and elements at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects.linalg_ext_recurrence import Recurrence
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.linalg_ext import Array, deliver


def _of_shape(value: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """What a body yields may be a scalar where it does not depend on its arguments."""
    return np.broadcast_to(np.asarray(value, dtype), shape)


@implements(Recurrence)
def recurrence(frame: Frame, op: Recurrence, *operands: Any) -> Any:
    given = list(operands[: len(op.inputs)])
    x = given.pop(0)
    f = float_format(op.x.type.element_type)
    weights = [f.widen(given.pop(0)) for _ in op.weights]
    constants = list(given.pop(0)) if op.parameter_rows is not None else []
    n_steps, n_rows, _ = x.shape
    if op.row_lengths is not None:
        lengths = np.clip(given.pop(0).astype(np.int64), 0, n_steps)
    else:
        lengths = np.full(n_rows, n_steps)
    states = [state.copy() for state in given]
    size = op.size
    output = np.zeros((n_steps, n_rows, size), x.dtype)
    for step in range(n_steps):
        rows = np.flatnonzero(step < lengths)
        if not rows.size:
            break
        at = lengths[rows] - 1 - step if op.reverse is not None else np.full(rows.size, step)
        shape = (rows.size, size)
        gates = list(x[at, rows].reshape(rows.size, op.gates, size).transpose(1, 0, 2))
        own = [state[rows] for state in states]
        vector = own[0]
        sums: list[Array] = []
        for weight, region in zip(weights, op.regions, strict=True):
            product = f.narrow(f.widen(vector) @ weight.T)
            sums += list(product.reshape(rows.size, -1, size).transpose(1, 0, 2))
            rest = [_of_shape(c, shape, x.dtype) for c in constants]
            yielded = frame.run_block(region.block, [*gates, *sums, *rest, *own])
            vector = _of_shape(yielded[0], shape, x.dtype)
        for state, new in zip(states, yielded, strict=True):
            state[rows] = _of_shape(new, shape, x.dtype)
        output[at, rows] = states[0][rows]
    return deliver(op, operands, [output, *states])
