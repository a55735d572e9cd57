"""``matmul``: contractions on GPUs, in the form that suits the device and the shape."""

from __future__ import annotations

from iree_codegen.dispatch import Dispatch
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel import Kernel
from iree_codegen.scalars import NotVectorizable
from iree_codegen.strategies.gpu.dot_product import dot_product
from iree_codegen.strategies.gpu.fragment_product import fragment_product
from iree_codegen.strategies.gpu.products import Product, find_product
from iree_codegen.strategies.gpu.register_product import register_product
from iree_codegen.strategies.gpu.shared_product import shared_product
from iree_codegen.strategies.gpu.tile_shapes import is_tiny

FEW_ROWS = 8
"""Products of up to so many rows are bound by reading the other factor: nothing gained by sharing it."""


def matmul(dispatch: Dispatch, description: InvocationDescription) -> Kernel | None:
    """The kernel of a dispatch around one contraction; None for others."""
    product = find_product(dispatch)
    if product is None:
        return None
    for vectors in (True, False):
        try:
            return _product(dispatch, product, description, vectors)
        except NotVectorizable:
            continue
    return None


def _product(
    dispatch: Dispatch, product: Product, description: InvocationDescription, vectors: bool
) -> Kernel | None:
    rows = product.rows.extent
    if is_tiny(*product.sizes):
        return register_product(dispatch, product, description, vectors=vectors)
    few = isinstance(rows, int) and rows <= FEW_ROWS
    if description.prefers_barriers and few:
        kernel = dot_product(dispatch, product, description)
        if kernel is not None:
            return kernel
    if description.prefers_barriers and not few:
        kernel = fragment_product(dispatch, product, description, vectors=vectors)
        if kernel is not None:
            return kernel
        kernel = shared_product(dispatch, product, description, vectors=vectors)
        if kernel is not None:
            return kernel
    return register_product(dispatch, product, description, vectors=vectors)
