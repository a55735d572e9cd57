"""Which constants the GPU strategies want stored in another layout.

Weights of a convolution with their depth contiguous and channels innermost: a slab of the depth then lies in
one tap of the window, whose bounds are checked once, and weights are read in vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_codegen.decompose import decomposed
from iree_codegen.dispatch import Dispatch
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.strategies.gpu.products import TRANSPOSE, find_product
from iree_core_ir.ir.types import TensorType
from iree_core_ir.target import ConstantLayout

CHANNELS_FIRST = {
    "linalg.conv_1d_ncw_fcw": (0, 2, 1),
    "linalg.conv_2d_nchw_fchw": (0, 2, 3, 1),
    "linalg.conv_2d_ngchw_gfchw": (0, 1, 3, 4, 2),
    "linalg.conv_3d_ncdhw_fcdhw": (0, 2, 3, 4, 1),
}
"""Convolution -> the permutation of its weights that puts channels last."""


def constant_layout(func: Any, description: InvocationDescription) -> Sequence[ConstantLayout]:
    """The layouts that the strategy taking dispatch function ``func`` asks for."""
    dispatch = Dispatch(decomposed(func))
    product = find_product(dispatch)
    if product is None:
        return ()
    permutation = CHANNELS_FIRST.get(product.root.op.name)
    if permutation is None:
        return ()
    weights = product.root.op.operands[1]
    binding = dispatch.binding_of(weights)
    if binding is None or not binding.constant or not weights.has_one_use:
        return ()
    depth = product.depth(1)
    if any(product.factor(n, depth) is None for n in (product.a_operand, product.b_operand)):
        return ()
    logical: Any = weights.type
    taps = logical.shape[logical.rank - len(permutation) + _first_tap(permutation) :]
    if all(extent == 1 for extent in taps) or any(extent < 0 for extent in logical.shape):
        return ()
    stored = TensorType([logical.shape[i] for i in permutation], logical.element_type)
    return (ConstantLayout(binding.argument, TRANSPOSE, {"permutation": list(permutation)}, stored),)


def _first_tap(permutation: Sequence[int]) -> int:
    """The first axis of the window in the logical weights: behind the channels."""
    return permutation[-1] + 1


__all__ = ["CHANNELS_FIRST", "constant_layout"]
