"""``tile-convolution``: f32 convolutions with constant filters on matrix tiles, in bf16 parts.

A word holds two channels of a pixel as bf16. Rows of a tile of filters meet columns of pixels; 32 channels
of a tap are a step. With two parts the image is packed twice: what bf16 holds of it, and what that leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_codegen.dispatch import Dispatch
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.packed_convolution import PackedConvolution, interleaved
from iree_codegen.packed_window import PackedWindow, plan_tile_window
from iree_codegen.product_tiles import bf16_parts
from iree_codegen.tile_kernel import WORDS, Factor, TileKernel, build
from iree_codegen.tile_panels import (
    COLUMNS,
    DEPTH,
    ROWS,
    TILE_FILTERS,
    tile_filter_parameters,
    tile_filter_shape,
)
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, bf16, f32
from iree_core_ir.target import ConstantLayout

NAME = "tile-convolution"


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the strategy wants the filters of ``dispatch``; None when it does not take it."""
    plan = plan_tile_window(dispatch, description)
    if plan is None:
        return None
    parameters = tile_filter_parameters(plan.filters_per_tile, plan.parts)
    shape = tile_filter_shape(plan.weights.value.type.shape, parameters)
    return ConstantLayout(plan.weights.argument, TILE_FILTERS, parameters, TensorType(shape, f32))


def tile_convolution(dispatch: Dispatch, description: Any) -> Kernel | None:
    plan = plan_tile_window(dispatch, description)
    if plan is None:
        return None
    parameters = tile_filter_parameters(plan.filters_per_tile, plan.parts)
    if not plan.weights.is_packed(TILE_FILTERS, parameters):
        return None
    return _Emitter(dispatch, description, plan).emit(NAME)


class _Emitter(PackedConvolution):
    def __init__(self, dispatch: Dispatch, description: Any, plan: PackedWindow) -> None:
        super().__init__(dispatch, description, plan, bf16, f32)
        row_tiles = plan.filters_per_tile // ROWS
        tap_words = plan.parts * row_tiles * WORDS
        taps = tuple(
            (n * tap_words, t.phase * plan.plane + t.row * plan.pitch + t.column)
            for n, t in enumerate(plan.taps)
        )
        pairs = DEPTH // plan.group
        steps = plan.channel_groups // pairs
        spec = TileKernel(
            ROWS,
            row_tiles,
            plan.vectors,
            plan.parts,
            steps,
            Factor(f32, DEPTH // 2, WORDS, row_tiles * WORDS, len(taps) * tap_words),
            Factor(f32, plan.group_words, COLUMNS, plan.image_words, pairs * plan.group_words),
            plan.sums_pitch,
            taps,
        )
        self.function = build(spec, f"{dispatch.name}.tile")
        self.panel_words = steps * len(taps) * tap_words
        self.filters = self.frame.binding_args[plan.weights.index]

    def functions(self) -> list[Op]:
        return [self.function.func]

    def words(self, pieces: Sequence[Value]) -> Sequence[Value]:
        k, plan = self.kernel, self.plan
        a, b = (bf16_parts(k, piece, plan.lanes, plan.parts) for piece in pieces)
        return [interleaved(k, x, y, plan.lanes, 1) for x, y in zip(a, b, strict=True)]

    def tile(self, panel: Index, pixel: Index) -> None:
        k = self.kernel
        start = k.mul(panel, self.panel_words)
        k.call(self.function, [self.filters, start, self.image, pixel, self.sums, pixel, 0])
