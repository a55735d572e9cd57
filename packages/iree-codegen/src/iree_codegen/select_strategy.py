"""The strategies of each form in order, and the choice of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.decompose import decomposed
from iree_codegen.dispatch import Dispatch
from iree_codegen.errors import INTERNAL, CodegenError
from iree_codegen.invocation_description import INVOCATION
from iree_codegen.kernel import Kernel
from iree_codegen.strategies.attention import attention
from iree_codegen.strategies.blocked_convolution import blocked_convolution
from iree_codegen.strategies.convolution import convolution
from iree_codegen.strategies.integer_convolution import integer_convolution
from iree_codegen.strategies.integer_matmul import integer_matmul
from iree_codegen.strategies.inverted_residual import inverted_residual
from iree_codegen.strategies.lanewise_window import lanewise_window
from iree_codegen.strategies.matmul import matmul
from iree_codegen.strategies.plain_loops import plain_loops
from iree_codegen.strategies.recurrence import recurrence
from iree_codegen.strategies.sliding_window import sliding_window
from iree_codegen.strategies.tile_convolution import tile_convolution
from iree_codegen.strategies.tile_matmul import tile_matmul
from iree_codegen.strategies.transpose import transpose
from iree_codegen.strategies.vector_loops import vector_loops
from iree_codegen.workgroup_description import KernelDescription

Strategy = Callable[[Dispatch, Any], Kernel | None]

STRATEGIES: tuple[Strategy, ...] = (
    tile_convolution, tile_matmul, integer_convolution, integer_matmul, blocked_convolution, lanewise_window,
    inverted_residual, convolution, sliding_window, matmul, recurrence, transpose, vector_loops,
    plain_loops,
)  # fmt: skip
"""The workgroup form's."""


def invocation_strategies() -> tuple[Strategy, ...]:
    """The invocation form's: imported where a GPU is compiled for."""
    from iree_codegen.strategies.gpu.global_ids import global_ids
    from iree_codegen.strategies.gpu.matmul import matmul
    from iree_codegen.strategies.gpu.recurrence import recurrence
    from iree_codegen.strategies.gpu.rows import rows
    from iree_codegen.strategies.gpu.scan import scan
    from iree_codegen.strategies.gpu.sorting import sorting
    from iree_codegen.strategies.gpu.transpose import transpose

    return (matmul, recurrence, transpose, sorting, scan, rows, global_ids)


def generate(
    func: Any, description: KernelDescription, strategies: Sequence[Strategy] | None = None
) -> Kernel:
    """The kernel of dispatch function ``func`` from the first strategy that takes it, in the form that
    ``description`` asks for."""
    if strategies is None:
        strategies = invocation_strategies() if description.form == INVOCATION else STRATEGIES
        if strategies is STRATEGIES:
            kernel = attention(Dispatch(func), description)
            if kernel is not None:
                return kernel
    dispatch = Dispatch(decomposed(func))
    for strategy in strategies:
        kernel = strategy(dispatch, description)
        if kernel is not None:
            return kernel
    raise CodegenError(INTERNAL, f"no strategy takes '{dispatch.name}'")
