"""Which arguments of a dispatch its result may take the memory of."""

from __future__ import annotations

from typing import Any

from iree_codegen.blocked_image import match
from iree_codegen.blocked_tile_plan import plan_patches
from iree_codegen.decompose import in_structured_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.tile_plan import plan_tiles
from iree_codegen.window import ops_behind
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.affine import AffineMap


def replaced_arguments(func: Any, description: WorkgroupDescription) -> tuple[int, ...]:
    """Images that a blocked convolution adds to its sums: each element is read once, by the epilogue that
    writes the result at its place.
    """
    dispatch = Dispatch(in_structured_ops(func))
    c = match(dispatch, description)
    if c is None or (plan_patches(c, description) is None and plan_tiles(dispatch, description) is not None):
        return ()
    result, destination = dispatch.results[0]
    identity = AffineMap.identity(result.type.rank)
    found = []
    for op in ops_behind(dispatch, c.op):
        for number, operand in enumerate(op.inputs):
            binding = dispatch.binding_of(operand)
            if binding is None or binding.constant or op.indexing_maps[number] is not identity:
                continue
            if operand.type == result.type and binding.dims == destination.dims and operand.has_one_use:
                found.append(binding.argument)
    return tuple(found)


__all__ = ["replaced_arguments"]
