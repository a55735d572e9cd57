"""A dispatch that may widen an image in channel blocks, slides a window over it and may narrow it again.

A depthwise convolution or pooling with a 1x1 convolution before it, behind it, or both, each with elementwise
ops behind. The images between them are used by nothing else.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen.blocked_image import channels_there
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.lanewise_window import LanewiseWindow, window_of
from iree_codegen.window import fill_number, is_epilogue
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

LOOPS = 9


@record(frozen=True)
class Pointwise:
    """A 1x1 convolution with weights ``[fb, cb, 1, 1, ci, fi]``."""

    op: Any
    source: Value
    weights: Binding
    blocks: int
    """Of input channels."""
    channels: int
    """Input channels that are there."""
    out_blocks: int
    lanes: int
    final: Value
    """The result with what is fused behind."""


@record(frozen=True)
class InvertedResidual:
    expand: Pointwise | None
    """None: the window slides over what is in memory."""
    window: LanewiseWindow
    narrow: Value
    """The window's result with what is fused behind."""
    project: Pointwise | None


def match(dispatch: Dispatch) -> InvertedResidual | None:
    """The dispatch as such a chain; None otherwise, or where sizes are not numbers."""
    found: list[Any] = [o for o in dispatch.ops if isinstance(o, StructuredOp) and o.reduction_dims]
    if not 2 <= len(found) <= 3 or len(dispatch.results) != 1:
        return None
    windows = [window_of(dispatch, op) for op in found]
    at = 0 if windows[0] is not None else 1
    window = windows[at]
    if window is None:
        return None
    expand = _pointwise(dispatch, found[0], window.source) if at else None
    if at and (expand is None or not window.source.has_one_use):
        return None
    if dispatch.binding_of(expand.source if expand is not None else window.source) is None:
        return None
    result = dispatch.results[0][0]
    behind = found[at + 1 :]
    narrow, project = result, None
    if behind:
        narrow = behind[0].inputs[0]
        project = _pointwise(dispatch, behind[0], result) if len(behind) == 1 else None
        if project is None or not narrow.has_one_use:
            return None
    if not is_epilogue(dispatch, window.op, narrow, indexed=True):
        return None
    return InvertedResidual(expand, window, narrow, project)


def _pointwise(dispatch: Dispatch, op: Any, final: Value) -> Pointwise | None:
    """``op`` as a 1x1 convolution whose elementwise readers end in ``final``."""
    if op.name != "linalg.generic" or op.n_inputs != 2 or len(op.iterator_types) != LOOPS:
        return None
    if list(op.iterator_types) != ["parallel"] * 5 + ["reduction"] * 4:
        return None
    d = [AffineDim(i) for i in range(LOOPS)]
    image = AffineMap(LOOPS, 0, [d[0], d[5], d[2] + d[6], d[3] + d[7], d[8]])
    wanted = (image, AffineMap.select(LOOPS, [1, 5, 6, 7, 8, 4]), AffineMap.select(LOOPS, range(5)))
    if any(a is not b for a, b in zip(op.indexing_maps, wanted, strict=True)):
        return None
    if [inner.name for inner in op.body][:-1] != ["arith.mulf", "arith.addf"]:
        return None
    if any(v.type.element_type is not f32 for v in op.operands) or fill_number(op.outputs[0]) != 0.0:
        return None
    weights = dispatch.binding_of(op.inputs[1])
    extents = dispatch.loop_dims(op)
    if weights is None or not is_epilogue(dispatch, op, final, indexed=True):
        return None
    _, out_blocks, _, _, lanes, blocks, kh, kw, inner = extents
    if not all(isinstance(n, int) and n > 0 for n in extents[1:]) or (kh, kw) != (1, 1) or inner != lanes:
        return None
    assert isinstance(blocks, int) and isinstance(out_blocks, int) and isinstance(lanes, int)
    channels = channels_there(op, blocks, lanes)
    return Pointwise(op, op.inputs[0], weights, blocks, channels, out_blocks, lanes, final)


__all__ = ["InvertedResidual", "Pointwise", "match"]
