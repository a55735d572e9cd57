"""Workloads and workgroup counts: how much work a dispatch region has, and how a CPU or GPU shares it.

Counts are expressions over the workload in the form the parameter program takes: ``["arg", i]`` is
``workload[i]``, x first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.operation import Op
from iree_core_ir.target import Expression
from iree_flow.errors import FlowError

LOWERING_CONFIG = "lowering_config"
LOCAL_SIZE = 32
"""Invocations of a workgroup that an untiled parallel op gets on a GPU."""


def workload_of(dims: Sequence[Any], product: Any) -> list[Any]:
    """The result shape, fastest first, padded to 3 with 1; outer dims folded into z by ``product``."""
    sizes = list(reversed(dims))
    sizes += [1] * (3 - len(sizes))
    return [sizes[0], sizes[1], product(sizes[2:])]


def cpu_workgroup_count(tile_sizes: Sequence[int] | None) -> list[Expression]:
    """A tiled root has ``ceildiv(workload, tile)`` workgroups; an untiled region runs as one.

    ``tile_sizes`` are those of the root's parallel loops, outermost first.
    """
    if tile_sizes is None:
        return [["const", 1]] * 3
    counts: list[Expression] = [
        ["ceildiv", ["arg", i], ["const", tile]] for i, tile in enumerate(reversed(tile_sizes))
    ]
    return counts + [["const", 1]] * (3 - len(counts))


def gpu_workgroup_count(local_size: int = LOCAL_SIZE) -> list[Expression]:
    """An untiled parallel op flattens to a global id: ``ceildiv(total, local size)`` workgroups in x."""
    total: Expression = ["mul", ["mul", ["arg", 0], ["arg", 1]], ["arg", 2]]
    return [["ceildiv", total, ["const", local_size]], ["const", 1], ["const", 1]]


def lowering_configuration(region: Op) -> tuple[Op, Attribute] | None:
    """The op of a dispatch that carries the lowering configuration. Raises FlowError 9 when two do."""
    found = [op for op in region.walk() if LOWERING_CONFIG in op.attributes]
    if len(found) > 1:
        places = ", ".join(f"'{op.name}' at {op.location.user_text()}" for op in found)
        raise FlowError(
            9,
            places,
            cause="a dispatch is lowered by the configuration of its one root",
            hint=f"remove '{LOWERING_CONFIG}' from all but one of them",
        )
    return (found[0], found[0].attributes[LOWERING_CONFIG]) if found else None
