"""A dispatch that convolves an image stored in blocks of channels, as numbers.

``out[n, fb, y, x, fi] = epilogue(sum over cb, kh, kw, ci of in[n, cb, y*sy + kh*dy, x*sx + kw*dx, ci] *
w[fb, cb, kh, kw, ci, fi])`` where ``ci`` and ``fi`` run over the lanes of a vector; axes of size 1 may be
missing. A *stem* reads an image ``in[n, c, y, x]`` that is not blocked. Matched by what the maps say each
loop is; a pad with zeros may come before, elementwise ops that read the sums at their own place behind.

Unsigned bytes times signed bytes likewise: four channels are a word of 32 bits, which is
multiplied and summed at once, so a block of ``lanes`` channels is ``lanes / 4`` words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from iree_base.records import record
from iree_codegen import indexing
from iree_codegen.contraction import product_operands
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.indexing import Affine, Var
from iree_codegen.integer_panels import GROUP
from iree_codegen.integer_plan import is_integer_product
from iree_codegen.window import (
    epilogue_cost,
    fill_number,
    is_epilogue,
    ops_behind,
    pad_number,
    unpadded,
    widened,
)
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, f32, i32

CHANNELS = "iree.channels"
"""On the convolution: input channels that are there; the lanes behind them are zero."""
IMAGE, BLOCK, ROW, COLUMN, LANE = "image", "block", "row", "column", "lane"
"""What an axis of the result is."""


@record(frozen=True)
class BlockedConvolution:
    """Sizes are of the unpadded image; offsets and strides below count elements, or words of bytes."""

    op: Any
    source: Binding
    weights: Binding
    batch: Dim
    lanes: int
    stem: bool
    channels: int
    """Input channels that are there."""
    blocks: int
    """Blocks of input channels; of a stem, its channels (or words of them)."""
    out_blocks: int
    size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pad: tuple[int, int]
    padded: bool
    axes: tuple[str, ...]
    """What each axis of the result is."""
    flat: bool
    """The epilogue reads nothing that varies along rows or columns alone: a plane is a list of pixels."""
    epilogue: int
    """Rough instructions behind the sums, per vector."""
    group: int = 1
    """Channels in a word."""
    outside: int = 0
    """The number around a padded image."""
    rounded: bool = False
    """The image holds bf16, which the dispatch widens: only matrix tiles read it as it is."""

    def without_values(self) -> BlockedConvolution:
        """Its numbers alone, equal for equal shapes."""
        nothing: Any = None
        return replace(self, op=nothing, source=nothing, weights=nothing)

    @property
    def inner(self) -> int:
        """Words of channels next to each other in memory."""
        return 1 if self.stem else self.lanes // self.group

    @property
    def word(self) -> Any:
        """What is loaded at once and multiplied, and what the sums are."""
        return f32 if self.group == 1 else i32

    @property
    def words(self) -> int:
        """Words of the input channels that are there."""
        return -(-self.channels // self.group)

    @property
    def interleaves(self) -> bool:
        """The image holds no words yet: a stem of bytes."""
        return self.stem and self.group > 1

    @property
    def n_taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def depth(self) -> int:
        """Products of words for one output element."""
        return self.words * self.n_taps

    @property
    def tail(self) -> int:
        """Words of the last block when it is not full, else 0."""
        return 0 if self.stem else self.words % self.inner

    @property
    def extent(self) -> tuple[int, int]:
        """Input rows and columns under one window."""
        (kh, kw), (dy, dx) = self.kernel, self.dilations
        return (kh - 1) * dy + 1, (kw - 1) * dx + 1

    @property
    def is_plain(self) -> bool:
        """Every pixel is computed from the one input pixel at its place."""
        return self.kernel == (1, 1) and not self.padded and self.strides == (1, 1)

    @property
    def is_sparse(self) -> bool:
        """Pixels are computed from single ones that do not lie side by side."""
        return self.kernel == (1, 1) and not self.padded and not self.stem and self.strides != (1, 1)

    def weight_shape(self) -> tuple[int, int, int, int, int, int]:
        """``[fb, cb, kh, kw, ci, fi]`` in words."""
        return (self.out_blocks, self.blocks, *self.kernel, self.inner, self.lanes)


def match(dispatch: Dispatch, description: Any) -> BlockedConvolution | None:
    """The dispatch as a blocked convolution; None otherwise."""
    lanes = description.vector_bits // 32
    found = [o for o in dispatch.ops if isinstance(o, StructuredOp) and o.reduction_dims]
    if lanes < 4 or len(found) != 1 or len(dispatch.results) != 1:
        return None
    op: Any = found[0]
    if op.name != "linalg.generic" or op.n_inputs != 2:
        return None
    group = _group(op, description)
    if group == 0 or fill_number(op.outputs[0]) != 0.0 or not is_epilogue(dispatch, op, indexed=True):
        return None
    for image, weights in ((0, 1), (1, 0)) if group == 1 else ((0, 1),):
        loops = _loops(dispatch, op, image, weights, lanes)
        if loops is not None:
            return _convolution(dispatch, op, op.operands[image], op.operands[weights], lanes, group, loops)
    return None


def _group(op: Any, description: Any) -> int:
    """How many channels ``op`` multiplies at once: 1 of f32, 4 of bytes; 0: it is no such product."""
    if is_integer_product(op):
        return GROUP if description.integer_dots else 0
    floats = all(v.type.element_type is f32 for v in op.operands)
    return 1 if floats and product_operands(op) is not None else 0


@record(frozen=True)
class _Step:
    """One axis of the image: ``stride * parallel loop + dilation * window loop``."""

    loop: Var | None
    stride: int
    window: Var | None
    dilation: int


@record(frozen=True)
class _Loops:
    """The loops of a convolution by what they do; those that are not there are None."""

    steps: tuple[_Step, ...]
    spatial: tuple[int, ...]
    """The image's axes that are rows and columns."""
    kinds: tuple[str, ...]
    """What each axis of the result is."""
    batch: Var | None
    block: Var | None
    channel: Var | None
    inner: Var | None


