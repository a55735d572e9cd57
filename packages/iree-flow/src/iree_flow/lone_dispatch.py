"""A dispatch in a recording of its own, as the tuner and the checks of kernels run it."""

from __future__ import annotations

from collections.abc import Mapping

from iree_codegen import dims as dim_ops
from iree_core_ir.target import ExportObject
from iree_hal import BindingRef, RecordingBuilder


def add_workspace(
    builder: RecordingBuilder, export: ExportObject, dims: Mapping[int, int]
) -> list[BindingRef]:
    """The arena's size, and the binding of the cleared workspace in it if ``export`` has one.

    ``dims``: number of a scalar argument among them -> value.
    """
    zero = builder.const(0)
    if export.workspace is None:
        builder.export_param("arena_bytes", zero)
        return []
    size = builder.const(dim_ops.evaluate(dim_ops.from_list(export.workspace), dims))
    builder.export_param("arena_bytes", size)
    place = BindingRef(0, zero, size)
    builder.fill(place, b"\0")
    builder.barrier()
    return [place]
