"""Products of two dequantized tensors, on integers that f32 holds exactly.

Before: a matrix product in f32 of ``sa * (a - za)`` and ``sb * (b - zb)``, neither a constant. After: the
product of ``a - za`` and ``b - zb`` in f32, which is exact while its sums stay below ``2 ** 24``, and
``sa * sb`` behind it: what is quantized from that has no rounding of sums in it, as on integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, i32, i64
from iree_flow.dims import DimResolver
from iree_flow.moved_elements import is_zero_filled
from iree_flow.quantized import Quantized, array_of, moved, quantized

LARGEST = "iree.integers"
"""On a product of f32: all its results are integers, of this magnitude at most."""
NAMES = ("linalg.matmul", "linalg.batch_matmul")
EXACT = 1 << 24
"""Up to here f32 holds every integer."""
RESHAPES = ("tensor.collapse_shape", "tensor.expand_shape")


def multiply_exactly(op: Any, constants: ConstantStore, resolver: DimResolver) -> bool:
    """Rewrite the product ``op`` if its operands are dequantized, with one scale each, and few are summed.

    Tells whether it is.
    """
    if (
        op.name not in NAMES
        or op.outputs[0].type.element_type is not f32
        or not is_zero_filled(op.outputs[0])
    ):
        return False
    factors = [quantized(v, constants) for v in op.inputs]
    depth = op.inputs[0].type.shape[-1]
    if not all(factor is not None and _is_plain(factor, constants) for factor in factors):
        return False
    found = [factor for factor in factors if factor is not None]
    largest = depth * math.prod(_largest(factor) for factor in found)
    if depth <= 0 or largest > EXACT:
        return False
    builder = Builder.before_op(op)
    builder.location = op.location
    integers = [_centred(factor, op.inputs[i], builder, resolver) for i, factor in enumerate(found)]
    product = builder.create(type(op), integers, list(op.outputs))
    product.attributes[LARGEST] = IntegerAttr(largest, i64)
    scale = float(np.float32(found[0].scale) * np.float32(found[1].scale))

    def scaled(b: Builder, x: Value, *_: Value) -> Value:
        result: Value = b.create(arith.MulF, x, b.insert(arith.Constant.of(scale, f32)).result).result
        return result

    op.replace_by([linalg.elementwise(builder, [product.results[0]], scaled)])
    return True


def _is_plain(factor: Quantized, constants: ConstantStore) -> bool:
    numbers = isinstance(factor.scale, float) and isinstance(factor.zero_point, int)
    moves = all(move.name in RESHAPES for move in factor.moves)
    return numbers and moves and array_of(factor.source, constants) is None


def _largest(factor: Quantized) -> int:
    least, most = (-128, 127) if factor.signed else (0, 255)
    zero_point: int = factor.zero_point
    return max(zero_point - least, most - zero_point)


def _centred(factor: Quantized, value: Value, builder: Builder, resolver: DimResolver) -> Value:
    """The integers less their zero point, with the shape of ``value``."""
    source = moved(factor.source, factor.moves, factor.zero_point, builder)
    target = builder.create(tensor.Empty, list(resolver.dims(value)), f32).result

    def body(b: Builder, x: Value, _: Value) -> Value:
        extension: Any = arith.ExtSI if factor.signed else arith.ExtUI
        integer = b.create(extension, x, i32).result
        if factor.zero_point:
            offset = b.insert(arith.Constant.of(-factor.zero_point, i32)).result
            integer = b.create(arith.AddI, integer, offset).result
        result: Value = b.create(arith.SIToFP, integer, f32).result
        return result

    rank = value.type.rank
    maps = [AffineMap.identity(rank)] * 2
    return linalg.generic(builder, [source], [target], maps, ["parallel"] * rank, body).results[0]


__all__ = ["LARGEST", "multiply_exactly"]
