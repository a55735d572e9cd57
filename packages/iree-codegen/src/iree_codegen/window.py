"""A dispatch that slides one window over images (convolution or pooling), as numbers.

Matched: an optional pad before, the window op on zeros (or pooling's neutral number), and elementwise ops
behind that read its result at their own place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeGuard, TypeVar

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.indexing import Affine, Var
from iree_codegen.kernel_builder import Index
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineBinary, AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType, bf16, f32

CONV_1D = "linalg.conv_1d_ncw_fcw"
CONV_2D = "linalg.conv_2d_nchw_fchw"
GROUPED = "linalg.conv_2d_ngchw_gfchw"
DEPTHWISE = "linalg.depthwise_conv_2d_nchw_chw"
MAX_POOL = "linalg.pooling_nchw_max"
SUM_POOL = "linalg.pooling_nchw_sum"
DENSE = frozenset({CONV_1D, CONV_2D, GROUPED})
SLIDING = frozenset({DEPTHWISE, MAX_POOL, SUM_POOL})
MAX_TAPS = 49
"""Taps are unrolled; windows beyond 7x7 are left to other strategies."""


Size = TypeVar("Size", bound=Dim, covariant=True)
"""How image sizes are known: as numbers, or as dims that may be computed when the dispatch runs."""


@record(frozen=True)
class Window(Generic[Size]):
    """The window op of a dispatch. Image sizes are without padding."""

    op: Any
    source: Binding
    weights: Binding | None
    """None: pooling."""
    batch: Dim
    groups: int
    channels: int
    """Input channels of a group."""
    height: Size
    width: Size
    out_channels: int
    """Of a group."""
    out_height: Size
    out_width: Size
    taps: tuple[tuple[int, int], ...]
    """Row and column of every tap in the padded input, dilation included."""
    strides: tuple[int, int]
    pad: tuple[int, int]
    """Rows above and columns left of the input."""
    padded: bool
    swapped: bool
    """Rows and columns change places: an image of width 1 is handled as one row."""
    start: float
    """What sums and maxima begin with, and what lies outside the image."""

    @property
    def n_taps(self) -> int:
        return len(self.taps)

    @property
    def depth(self) -> int:
        """Products of one output element."""
        return self.channels * self.n_taps

    def forms(self, image: Affine, group: Affine, channel: Affine, y: Affine, x: Affine) -> list[Affine]:
        """The result's indices in the order of its dims."""
        rank = self.op.results[0].type.rank
        if rank == 3:
            return [image, channel, x]
        spatial = [x, y] if self.swapped else [y, x]
        return [image, group, channel, *spatial] if rank == 5 else [image, channel, *spatial]


@record(frozen=True)
class Place:
    """Variables for one position of the result."""

    n: Var
    g: Var
    o: Var
    y: Var
    x: Var

    @staticmethod
    def of(w: Window[Any]) -> Place:
        return Place(
            Var("n", w.batch),
            Var("g", w.groups),
            Var("o", w.out_channels),
            Var("y", w.out_height),
            Var("x", w.out_width),
        )

    def forms(self, w: Window[Any]) -> tuple[Affine, ...]:
        return tuple(w.forms(*(indexing.of(v) for v in (self.n, self.g, self.o, self.y, self.x))))

    def at(self, image: Index, group: Index, channel: Index, y: Index) -> dict[Var, Index]:
        return {self.n: image, self.g: group, self.o: channel, self.y: y}


def has_static_images(window: Window[Any]) -> TypeGuard[Window[int]]:
    """True when the images' sizes are numbers."""
    sizes = (window.height, window.width, window.out_height, window.out_width)
    return all(isinstance(size, int) for size in sizes)