def _loops(dispatch: Dispatch, op: Any, image: int, weights: int, lanes: int) -> _Loops | None:
    """The loops of ``op`` with these operands as image and weights; None when it is no such convolution."""
    loops = [Var(f"l{i}", e) for i, e in enumerate(dispatch.loop_dims(op))]
    reduced = {loops[i] for i in op.reduction_dims}
    forms = [indexing.of(v) for v in loops]

    def mapped(number: int) -> list[Affine]:
        return [indexing.apply(e, forms) for e in op.indexing_maps[number].results]

    out, own = _plain(mapped(2)), _plain(mapped(weights))
    if not out or not own or out[-1] is not own[-1] or out[-1].extent != lanes:
        return None
    lane = out[-1]
    steps = [s for s in (_step(form, reduced) for form in mapped(image)) if s is not None]
    read = [v for s in steps for v in (s.loop, s.window) if v is not None]
    if len(steps) < len(op.indexing_maps[image].results) or lane in read or len(set(read)) != len(read):
        return None
    if any(v not in reduced and (v in read or v not in out) for v in own):
        return None
    blocks = [v for v in out if v not in read and v is not lane]
    if len(blocks) > 1 or any(v not in own for v in blocks):
        return None
    return _named(steps, out, own, blocks[0] if blocks else None)


def _named(steps: list[_Step], out: list[Var], own: list[Var], block: Var | None) -> _Loops | None:
    """Which axis of the image, the result (``out``) and the weights (``own``) is what."""
    lane, last = out[-1], len(steps) - 1
    channels = [i for i, s in enumerate(steps) if s.loop is None and s.window is not None]
    inner, channel, batch = None, None, None
    end = last + 1
    if last in channels and steps[last].dilation == 1:
        window = steps[last].window
        assert window is not None
        if window.extent == lane.extent and own[-2:-1] == [window]:
            inner, end = window, last
            channels.remove(last)
    if len(channels) > 1:
        return None
    if channels:
        channel = steps[channels[0]].window
        if steps[channels[0]].dilation != 1:
            return None
        first = channels[0] + 1
    elif block is not None:
        before = out[: out.index(block)]
        first = next((i for i in range(end) if steps[i].loop not in before), end)
    else:
        first = max(0, end - 2)
    batches = [i for i in range(first) if i not in channels]
    spatial = range(first, end)
    if len(spatial) > 2 or len(batches) > 1:
        return None
    if batches:
        step = steps[batches[0]]
        if step.window is not None or step.stride != 1:
            return None
        batch = step.loop
    parts = [(lane, LANE), (block, BLOCK), (batch, IMAGE)]
    parts += zip([steps[axis].loop for axis in spatial[::-1]], (COLUMN, ROW), strict=False)
    kinds = {loop: kind for loop, kind in parts if loop is not None}
    wanted = [block, channel, *(steps[axis].window for axis in spatial), inner, lane]
    if any(v not in kinds for v in out) or own != [v for v in wanted if v is not None]:
        return None
    named = tuple(kinds[v] for v in out)
    return _Loops(tuple(steps), tuple(spatial), named, batch, block, channel, inner)


