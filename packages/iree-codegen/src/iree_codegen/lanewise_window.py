"""A dispatch that slides one window over images in channel blocks, every lane for itself, as numbers.

``out[n, cb, y, x, l] = epilogue(combine over ky, kx of in[n, cb, y*sy + ky*dy, x*sx + kx*dx, l] and
w[cb, ky, kx, l])``: depthwise convolution, or pooling without weights. Matched: an optional pad before with
the number that combines to nothing, and elementwise ops behind that read the result at their own place.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.window import epilogue_cost, fill_number, is_epilogue, step_of, unpadded, widened
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, i8

RANK = 5
PRODUCT, MAXIMUM, SUM = "product", "maximum", "sum"
_KINDS = {("arith.mulf", "arith.addf"): PRODUCT, ("arith.addf",): SUM}
_MAXIMA = {"arith.maximumf": f32, "arith.maxui": i8, "arith.maxsi": i8}
"""Of images of such elements."""


@record(frozen=True)
class LanewiseWindow:
    """Sizes are of the image without padding."""

    op: Any
    kind: str
    source: Value
    weights: Binding | None
    batch: Dim
    blocks: int
    lanes: int
    size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pad: tuple[int, int]
    start: float
    """What sums and maxima begin with."""
    epilogue: int
    """Rough instructions behind, per vector."""
    combines: str = "arith.addf"
    """The op that joins what is combined."""

    @property
    def element(self) -> Any:
        """Of the image and the result."""
        return _MAXIMA.get(self.combines, f32)


def match(dispatch: Dispatch) -> tuple[LanewiseWindow, Value, Value | None] | None:
    """The dispatch as such a window, its result with what is fused behind, and the sums of all pixels of that
    if these are a result, too. None otherwise, or where sizes are not numbers.
    """
    found = [o for o in dispatch.ops if isinstance(o, StructuredOp) and o.reduction_dims]
    if not 1 <= len(found) <= 2 or len(dispatch.results) != len(found):
        return None
    window = window_of(dispatch, found[0])
    if window is None or dispatch.binding_of(window.source) is None:
        return None
    total: Value | None = None
    image = dispatch.results[0][0]
    if len(found) == 2:
        results = [value for value, _ in dispatch.results]
        whole = window_of(dispatch, found[1])
        if whole is None or whole.op.results[0] not in results or not is_total(whole):
            return None
        total, image = whole.op.results[0], whole.source
        if image not in results:
            return None
    return (window, image, total) if is_epilogue(dispatch, window.op, image, indexed=True) else None


def is_total(window: LanewiseWindow) -> bool:
    """One sum over the whole image."""
    whole = window.kernel == window.size and window.out_size == (1, 1) and window.pad == (0, 0)
    return whole and window.kind == SUM and window.start == 0.0


def window_of(dispatch: Dispatch, op: Any) -> LanewiseWindow | None:
    """``op`` and the pad before it as such a window."""
    if op.name != "linalg.generic" or op.n_inputs != 2 or len(op.outputs) != 1:
        return None
    if list(op.iterator_types) != ["parallel"] * RANK + ["reduction"] * 2:
        return None
    image, window, own = op.indexing_maps
    if own is not AffineMap.select(7, range(RANK)):
        return None
    steps = tuple(inner.name for inner in list(op.body)[:-1])
    combines = steps[-1] if steps else ""
    kind = MAXIMUM if len(steps) == 1 and combines in _MAXIMA else _KINDS.get(steps)
    if kind is None or not _combines(op, kind):
        return None
    joined = (op.inputs[0], *op.outputs) if kind == MAXIMUM else op.operands
    if any(v.type.element_type is not _MAXIMA.get(combines, f32) for v in joined):
        return None
    wanted = (1, 5, 6, 4) if kind == PRODUCT else (5, 6)
    rows, columns = (step_of(image.results[axis], axis, axis + 3) for axis in (2, 3))
    if window is not AffineMap.select(7, wanted) or rows is None or columns is None:
        return None
    if any(image.results[axis] is not AffineDim(axis) for axis in (0, 1, 4)):
        return None
    start = fill_number(op.outputs[0])
    if start is None or (kind == PRODUCT and start != 0.0):
        return None
    # Kernels leave out what lies outside: right for zeros in a sum, and for what a maximum begins with.
    outer = unpadded(op.inputs[0], start if kind == MAXIMUM else 0.0, (2, 3))
    if outer is None:
        return None
    source, before, _ = outer
    narrow = widened(source)
    if narrow is not None:
        source = narrow
    weights = dispatch.binding_of(op.inputs[1])
    if weights is None and kind == PRODUCT:
        return None
    dims, out = dispatch.dims(source), dispatch.dims(op.results[0])
    kernel = dispatch.loop_dims(op)[5:]
    numbers = (*dims[1:], *out[1:], *kernel)
    if not all(isinstance(n, int) and n > 0 for n in numbers):
        return None
    sizes: Any = (dims[2:4], out[2:4], kernel)
    blocks: Any = dims[1]
    lanes: Any = dims[4]
    return LanewiseWindow(
        op, kind, source, weights if kind == PRODUCT else None, dims[0], blocks, lanes,
        tuple(sizes[0]), tuple(sizes[1]), tuple(sizes[2]), (rows[0], columns[0]), (rows[1], columns[1]),
        (before[0], before[1]), start, epilogue_cost(dispatch, op), combines,
    )  # fmt: skip


def _combines(op: Any, kind: str) -> bool:
    """The body combines the destination with the image (and the weights), and yields that."""
    a, b, out = op.body.args
    last = op.body.terminator.operands[0].defining_op
    if last is None or out not in last.operands:
        return False
    other = last.operands[0] if last.operands[1] is out else last.operands[1]
    if kind != PRODUCT:
        return other is a and not b.uses
    product = other.defining_op
    return product is not None and set(product.operands) == {a, b}


__all__ = ["MAXIMUM", "PRODUCT", "SUM", "LanewiseWindow", "is_total", "match", "window_of"]
