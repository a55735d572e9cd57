"""The numpy meaning of ``linalg_ext.attention``: two batched products around a softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.linalg_ext import Array, deliver, stable_softmax
from iree_core_ir.interpreters.structured_views import check_bounds, loop_sizes, read_view
from iree_core_ir.ir.types import i1


@implements(Attention)
def attention(frame: Frame, op: Attention, *operands: Any) -> Any:
    maps, loops = op.indexing_maps, op.loops
    tensors = [i for i in range(len(operands)) if i != 3]
    sizes = loop_sizes([maps[i] for i in tensors], [operands[i] for i in tensors], maps[0].n_dims)
    wide = np.float64 if operands[0].dtype == np.float64 else np.float32

    def view(number: int, own: Sequence[int], *, whole: bool = True) -> Array:
        """An operand over loops ``own``; ``whole``: broadcast to all of them."""
        operand = operands[number]
        if all(sizes):
            check_bounds(maps[number], operand.shape, sizes, number)
        found = read_view(operand, maps[number], sizes)
        rest = [i for i in range(len(sizes)) if i not in own]
        found = found.transpose([*own, *rest]).reshape([found.shape[i] for i in own])
        if number < 3 or operand.dtype != np.bool_:
            found = float_format(op.operands[number].type.element_type).widen(found).astype(wide)
        return np.broadcast_to(found, [sizes[i] for i in own]) if whole else found

    batch, rows = loops.batch, loops.rows
    n_rows = int(np.prod([sizes[i] for i in rows], dtype=np.int64))
    lead = [sizes[i] for i in batch]

    def by_rows(number: int, last: Sequence[int]) -> Array:
        return view(number, [*batch, *rows, *last]).reshape([*lead, n_rows, sizes[last[0]]])

    key = view(1, [*batch, *loops.keys, *loops.depth])
    value = view(2, [*batch, *loops.keys, *loops.width])
    scale = float_format(op.inputs[3].type).widen(operands[3]).astype(wide)
    scores = np.matmul(by_rows(0, loops.depth), np.swapaxes(key, -1, -2)) * scale
    if op.mask is not None:
        mask = by_rows(4, loops.keys)
        if op.mask.type.element_type is i1:
            scores = np.where(mask, scores, wide(-np.inf))
        else:
            scores = scores + mask
    if op.causal is not None:
        m, n = scores.shape[-2:]
        scores = np.where(np.arange(n)[None, :] <= np.arange(m)[:, None], scores, wide(-np.inf))
    weights = stable_softmax(scores, scores.ndim - 1)
    if op.empty_rows_zero is not None:
        is_empty = np.all(scores == -np.inf, axis=-1, keepdims=True)
        weights = np.where(is_empty, wide(0), weights)
    if op.nan_rows_zero is not None:
        weights = np.where(np.isnan(weights), wide(0), weights)
    result = np.matmul(weights, value).reshape([*lead, *(sizes[i] for i in rows), sizes[loops.width[0]]])
    order = [*batch, *rows, *loops.width]
    result = result.transpose([order.index(p) for p in maps[-1].dim_positions() if p is not None])
    return deliver(op, operands, [float_format(op.outputs[0].type.element_type).narrow(result)])