def match(dispatch: Dispatch, names: frozenset[str]) -> Window[Dim] | None:
    """The dispatch as one window op among ``names`` with what is fused around it; None otherwise."""
    found = [op for op in dispatch.ops if op.name in names]
    if len(found) != 1 or len(dispatch.results) != 1:
        return None
    op: Any = found[0]
    pooling = op.name in (MAX_POOL, SUM_POOL)
    values = [op.inputs[0], *op.outputs, *op.results] + ([] if pooling else [op.inputs[1]])
    if any(v.type.element_type is not f32 for v in values):
        return None
    if op.inputs[0].type.shape[1] == DYNAMIC or min(op.inputs[1].type.shape) <= 0:
        return None
    start = fill_number(op.outputs[0])
    if start is None or (start != 0.0 and not pooling) or not is_epilogue(dispatch, op):
        return None
    rank = op.inputs[0].type.rank
    outer = unpadded(op.inputs[0], start, range(rank - (2 if rank > 3 else 1), rank))
    if outer is None:
        return None
    source, before = outer[0], tuple(outer[1])
    padded = source is not op.inputs[0]
    if padded and start != 0.0 and op.name == SUM_POOL:
        # Kernels may leave out what lies outside.
        return None
    binding, weights = dispatch.binding_of(source), dispatch.binding_of(op.inputs[1])
    if binding is None or (weights is None and not pooling):
        return None
    if not pooling and not op.inputs[1].has_one_use:
        return None
    shape, out = list(dispatch.dims(source)), list(dispatch.dims(op.results[0]))
    window = list(op.inputs[1].type.shape)
    strides, dilations = tuple(op.strides), tuple(op.dilations)
    if op.name == CONV_1D:
        shape.insert(2, 1)
        out.insert(2, 1)
        window.insert(2, 1)
        strides, dilations, before = (1, *strides), (1, *dilations), (0, *before)
    groups, out_channels = out[1] if op.name == GROUPED else 1, out[-3]
    if not isinstance(groups, int) or not isinstance(out_channels, int):
        return None
    channels = 1 if op.name in SLIDING else window[-3]
    kh, kw = window[-2:]
    taps = tuple((y * dilations[0], x * dilations[1]) for y in range(kh) for x in range(kw))
    if not 0 < len(taps) <= MAX_TAPS or 0 in shape or 0 in out:
        return None
    (height, width), (out_height, out_width) = shape[-2:], out[-2:]
    swapped = width == 1 and out_width == 1 and kw == 1 and before[1] == 0 and op.name != CONV_1D
    if swapped:
        height, width, out_height, out_width = width, height, out_width, out_height
        taps = tuple((x, y) for y, x in taps)
        strides, before = (strides[1], strides[0]), (before[1], before[0])
    return Window(
        op, binding, weights if not pooling else None, shape[0], groups, channels, height, width,
        out_channels, out_height, out_width, taps, (strides[0], strides[1]), (before[0], before[1]),
        padded, swapped, start,
    )  # fmt: skip


def step_of(expr: AffineExpr, loop: int, window: int) -> tuple[int, int] | None:
    """(stride, dilation) of ``loop * stride + window * dilation``."""
    factors = _factors(expr)
    if factors is None or set(factors) != {loop, window} or min(factors.values()) < 1:
        return None
    return factors[loop], factors[window]


def _factors(expr: AffineExpr) -> dict[int, int] | None:
    """By loop, of a sum of multiples of different loops; None for anything else."""
    if isinstance(expr, AffineDim):
        return {expr.position: 1}
    if not isinstance(expr, AffineBinary):
        return None
    if expr.kind == "+":
        a, b = _factors(expr.lhs), _factors(expr.rhs)
        return None if a is None or b is None or set(a) & set(b) else {**a, **b}
    if expr.kind == "*" and isinstance(expr.lhs, AffineDim) and isinstance(expr.rhs, AffineConstant):
        return {expr.lhs.position: expr.rhs.value}
    return None


def unpadded(
    value: Value, outside: float, spatial: Sequence[int]
) -> tuple[Value, list[int], list[int]] | None:
    """The image that ``value`` pads with ``outside``, and the padding before and behind it along the axes
    ``spatial``; ``value`` itself and zeros where nothing pads it. None: it is padded otherwise.
    """
    pad: Any = value.defining_op
    if pad is None or pad.name != "tensor.pad":
        return value, [0] * len(spatial), [0] * len(spatial)
    if not value.has_one_use:
        return None
    if known_number(pad.regions[0].block.terminator.operands[0]) != outside:
        return None
    low, high = pad.mixed_low, pad.mixed_high
    if not all(isinstance(n, int) and n >= 0 for n in (*low, *high)):
        return None
    if any(low[axis] or high[axis] for axis in range(len(low)) if axis not in spatial):
        return None
    return pad.operands[0], [low[a] for a in spatial], [high[a] for a in spatial]


