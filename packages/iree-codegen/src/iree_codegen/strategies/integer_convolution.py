"""``integer-convolution``: unsigned images with constant signed filters, on dot products of four.

A word holds four channels of a pixel. Pixels are loaded as vectors, filters broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_codegen.dispatch import Dispatch
from iree_codegen.dot_kernel import DotKernel, build, unrolled
from iree_codegen.integer_panels import INTEGER_FILTERS, filter_parameters, filter_shape
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.packed_convolution import PackedConvolution, interleaved
from iree_codegen.packed_window import PackedWindow, plan_integer_window
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, i8, i32
from iree_core_ir.target import ConstantLayout

NAME = "integer-convolution"


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the strategy wants the filters of ``dispatch``; None when it does not take it."""
    plan = plan_integer_window(dispatch, description)
    if plan is None:
        return None
    parameters = filter_parameters(plan.filters_per_tile)
    shape = filter_shape(plan.weights.value.type.shape, parameters)
    return ConstantLayout(plan.weights.argument, INTEGER_FILTERS, parameters, TensorType(shape, i8))


def integer_convolution(dispatch: Dispatch, description: Any) -> Kernel | None:
    plan = plan_integer_window(dispatch, description)
    if plan is None:
        return None
    if not plan.weights.is_packed(INTEGER_FILTERS, filter_parameters(plan.filters_per_tile)):
        return None
    return _Emitter(dispatch, description, plan).emit(NAME)


class _Emitter(PackedConvolution):
    def __init__(self, dispatch: Dispatch, description: Any, plan: PackedWindow) -> None:
        super().__init__(dispatch, description, plan, i8, i32)
        taps = [
            (n * plan.filters_per_tile, t.phase * plan.plane + t.row * plan.pitch + t.column)
            for n, t in enumerate(plan.taps)
        ]
        filter_words = len(taps) * plan.filters_per_tile
        groups = plan.channel_groups
        unroll = unrolled(groups, 4) if len(taps) == 1 else 1
        steps = tuple(
            (u * filter_words + w, u * plan.group_words + v) for u in range(unroll) for w, v in taps
        )
        spec = DotKernel(
            plan.filters_per_tile, plan.vectors, plan.lanes, 1, groups // unroll, unroll * filter_words,
            unroll * plan.group_words, steps, False, plan.sums_pitch,
        )  # fmt: skip
        self.function = build(spec, f"{dispatch.name}.tile")
        self.panel_words = groups * filter_words
        weights = self.frame.binding_args[plan.weights.index]
        self.filters = self.kernel.view(weights, 0, plan.filter_panels * self.panel_words, i32)

    def functions(self) -> list[Op]:
        return [self.function.func]

    def words(self, pieces: Sequence[Value]) -> Value:
        k, lanes = self.kernel, self.plan.lanes
        pairs = [interleaved(k, pieces[i], pieces[i + 1], lanes, 1) for i in (0, 2)]
        return interleaved(k, pairs[0], pairs[1], lanes, 2)

    def tile(self, panel: Index, pixel: Index) -> None:
        k = self.kernel
        start = k.mul(panel, self.panel_words)
        k.call(self.function, [self.filters, start, self.image, pixel, self.sums, pixel])
