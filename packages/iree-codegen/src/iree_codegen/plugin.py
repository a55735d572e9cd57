"""Plugin of iree-codegen: constant transforms that strategies ask for, the cache. Light: imports on use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

api = (1, 0)

TRANSFORMS = {
    "blocked-panels": "blocked_panels",
    "blocked-tile-panels": "blocked_tile_panels",
    "blocked-winograd-panels": "blocked_winograd_panels",
    "cpu-panels": "packing",
    "channel-panels": "channel_panels",
    "gate-panels": "gate_panels",
    "integer-filters": "integer_panels",
    "integer-panels": "integer_panels",
    "tile-panels": "tile_panels",
    "winograd-panels": "winograd_panels",
}
"""Kind -> the module here that registers it."""


def _kernels() -> Any:
    return importlib.import_module("iree_codegen.cache").disk_cache()


def iree_caches() -> Mapping[str, Callable[[], Any]]:
    return {"kernels": _kernels}


def iree_constant_transforms() -> Mapping[str, Callable[[], Any]]:
    return {
        kind: partial(importlib.import_module, f"iree_codegen.{module}")
        for kind, module in TRANSFORMS.items()
    }
