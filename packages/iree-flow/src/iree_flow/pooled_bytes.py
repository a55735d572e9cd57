"""Maxima of windows of dequantized bytes, taken of the bytes: dequantizing keeps their order.

Before: ``max(pad(scale * (q - zero point)))`` in f32. After: ``scale * (max(pad(q)) - zero point)``, the same
numbers; what is quantized behind it needs no f32 image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from iree_codegen.window import fill_number, unpadded
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, i8
from iree_flow.dims import DimResolver
from iree_flow.quantized import quantized

SPATIAL = (2, 3)


def pool_bytes(op: Any, constants: ConstantStore, resolver: DimResolver) -> bool:
    """Rewrite the max pooling ``op`` of images ``[N][C][H][W]`` if it reads dequantized bytes.

    Tells whether it does.
    """
    if fill_number(op.outputs[0]) != -math.inf:
        return False
    outer = unpadded(op.inputs[0], -math.inf, SPATIAL)
    if outer is None:
        return False
    value, low, high = outer
    found = quantized(value, constants)
    dequantization: Any = value.defining_op
    if found is None or found.moves or dequantization.n_inputs != 1:
        return False
    if not isinstance(found.scale, float) or not 0 < found.scale < math.inf:
        return False
    if not isinstance(found.zero_point, int) or not _meets_image(op, value.type.shape[2:], low, high):
        return False
    builder = Builder.before_op(op)
    builder.location = op.location
    least = builder.insert(arith.Constant.of(-128 if found.signed else 0, i8)).result
    image = found.source
    if value is not op.inputs[0]:
        pad = op.inputs[0].defining_op
        image = builder.create(tensor.Pad, image, pad.mixed_low, pad.mixed_high, least).result
    sizes = list(resolver.dims(op.results[0]))
    start = linalg.fill(builder, least, builder.create(tensor.Empty, sizes, i8).result)

    def larger(b: Builder, x: Value, _: Value, most: Value) -> Value:
        kind: Any = arith.MaxSI if found.signed else arith.MaxUI
        result: Value = b.create(kind, most, x).result
        return result

    pooled = linalg.generic(
        builder, [image, op.inputs[1]], [start], op.indexing_maps, op.iterator_types, larger
    )
    region = dequantization.regions[0].clone({})
    target = builder.create(tensor.Empty, sizes, op.results[0].type.element_type).result
    made = builder.create(
        linalg.Generic,
        [pooled.results[0]],
        [target],
        dequantization.indexing_maps,
        dequantization.iterator_types,
        region,
    )
    op.replace_by([made.results[0]])
    return True


def _meets_image(op: Any, size: Sequence[int], low: Sequence[int], high: Sequence[int]) -> bool:
    """Whether every window has a pixel of the image, of ``size``: none lies beside it, and the steps of none
    that begins before it are so long that they pass over it."""
    for n, k, d, before, behind in zip(size, op.inputs[1].type.shape, op.dilations, low, high, strict=True):
        beside = max(before, behind) > (k - 1) * d
        passes = before > 0 and n < d and (d > 1 or n != DYNAMIC)
        if beside or passes:
            return False
    return True


__all__ = ["pool_bytes"]
