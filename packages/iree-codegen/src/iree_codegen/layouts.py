"""Which constants a strategy wants stored in another layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_codegen.decompose import in_structured_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.matmul_plan import panel_layout, plan_matmul
from iree_codegen.packing import PANELS, panel_shape
from iree_codegen.strategies import (
    blocked_convolution,
    convolution,
    integer_convolution,
    integer_matmul,
    inverted_residual,
    recurrence,
    tile_convolution,
    tile_matmul,
)
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.types import TensorType
from iree_core_ir.target import ConstantLayout


def constant_layout(func: Any, description: WorkgroupDescription) -> Sequence[ConstantLayout]:
    """The layouts that the strategy taking ``func`` asks for."""
    dispatch = Dispatch(in_structured_ops(func))
    for strategy in (
        tile_convolution, tile_matmul, integer_convolution, integer_matmul, blocked_convolution, convolution,
    ):  # fmt: skip
        layout = strategy.layout(dispatch, description)
        if layout is not None:
            return (layout,)
    for several in (recurrence, inverted_residual):
        found: Sequence[ConstantLayout] | None = several.layouts(dispatch, description)
        if found is not None:
            return found
    plan = plan_matmul(dispatch, description)
    wanted = None if plan is None else panel_layout(plan)
    if wanted is None:
        return ()
    argument, parameters = wanted
    logical: Any = func.regions[0].block.args[argument].type
    shape = panel_shape(logical.shape, parameters)
    return (ConstantLayout(argument, PANELS, parameters, TensorType(shape, logical.element_type)),)
