"""``convolution``: direct NCHW convolution, dense and depthwise, f32, static shapes.

A workgroup owns a block of output rows of one image (and a share of the output channels). The padded input
rows it needs are copied to scratch once, split by stride phase, with a pitch that makes every tap a plain
shift: output position ``p = y * pitch + x`` reads ``plane[p + offset(tap)]``. So the convolution is a sum of
matrix products over taps; a register tile holds output channels x vectors of positions, weights are
broadcast scalars packed in the order they are read. Positions between rows are computed and dropped.
Tiles go to a slab of scratch, from which the fused epilogue reads row by row.

Without padding and stride the input itself has that form and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.channel_panels import channel_panels
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType, f32, index
from iree_core_ir.target import ConstantLayout

NAME = "convolution"
DENSE = "linalg.conv_2d_nchw_fchw"
DEPTHWISE = "linalg.depthwise_conv_2d_nchw_chw"
FLOAT_BYTES = 4
MAX_TAPS = 49
"""Taps are unrolled; beyond a 7x7 window the plain loops take over."""
COPY_BYTES = 640 << 10
"""Input rows of a block stay in this much of the L2 cache, weights stream beside them."""
CHANNEL_COPY_BYTES = 24 << 10
"""A depthwise block is one channel at a time, in L1."""
SLAB_BYTES = 96 << 10
ENOUGH_GROUPS = 4
"""Workgroups wanted of a dispatch with enough work, so that a few threads share it."""
GROUP_FLOPS = 1 << 21


@dataclass(frozen=True)
class Window:
    """The convolution of a dispatch, in numbers. ``source`` is unpadded."""

    op: Any
    source: Binding
    weights: Binding
    batch: Dim
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    taps: tuple[tuple[int, int], ...]
    """Row and column of every tap in the padded input, dilation included."""
    strides: tuple[int, int]
    pad: tuple[int, int]
    """Rows above and columns left of the input."""
    padded: bool
    depthwise: bool
    swapped: bool
    """Rows and columns change places: an image of width 1 is handled as one row."""

    @property
    def n_taps(self) -> int:
        return len(self.taps)

    @property
    def depth(self) -> int:
        """Input channels one output channel reads."""
        return 1 if self.depthwise else self.channels

    @property
    def flops(self) -> int:
        images = self.batch if isinstance(self.batch, int) else 1
        outputs = images * self.out_channels * self.out_height * self.out_width
        return 2 * outputs * self.depth * self.n_taps


def convolution(dispatch: Dispatch, description: Any) -> Kernel | None:
    window = match(dispatch)
    if window is None or window.weights.packed is None or description.vector_bits < 128:
        return None
    return _Emitter(dispatch, description, window).run()


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the weights of a convolution should be stored; None when this strategy does not take it."""
    window = match(dispatch)
    if window is None or not window.weights.constant or description.vector_bits < 128:
        return None
    return channel_panels(window.weights, panel_rows(window, description))


def panel_rows(window: Window, description: Any) -> int:
    """Output channels of a register tile."""
    if window.depthwise:
        return 1
    return min(window.out_channels, 8 if description.registers >= 32 else 4)


def match(dispatch: Dispatch) -> Window | None:
    """The dispatch as one convolution with a pad before and elementwise ops behind; None otherwise."""
    convolutions = [op for op in dispatch.ops if op.name in (DENSE, DEPTHWISE)]
    if len(convolutions) != 1 or len(dispatch.results) != 1:
        return None
    op: Any = convolutions[0]
    shapes = [v.type.shape for v in (*op.operands, *op.results)]
    if any(size < 0 for shape in shapes for size in shape[1:]) or shapes[1][0] < 0:
        return None
    if any(v.type.element_type is not f32 for v in op.operands):
        return None
    if 0 in op.results[0].type.shape or not _is_zero_fill(op.outputs[0]):
        return None
    if not _is_epilogue(dispatch, op):
        return None
    padded = op.inputs[0]
    pad = padded.defining_op
    source, before = padded, (0, 0)
    if pad is not None:
        if pad.name != "tensor.pad" or not padded.has_one_use or not _pads_zero(pad):
            return None
        low, high = pad.mixed_low, pad.mixed_high
        if not all(isinstance(n, int) and n >= 0 for n in (*low, *high)) or any((*low[:2], *high[:2])):
            return None
        source, before = pad.operands[0], (low[2], low[3])
    binding, weights = dispatch.binding_of(source), dispatch.binding_of(op.inputs[1])
    if binding is None or weights is None or not op.inputs[1].has_one_use:
        return None
    _, channels, height, width = source.type.shape
    _, out_channels, out_height, out_width = op.results[0].type.shape
    kh, kw = op.inputs[1].type.shape[-2:]
    dilations = op.dilations
    taps = tuple((y * dilations[0], x * dilations[1]) for y in range(kh) for x in range(kw))
    if not 0 < len(taps) <= MAX_TAPS or 0 in source.type.shape:
        return None
    strides: tuple[int, int] = op.strides
    swapped = width == 1 and out_width == 1 and kw == 1 and before[1] == 0
    if swapped:
        height, width, out_height, out_width = width, height, out_width, out_height
        taps = tuple((x, y) for y, x in taps)
        strides, before = (strides[1], strides[0]), (before[1], before[0])
    return Window(
        op, binding, weights, dispatch.dims(source)[0], channels, height, width, out_channels, out_height,
        out_width, taps, strides, before, pad is not None, op.name == DEPTHWISE, swapped,
    )  # fmt: skip


