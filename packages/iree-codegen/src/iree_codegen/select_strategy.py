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
from iree_codegen.strategies.tile_attention import tile_attention
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

COMPOSITES: tuple[Strategy, ...] = (tile_attention, attention)
"""The workgroup form's for ops that the others see decomposed: tried on the dispatch as it is."""


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
    composites: Sequence[Strategy] = ()
    if strategies is None:
        in_workgroups = description.form != INVOCATION
        strategies = STRATEGIES if in_workgroups else invocation_strategies()
        composites = COMPOSITES if in_workgroups else ()
    kernel = _first(composites, Dispatch(func), description) if composites else None
    if kernel is None:
        kernel = _first(strategies, Dispatch(decomposed(func)), description)
    if kernel is None:
        raise CodegenError(INTERNAL, f"no strategy takes '{func.attributes['sym_name'].value}'")
    return kernel


def _first(
    strategies: Sequence[Strategy], dispatch: Dispatch, description: KernelDescription
) -> Kernel | None:
    """The kernel of the first of ``strategies`` that takes the dispatch."""
    return next((k for s in strategies if (k := s(dispatch, description)) is not None), None)