def _convolution(
    dispatch: Dispatch, op: Any, image: Value, weights: Value, lanes: int, group: int, loops: _Loops
) -> BlockedConvolution | None:
    """The numbers of a convolution with these loops; None where they are not all known, or do not fit."""
    outside = 0.0 if group == 1 else pad_number(image)
    outer = None if outside is None else unpadded(image, outside, loops.spatial)
    if outer is None or outside is None or lanes % group:
        return None
    source, before, behind = outer
    source_binding, weights_binding = dispatch.binding_of(source), dispatch.binding_of(weights)
    if source_binding is None and (narrow := widened(source)) is not None:
        source_binding = dispatch.binding_of(narrow)
    if source_binding is None or weights_binding is None or not weights.has_one_use:
        return None
    dims = dispatch.dims(source)
    axes = [loops.steps[axis] for axis in loops.spatial]
    numbers = [v.extent for v in (loops.block, loops.channel) if v is not None]
    numbers += [d for axis, s in zip(loops.spatial, axes, strict=True) for d in (dims[axis], _extent(s.loop))]
    if not all(isinstance(n, int) and n > 0 for n in numbers):
        return None

    def pair(values: Sequence[Any], missing: int) -> tuple[int, int]:
        first, second = ([missing] * 2 + [int(v) for v in values])[-2:]
        return first, second

    blocks: int = _extent(loops.channel)
    stem = loops.inner is None
    channels = blocks if stem else channels_there(op, blocks, lanes)
    blocks = -(-blocks // group) if stem else blocks
    flat = _is_flat(dispatch, op, loops.kinds)
    rounded = source_binding.value.type.element_type is bf16
    return BlockedConvolution(
        op, source_binding, weights_binding, _extent(loops.batch), lanes, stem, channels, blocks,
        _extent(loops.block), pair([dims[axis] for axis in loops.spatial], 1),
        pair([_extent(s.loop) for s in axes], 1), pair([_extent(s.window) for s in axes], 1),
        pair([s.stride for s in axes], 1), pair([s.dilation for s in axes], 1), pair(before, 0),
        any((*before, *behind)), loops.kinds, flat, epilogue_cost(dispatch, op), group, int(outside),
        rounded,
    )  # fmt: skip


def _is_flat(dispatch: Dispatch, op: Any, kinds: tuple[str, ...]) -> bool:
    """Rows and columns are the last axes before the lanes; nothing behind ``op`` reads along one alone."""
    places = {i for i, kind in enumerate(kinds) if kind in (ROW, COLUMN)}
    rank = len(kinds)
    if places and (max(places) != rank - 2 or min(places) != rank - 1 - len(places)):
        return False
    if kinds[-3:-1] == (COLUMN, ROW):
        return False
    for own in ops_behind(dispatch, op):
        for inner in own.body:
            if inner.name == "linalg.index" and inner.attributes["dim"].value in places:
                return False
        for argument, number in zip(own.body.args, own.body_arguments(), strict=True):
            map = own.indexing_maps[number]
            if not argument.uses or map is AffineMap.identity(rank):
                continue
            if any(e.dims_used() & places for e in map.results):
                return False
    return True


def channels_there(op: Any, blocks: int, lanes: int) -> int:
    """Input channels of a convolution, as far as it says how many of its last block are there."""
    hint: Any = op.attributes.get(CHANNELS)
    channels = blocks * lanes
    return int(hint.value) if hint is not None and channels - lanes < hint.value <= channels else channels


def _extent(var: Var | None) -> Any:
    return 1 if var is None else var.extent


def _plain(forms: Sequence[Affine]) -> list[Var] | None:
    """The variable of each form; forms that are 0 are left out. None when one is anything else."""
    found = []
    for form in forms:
        if form == indexing.ZERO:
            continue
        if form.constant != 0 or len(form.terms) != 1 or form.terms[0][1] != 1:
            return None
        found.append(form.terms[0][0])
    return found if len(set(found)) == len(found) else None


def _step(form: Affine, reduced: set[Var]) -> _Step | None:
    parts: dict[bool, tuple[Var, int]] = {}
    for var, coefficient in form.terms:
        if not isinstance(coefficient, int) or coefficient < 1 or (var in reduced) in parts:
            return None
        parts[var in reduced] = var, coefficient
    if form.constant != 0:
        return None
    loop, stride = parts.get(False, (None, 1))
    window, dilation = parts.get(True, (None, 1))
    return _Step(loop, stride, window, dilation)


def flops(c: BlockedConvolution, images: int) -> int:
    return 2 * images * c.out_blocks * c.lanes * math.prod(c.out_size) * c.depth
