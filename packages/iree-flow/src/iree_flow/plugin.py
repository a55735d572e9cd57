"""Entry point of group ``iree.compiler``: the dialects, meanings and passes of iree-flow."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

api = (1, 0)

_DIALECTS = {"flow": "iree_flow.dialects.flow", "stream": "iree_flow.dialects.stream"}


def _importer(name: str) -> Callable[[], Any]:
    return lambda: import_module(name)


def iree_caches() -> dict[str, Callable[[], Any]]:
    return {"tuned": lambda: import_module("iree_flow.tuning").disk_cache()}


def iree_dialects() -> dict[str, Callable[[], Any]]:
    return {**{k: _importer(v) for k, v in _DIALECTS.items()}, "hal": _importer("iree_hal.compiler.dialect")}


def iree_interpreters() -> dict[str, Callable[[], Any]]:
    return {k: _importer(f"iree_flow.interpreters.{k}") for k in _DIALECTS}


_PASSES = {
    "apply-constant-layouts": "ApplyConstantLayouts",
    "block-channels": "BlockChannels",
    "convert-elementwise-to-linalg": "ConvertElementwiseToLinalg",
    "convert-to-hal": "ConvertToHal",
    "drop-unit-dims": "DropUnitDims",
    "flow-tile-and-distribute": "FlowTileAndDistribute",
    "form-dispatch-regions": "FormDispatchRegions",
    "fuse-elementwise": "FuseElementwise",
    "gather-first": "GatherFirst",
    "integer-products": "IntegerProducts",
    "join-siblings": "JoinSiblings",
    "lower-control-flow": "LowerControlFlow",
    "outline-dispatch-regions": "OutlineDispatchRegions",
    "place": "Place",
    "raise-attention": "RaiseAttention",
    "read-on-host": "ReadOnHost",
    "resolve-dims": "ResolveDims",
    "schedule-stream": "ScheduleStream",
    "tune-dispatches": "TuneDispatches",
}


def iree_passes() -> dict[str, Callable[[], Any]]:
    def getter(name: str, cls: str) -> Callable[[], Any]:
        return lambda: getattr(import_module(f"iree_flow.passes.{name.replace('-', '_')}"), cls)

    return {name: getter(name, cls) for name, cls in _PASSES.items()}