def _is_zero_fill(value: Value) -> bool:
    fill = value.defining_op
    if fill is None or fill.name != "linalg.fill":
        return False
    return _is_zero(fill.operands[0])


def _is_zero(value: Value) -> bool:
    constant = value.defining_op
    attribute: Any = constant.attributes.get("value") if constant is not None else None
    return getattr(attribute, "value", None) == 0.0


def _pads_zero(pad: Any) -> bool:
    terminator = pad.regions[0].block.terminator
    return _is_zero(terminator.operands[0])


def _is_epilogue(dispatch: Dispatch, op: Any) -> bool:
    """Everything that reads the result does so at its own place, up to the one result of the dispatch."""
    result = op.results[0]
    shape = result.type.shape
    identity = AffineMap.identity(4)
    reached = {result}
    for own in dispatch.ops:
        reads = [v for v in own.operands if v in reached]
        if not reads:
            continue
        if not isinstance(own, StructuredOp) or set(own.iterator_types) != {"parallel"} or own.has_index:
            return False
        if len(own.results) != 1 or own.results[0].type.shape != shape:
            return False
        maps = own.indexing_maps
        if maps[own.n_inputs] is not identity or any(v in own.outputs for v in reads):
            return False
        if any(maps[i] is not identity for i, v in enumerate(own.inputs) if v in reached):
            return False
        reached.add(own.results[0])
    return dispatch.results[0][0] in reached


def is_flat(dispatch: Dispatch, op: Any) -> bool:
    """True when the epilogue reads nothing that varies within a row or column alone."""
    for own in dispatch.ops:
        if own is op or not isinstance(own, StructuredOp) or own.name == "linalg.fill":
            continue
        for value, map in zip(own.inputs, own.indexing_maps, strict=False):
            if not isinstance(value.type, TensorType) or map is AffineMap.identity(4):
                continue
            if any(e.dims_used() & {2, 3} for e in map.results):
                return False
    return True


