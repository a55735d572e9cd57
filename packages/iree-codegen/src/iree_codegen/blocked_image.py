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
from dataclasses import dataclass, replace
from typing import Any

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
from iree_core_ir.ir.types import bf16, f32, i32

CHANNELS = "iree.channels"
"""On the convolution: input channels that are there; the lanes behind them are zero."""
IMAGE, BLOCK, ROW, COLUMN, LANE = "image", "block", "row", "column", "lane"
"""What an axis of the result is."""


@dataclass(frozen=True)
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
        axes = _Axes.of(dispatch, op, image, weights, lanes)
        if axes is not None:
            return axes.convolution(dispatch, group)
    return None


def _group(op: Any, description: Any) -> int:
    """How many channels ``op`` multiplies at once: 1 of f32, 4 of bytes; 0: it is no such product."""
    if is_integer_product(op):
        return GROUP if description.integer_dots else 0
    floats = all(v.type.element_type is f32 for v in op.operands)
    return 1 if floats and product_operands(op) is not None else 0


@dataclass
class _Step:
    """One axis of the image: ``stride * parallel loop + dilation * window loop``."""

    loop: Var | None
    stride: int
    window: Var | None
    dilation: int


class _Axes:
    """The loops of ``op`` by what they do."""

    def __init__(self, op: Any, image: int, weights: int, lanes: int) -> None:
        self.op, self.image, self.weights, self.lanes = op, image, weights, lanes
        self.steps: list[_Step] = []
        self.out: list[Var] = []
        self.kinds: list[str] = []
        self.lane: Var
        self.block: Var | None = None
        self.channel: Var | None = None
        self.inner: Var | None = None
        self.batch: Var | None = None
        self.spatial: list[int] = []
        """The image's axes that are rows and columns."""

    @classmethod
    def of(cls, dispatch: Dispatch, op: Any, image: int, weights: int, lanes: int) -> _Axes | None:
        self = cls(op, image, weights, lanes)
        return self if self._find(dispatch) else None

    def _find(self, dispatch: Dispatch) -> bool:
        op = self.op
        extents = dispatch.loop_dims(op)
        loops = [Var(f"l{i}", e) for i, e in enumerate(extents)]
        reduced = {loops[i] for i in op.reduction_dims}
        forms = [indexing.of(v) for v in loops]

        def mapped(number: int) -> list[Affine]:
            return [indexing.apply(e, forms) for e in op.indexing_maps[number].results]

        out = _plain(mapped(2))
        own = _plain(mapped(self.weights))
        if out is None or own is None or not out or not own or out[-1] is not own[-1]:
            return False
        self.out, self.lane, self.own = out, out[-1], own
        steps = [_step(form, reduced) for form in mapped(self.image)]
        if any(s is None for s in steps) or self.lane.extent != self.lanes:
            return False
        self.steps = [s for s in steps if s is not None]
        read = [v for s in self.steps for v in (s.loop, s.window) if v is not None]
        if self.lane in read or len(set(read)) != len(read):
            return False
        if any(v not in reduced and (v in read or v not in out) for v in own):
            return False
        blocks = [v for v in out if v not in read and v is not self.lane]
        if len(blocks) > 1 or any(v not in own for v in blocks):
            return False
        self.block = blocks[0] if blocks else None
        return self._name_axes(dispatch)

    def _name_axes(self, dispatch: Dispatch) -> bool:
        """Which axis of the image is what."""
        steps, last = self.steps, len(self.steps) - 1
        channels = [i for i, s in enumerate(steps) if s.loop is None and s.window is not None]
        end = last + 1
        if last in channels and steps[last].window is not None and steps[last].dilation == 1:
            window = steps[last].window
            assert window is not None
            if window.extent == self.lanes and self.own[-2:-1] == [window]:
                self.inner, end = window, last
                channels.remove(last)
        if len(channels) > 1:
            return False
        if channels:
            self.channel = steps[channels[0]].window
            if steps[channels[0]].dilation != 1:
                return False
            first = channels[0] + 1
        elif self.block is not None:
            before = self.out[: self.out.index(self.block)]
            first = next((i for i in range(end) if steps[i].loop not in before), end)
        else:
            first = max(0, end - 2)
        batches = [i for i in range(first) if i not in channels]
        self.spatial = list(range(first, end))
        if len(self.spatial) > 2 or len(batches) > 1:
            return False
        if batches:
            step = steps[batches[0]]
            if step.window is not None or step.stride != 1:
                return False
            self.batch = step.loop
        kinds = {self.lane: LANE}
        if self.block is not None:
            kinds[self.block] = BLOCK
        if self.batch is not None:
            kinds[self.batch] = IMAGE
        for axis, kind in zip(self.spatial[::-1], (COLUMN, ROW), strict=False):
            loop = steps[axis].loop
            if loop is not None:
                kinds[loop] = kind
        if any(v not in kinds for v in self.out):
            return False
        self.kinds = [kinds[v] for v in self.out]
        windows = [steps[a].window for a in self.spatial]
        wanted = [self.block, self.channel, *windows, self.inner, self.lane]
        return self.own == [v for v in wanted if v is not None]

    def convolution(self, dispatch: Dispatch, group: int) -> BlockedConvolution | None:
        op, steps = self.op, self.steps
        outside = 0.0 if group == 1 else pad_number(op.operands[self.image])
        outer = None if outside is None else unpadded(op.operands[self.image], outside, self.spatial)
        if outer is None or outside is None or self.lanes % group:
            return None
        source, before, behind = outer
        binding = dispatch.binding_of(source)
        if binding is None and (narrow := widened(source)) is not None:
            binding = dispatch.binding_of(narrow)
        weights = dispatch.binding_of(op.operands[self.weights])
        if binding is None or weights is None or not op.operands[self.weights].has_one_use:
            return None
        dims = dispatch.dims(source)
        numbers = [v.extent for v in (self.block, self.channel) if v is not None]
        numbers += [d for axis in self.spatial for d in (dims[axis], _extent(steps[axis].loop))]
        if not all(isinstance(n, int) and n > 0 for n in numbers):
            return None

        def pair(values: Sequence[Any], missing: int) -> tuple[int, int]:
            first, second = ([missing] * 2 + [int(v) for v in values])[-2:]
            return first, second

        axes = [steps[a] for a in self.spatial]
        blocks: int = _extent(self.channel)
        stem = self.inner is None
        channels = blocks if stem else channels_there(op, blocks, self.lanes)
        blocks = -(-blocks // group) if stem else blocks
        return BlockedConvolution(
            op, binding, weights, _extent(self.batch), self.lanes, stem, channels, blocks,
            _extent(self.block), pair([dims[a] for a in self.spatial], 1),
            pair([_extent(s.loop) for s in axes], 1), pair([_extent(s.window) for s in axes], 1),
            pair([s.stride for s in axes], 1), pair([s.dilation for s in axes], 1), pair(before, 0),
            any((*before, *behind)), tuple(self.kinds), self._is_flat(dispatch), epilogue_cost(dispatch, op),
            group, int(outside), binding.value.type.element_type is bf16,
        )  # fmt: skip

    def _is_flat(self, dispatch: Dispatch) -> bool:
        places = {i for i, kind in enumerate(self.kinds) if kind in (ROW, COLUMN)}
        rank = len(self.kinds)
        if places and (max(places) != rank - 2 or min(places) != rank - 1 - len(places)):
            return False
        if self.kinds[-3:-1] == [COLUMN, ROW]:
            return False
        for own in ops_behind(dispatch, self.op):
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
