"""Which arguments a dispatch rounds to a narrower type before anything else, so that they may come so."""

from __future__ import annotations

from typing import Any

from iree_codegen.blocked_image import match
from iree_codegen.blocked_tile_plan import plan_patches
from iree_codegen.contraction import MOVEMENT
from iree_codegen.decompose import in_structured_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.lanewise_window import MAXIMUM
from iree_codegen.lanewise_window import match as match_window
from iree_codegen.tile_attention_plan import plan_tile_attention
from iree_codegen.tile_plan import PARTS, plan_tiles
from iree_codegen.window import ops_behind
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import bf16, f32


def rounded_arguments(func: Any, description: WorkgroupDescription) -> dict[int, Type]:
    """Argument number -> type. On tiles products round their rows, convolutions their images and attentions
    what they multiply, where one bf16 stands for an f32.
    """
    if PARTS.get(description.matmul_precision) != 1 or "bf16" not in description.matrix_tiles:
        return {}
    attention = plan_tile_attention(Dispatch(func), description)
    if attention is not None:
        values = attention.op.inputs[:3]
        bindings = [attention.query.binding, attention.keys.binding, attention.values.binding]
        alone = all(user is attention.op for value in values for user in value.users)
        return {b.argument: bf16 for b in bindings} if alone else {}
    dispatch = Dispatch(in_structured_ops(func))
    c = match(dispatch, description)
    if c is not None and plan_patches(c, description) is not None:
        value = c.source.value
        return {} if c.stem or not _is_for(value, c.op) else {c.source.argument: bf16}
    source = _of_maximum(dispatch)
    if source is not None:
        return {source: bf16}
    plan = plan_tiles(dispatch, description)
    if plan is None or plan.base.a is None or not _is_for(plan.base.a.binding.value, plan.root.op):
        return {}
    return {plan.base.a.binding.argument: bf16}


def _of_maximum(dispatch: Dispatch) -> int | None:
    """The image of which a dispatch rounds maxima, and does nothing else: maxima of what is rounded are the
    same.
    """
    found = match_window(dispatch)
    if found is None or found[0].kind != MAXIMUM or found[0].element is not f32:
        return None
    window = found[0]
    steps = [[inner.name for inner in op.body] for op in ops_behind(dispatch, window.op)]
    if steps != [["arith.truncf", "linalg.yield"]] or dispatch.results[0][0].type.element_type is not bf16:
        return None
    binding = dispatch.binding_of(window.source)
    if binding is None or binding.value.type.element_type is not f32 or not _is_for(binding.value, window.op):
        return None
    return binding.argument


def _is_for(value: Value, op: Op) -> bool:
    """Whether ``op`` alone uses ``value``, moved or not."""
    while value.has_one_use:
        user = value.users[0]
        if user is op:
            return True
        if user.name not in MOVEMENT:
            return False
        value = user.results[0]
    return False