@dataclass(frozen=True)
class _Blocks:
    """How a workgroup's share is laid out."""

    rows: int
    """Output rows of a block."""
    groups: int
    """Shares of the output channels."""
    pitch: int
    plane: int
    """Elements of one channel (all phases)."""
    positions: int
    copied: bool


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, window: Window) -> None:
        self.dispatch = dispatch
        self.description = description
        self.window = window
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.lanes = description.vector_bits // 32
        self.panel = panel_rows(window, description)
        self.vectors = min((description.registers - 2) // (self.panel + 1), 8)
        self.blocks = self._choose_blocks()
        self.n_vectors = -(-self.blocks.positions // self.lanes)

    # -- layout ------------------------------------------------------------------------------------

    def _layout(self, rows: int) -> _Blocks:
        w = self.window
        direct = not w.padded and w.strides == (1, 1)
        if direct:
            pitch, plane = w.width, w.height * w.width
            positions = (rows - 1) * pitch + w.out_width
            if self.description.masks or positions % self.lanes == 0:
                return _Blocks(rows, 1, pitch, plane, positions, False)
        sy, sx = w.strides
        pitch = w.out_width + max(x // sx for _, x in w.taps)
        phase = (rows + max(y // sy for y, _ in w.taps)) * pitch
        return _Blocks(rows, 1, pitch, phase * sy * sx, (rows - 1) * pitch + w.out_width, True)

    def _choose_blocks(self) -> _Blocks:
        """The most rows that fit the caches, then shares of the channels until there are enough groups."""
        w = self.window
        chosen = self._layout(1)
        for rows in sorted((r for r in range(1, w.out_height + 1) if w.out_height % r == 0), reverse=True):
            layout = self._layout(rows)
            per_channel = layout.plane if layout.copied else rows * layout.pitch
            size = per_channel * w.depth * FLOAT_BYTES
            slab = self.panel * layout.positions * FLOAT_BYTES
            if size <= (CHANNEL_COPY_BYTES if w.depthwise else COPY_BYTES) and slab <= SLAB_BYTES:
                chosen = layout
                break
        have = (w.batch if isinstance(w.batch, int) else 1) * w.out_height // chosen.rows
        panels = -(-w.out_channels // self.panel)
        wanted = min(max(ENOUGH_GROUPS, 1), max(1, w.flops // GROUP_FLOPS))
        groups = min(panels, -(-wanted // have)) if have < wanted else 1
        if chosen.copied and not w.depthwise and w.out_channels // groups * w.n_taps < 128:
            groups = 1
        return _Blocks(
            chosen.rows, groups, chosen.pitch, chosen.plane, chosen.positions, chosen.copied
        )

    # -- the kernel ----------------------------------------------------------------------------------

    def run(self) -> Kernel:
        k, w, b = self.kernel, self.window, self.blocks
        n_blocks = w.out_height // b.rows
        panels = -(-w.out_channels // self.panel)
        per_group = -(-panels // b.groups)
        groups = -(-panels // per_group)
        number: Index = self.frame.ids[0]
        group = k.mod(number, groups)
        rest = k.floordiv(number, groups)
        block = k.mod(rest, n_blocks)
        image = k.floordiv(rest, n_blocks) if w.batch != 1 else 0
        top = k.mul(block, b.rows)
        slab_elements = self.panel * self.n_vectors * self.lanes
        copy_elements = (b.plane * w.depth + 2 * self.lanes) if b.copied else 0
        slab_offset = _aligned(copy_elements * FLOAT_BYTES)
        slab = k.view(self.frame.scratch, slab_offset, slab_elements, f32)
        source = self.frame.binding_args[w.source.index]
        image_base = k.mul(image, w.channels * w.height * w.width)
        copy = k.view(self.frame.scratch, 0, copy_elements, f32) if b.copied else source
        if b.copied and not w.depthwise:
            k.loop(0, w.channels, 1, (), lambda c: self._copy(copy, k.mul(c, b.plane), source, image_base, c, top))

        def one_panel(panel: Index) -> None:
            if b.copied:
                if w.depthwise:
                    self._copy(copy, 0, source, image_base, panel, top)
                base: Index = 0
            else:
                base = k.add(image_base, k.mul(top, b.pitch))
                if w.depthwise:
                    base = k.add(base, k.mul(panel, b.plane))
            self._tiles(copy, base, panel, slab)
            self._epilogue(slab, image, panel, top)

        first = k.mul(group, per_group)
        last = k.add(first, per_group)
        if panels % per_group:
            last = k.min(last, panels)
        k.loop(first, last, 1, (), one_panel)
        scratch = slab_offset + slab_elements * FLOAT_BYTES
        why = (
            f"{'depthwise' if w.depthwise else 'dense'} {w.n_taps} taps, tile {self.panel}x{self.vectors} vectors, "
            f"{b.rows} rows a block{', input copied' if b.copied else ''}"
        )
        return self.frame.finish([dim_ops.mul(w.batch, n_blocks * groups)], scratch, NAME, why)

    # -- input rows -> scratch -------------------------------------------------------------------------

    def _copy(
        self, copy: Value, target: Index, source: Value, image: Index, channel: Index, top: Index
    ) -> None:
        """One channel's rows, phase by phase, zero outside the input."""
        k, w, b = self.kernel, self.window, self.blocks
        sy, sx = w.strides
        rows = b.plane // (sy * sx) // b.pitch
        plane = k.add(image, k.mul(channel, w.height * w.width))
        used = {(y % sy, x % sx) for y, x in w.taps}
        for phase in sorted(used):
            start = k.add(target, (phase[0] * sx + phase[1]) * rows * b.pitch)

            def row(r: Index, phase: tuple[int, int] = phase, start: Index = start) -> None:
                at = k.add(start, k.mul(r, b.pitch))
                y = k.add(k.mul(k.add(top, r), sy), phase[0] - w.pad[0])
                inside = lambda: self._copy_row(copy, at, source, k.add(plane, k.mul(y, w.width)), phase[1])  # noqa: E731
                if self._rows_inside(rows, phase[0]):
                    inside()
                else:
                    k.if_(k.compare("ult", y, w.height), inside, lambda: self._zero_row(copy, at))

            k.loop(0, rows, 1, (), row)

    def _rows_inside(self, rows: int, phase: int) -> bool:
        w = self.window
        last = (w.out_height - self.blocks.rows + rows - 1) * w.strides[0] + phase - w.pad[0]
        return phase >= w.pad[0] and last < w.height

    def _zero_row(self, copy: Value, at: Index) -> None:
        k = self.kernel
        for start, count in self._chunks():
            zero = k.splat(k.constant(0.0, f32), self.lanes)
            k.vstore(zero, copy, k.add(at, start), None if count == self.lanes else k.mask_below(count, self.lanes))

    def _chunks(self) -> list[tuple[int, int]]:
        pitch = self.blocks.pitch
        return [(s, min(self.lanes, pitch - s)) for s in range(0, pitch, self.lanes)]

    def _copy_row(self, copy: Value, at: Index, source: Value, row: Index, phase: int) -> None:
        k, lanes = self.kernel, self.lanes
        for start, count in self._chunks():
            value = self._row_vector(source, row, start, phase)
            mask = None if count == lanes else k.mask_below(count, lanes)
            k.vstore(value, copy, k.add(at, start), mask)

    def _row_vector(self, source: Value, row: Index, start: int, phase: int) -> Value:
        """Elements ``(start + lane) * stride + phase - pad`` of an input row, zero outside."""
        k, lanes, w = self.kernel, self.lanes, self.window
        stride = w.strides[1]
        first = start * stride + phase - w.pad[1]
        if stride <= 2:
            parts = [self._input_vector(source, row, first + j * lanes) for j in range(stride)]
            if stride == 1:
                return parts[0]
            return k.shuffle(parts[0], parts[1], range(0, 2 * lanes, 2))
        inside = [0 <= first + lane * stride < w.width for lane in range(lanes)]
        if not any(inside):
            return k.splat(k.constant(0.0, f32), lanes)
        mask = self._static_mask(inside)
        return k.gather(source, k.add(row, first), k.lane_numbers(lanes, index, stride), mask)

    def _input_vector(self, source: Value, row: Index, first: int) -> Value:
        k, lanes, w = self.kernel, self.lanes, self.window
        inside = [0 <= first + lane < w.width for lane in range(lanes)]
        if not any(inside):
            return k.splat(k.constant(0.0, f32), lanes)
        mask = None if all(inside) else self._static_mask(inside)
        return k.vload(source, k.add(row, first), lanes, mask)

    def _static_mask(self, inside: Sequence[bool]) -> Value:
        from iree_core_ir.ir.attributes import DenseElementsAttr
        from iree_core_ir.ir.types import VectorType, i1

        type: Any = VectorType((len(inside),), i1)
        data = bytes(inside)
        splat = len(set(data)) == 1
        attribute = DenseElementsAttr(type, data[:1] if splat else data, splat)
        return self.kernel.pure("arith.constant", (), type, {"value": attribute})

    # -- register tiles -----------------------------------------------------------------------------

    def _tiles(self, memory: Value, base: Index, panel: Index, slab: Value) -> None:
        """All positions of one panel of output channels: tiles of balanced width."""
        k = self.kernel
        n_tiles = -(-self.n_vectors // self.vectors)
        narrow, wide = divmod(self.n_vectors, n_tiles)
        masked = not self.blocks.copied and self.blocks.positions % self.lanes != 0
        weights = k.mul(panel, self.window.depth * self.window.n_taps * self.panel)
        span = (narrow + 1) * self.lanes

        def tiles(low: int, high: int, width: int, origin: int) -> None:
            k.loop(
                low,
                high,
                1,
                (),
                lambda i: self._tile(
                    memory, base, weights, slab, k.add(k.mul(i, width * self.lanes), origin), width, False
                ),
            )

        tiles(0, wide, narrow + 1, 0)
        rest = n_tiles - wide
        origin = wide * span
        if masked and rest:
            tiles(0, rest - 1, narrow, origin)
            last = origin + (rest - 1) * narrow * self.lanes
            self._tile(memory, base, weights, slab, last, narrow, True)
        elif rest:
            tiles(0, rest, narrow, origin)

    def _tile(
        self,
        memory: Value,
        base: Index,
        weights: Index,
        slab: Value,
        position: Index,
        width: int,
        masked: bool,
    ) -> None:
        k, w = self.kernel, self.window
        lanes, panel = self.lanes, self.panel
        packed = self.frame.binding_args[w.weights.index]
        start = k.add(base, position)
        offsets = [self._tap_offset(y, x) for y, x in w.taps]
        mask = k.mask_below(self.blocks.positions - (self.n_vectors - 1) * lanes, lanes) if masked else None
        zero = k.splat(k.constant(0.0, f32), lanes)

        def taps(c: Index, state: list[Value]) -> list[Value]:
            channel = k.add(start, k.mul(c, self.blocks.plane))
            row = k.add(weights, k.mul(c, w.n_taps * panel))
            for t, offset in enumerate(offsets):
                vectors = [
                    k.vload(
                        memory,
                        k.add(channel, offset + j * lanes),
                        lanes,
                        mask if j == width - 1 else None,
                    )
                    for j in range(width)
                ]
                for i in range(panel):
                    scalar = k.load(packed, k.add(row, t * panel + i))
                    for j in range(width):
                        state[i * width + j] = k.fma(scalar, vectors[j], state[i * width + j])
            return state

        unroll = self._unroll(width)

        def step(c: Index, *state: Value) -> list[Value]:
            values = list(state)
            for u in range(unroll):
                values = taps(k.add(c, u), values)
            return values

        accumulators = k.loop(0, w.depth, unroll, [zero] * (panel * width), step)
        pitch = self.n_vectors * lanes
        for i in range(panel):
            for j in range(width):
                at = k.add(position, i * pitch + j * lanes)
                k.vstore(accumulators[i * width + j], slab, at)

    def _unroll(self, width: int) -> int:
        """Channels a loop turn: enough FMAs to hide the loop, few enough to stay small."""
        w = self.window
        per_channel = w.n_taps * self.panel * width
        unroll = 1
        while unroll < 4 and w.depth % (2 * unroll) == 0 and per_channel * unroll < 96:
            unroll *= 2
        return unroll

    def _tap_offset(self, y: int, x: int) -> int:
        b, (sy, sx) = self.blocks, self.window.strides
        if not b.copied:
            return y * b.pitch + x
        phase = b.plane // (sy * sx)
        return ((y % sy) * sx + x % sx) * phase + (y // sy) * b.pitch + x // sx

    # -- epilogue --------------------------------------------------------------------------------------

    def _epilogue(self, slab: Value, image: Index, panel: Index, top: Index) -> None:
        """The dispatch's result for one panel, its convolution read from the slab."""
        k, w, b = self.kernel, self.window, self.blocks
        elements = self.frame.elements
        result, destination = self.dispatch.results[0]
        target = self.frame.binding_memory(destination)
        pitch = self.n_vectors * self.lanes
        vn, vo = Var("n", w.batch), Var("o", w.out_channels)
        vy, vx = Var("y", w.out_height), Var("x", w.out_width)
        channel = k.mul(panel, self.panel)
        flat = b.pitch == w.out_width and is_flat(self.dispatch, w.op)
        forms = (indexing.of(vn), indexing.of(vo), indexing.of(vy), indexing.of(vx))
        strides = (0, pitch, b.pitch, 1)
        if w.swapped:
            forms = (forms[0], forms[1], forms[3], forms[2])
            strides = (0, pitch, 1, b.pitch)

        def row(i: Index, y: Index, count: Index, start: Index) -> None:
            at = Bindings(k).child({vn: image, vo: k.add(channel, i), vy: k.add(top, y)})
            # The slab begins at this block's first row and this panel's first channel.
            base = k.sub(
                k.add(k.mul(i, pitch), k.mul(y, b.pitch)),
                k.add(k.mul(k.add(channel, i), pitch), k.mul(k.add(top, y), b.pitch)),
            )
            elements.memory[w.op.results[0]] = Memory(slab, strides, 0, base)

            def once(x: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(at.child({vx: x}, vx if lanes > 1 else None, lanes), mask)
                if result is w.op.results[0]:
                    value = elements.element(result, forms, point)
                else:
                    value = elements.element_through(result, forms, point)
                elements.store(value, target, forms, point)

            vector_loop(k, start, k.add(start, count), self.lanes, self.description.masks, once)

        def one_channel(i: Index) -> None:
            if flat:
                row(i, 0, b.rows * w.out_width, 0)
            else:
                k.loop(0, b.rows, 1, (), lambda y: row(i, y, w.out_width, 0))

        if w.out_channels % self.panel == 0:
            k.loop(0, self.panel, 1, (), one_channel)
        else:
            valid = k.min(self.panel, k.sub(w.out_channels, channel))
            k.loop(0, valid, 1, (), one_channel)


def _aligned(size: int) -> int:
    return -(-size // 64) * 64