def pad_number(value: Value) -> float | None:
    """The number that ``value`` is padded with; 0 where nothing pads it, None where it is no number."""
    pad: Any = value.defining_op
    if pad is None or pad.name != "tensor.pad":
        return 0.0
    return known_number(pad.regions[0].block.terminator.operands[0])


def widened(value: Value) -> Value | None:
    """The bf16 that ``value`` holds as f32, element by element, for one reader alone."""
    op = value.defining_op
    if not isinstance(op, StructuredOp) or op.reduction_dims or not value.has_one_use:
        return None
    narrow = op.operands[0]
    same = all(map is AffineMap.identity(value.type.rank) for map in op.indexing_maps)
    is_cast = [inner.name for inner in op.body] == ["arith.extf", "linalg.yield"]
    return narrow if same and is_cast and narrow.type.element_type is bf16 else None


def fill_number(value: Value) -> float | None:
    """The number that fills ``value`` everywhere."""
    fill = value.defining_op
    return known_number(fill.operands[0]) if fill is not None and fill.name == "linalg.fill" else None


# -- what is fused behind ---------------------------------------------------------------------------


def is_epilogue(dispatch: Dispatch, op: Any, end: Value | None = None, *, indexed: bool = False) -> bool:
    """Everything that reads the result does so at its own place, up to the one result of the dispatch.

    Or up to ``end``, which others may read, if nothing else of what leads there. ``indexed``: ops that ask
    for their place are taken, too.
    """
    result = op.results[0]
    shape = result.type.shape
    identity = AffineMap.identity(len(shape))
    reached = {result}
    for own in dispatch.ops:
        reads = [v for v in own.operands if v in reached]
        if not reads:
            continue
        if end in reads:
            if len(reads) > 1:
                return False
            continue
        if not isinstance(own, StructuredOp) or set(own.iterator_types) != {"parallel"}:
            return False
        if own.has_index and not indexed:
            return False
        if len(own.results) != 1 or own.results[0].type.shape != shape:
            return False
        maps = own.indexing_maps
        if maps[own.n_inputs] is not identity or any(v in own.outputs for v in reads):
            return False
        if any(maps[i] is not identity for i, v in enumerate(own.inputs) if v in reached):
            return False
        reached.add(own.results[0])
    return (dispatch.results[0][0] if end is None else end) in reached


def ops_behind(dispatch: Dispatch, op: Op) -> list[Any]:
    """The structured ops that ``op`` does not need."""
    before, stack = {op}, [op]
    while stack:
        for value in stack.pop().operands:
            maker = value.defining_op
            if maker is not None and maker not in before:
                before.add(maker)
                stack.append(maker)
    return [
        own
        for own in dispatch.ops
        if own not in before and isinstance(own, StructuredOp) and own.name != "linalg.fill"
    ]


def is_flat(dispatch: Dispatch, op: Any) -> bool:
    """True when the epilogue reads nothing that varies within a row or column alone."""
    rank = op.results[0].type.rank
    spatial = {rank - 1, rank - 2} if rank > 3 else {rank - 1}
    for own in ops_behind(dispatch, op):
        for value, map in zip(own.inputs, own.indexing_maps, strict=False):
            if not isinstance(value.type, TensorType) or map is AffineMap.identity(rank):
                continue
            if any(e.dims_used() & spatial for e in map.results):
                return False
    return True


def epilogue_cost(dispatch: Dispatch, op: Any) -> int:
    """Rough instructions per vector of the ops behind ``op``."""
    cost = 1
    for own in ops_behind(dispatch, op):
        cost += len(own.inputs)
        for inner in own.body:
            cost += 20 if inner.name.startswith("math.") else 1
    return cost


def images(w: Window[Any]) -> int:
    """Images of a batch, as far as known."""
    return w.batch if isinstance(w.batch, int) else 1


def total_groups(w: Window[Any], blocks: Dim) -> Dim:
    """Workgroups: ``blocks`` for every group of every image."""
    return dim_ops.mul(w.batch, dim_ops.mul(w.groups, blocks))


__all__: Sequence[str] = [
    "DENSE", "DEPTHWISE", "MAX_POOL", "SLIDING", "SUM_POOL", "Place", "Window", "epilogue_cost",
    "fill_number", "images", "is_epilogue", "is_flat", "match", "ops_behind", "pad_number",
    "step_of", "total_groups", "unpadded", "widened",
]  # fmt: skip
