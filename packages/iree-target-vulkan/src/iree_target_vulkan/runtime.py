"""Entry point of group ``iree.runtime``: the driver ``vulkan``; names and lazy getters only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

api = (1, 0)


def _driver() -> Any:
    from iree_target_vulkan.driver import DRIVER

    return DRIVER


def iree_drivers() -> dict[str, Callable[[], Any]]:
    return {"vulkan": _driver}


def _pipelines() -> Any:
    from iree_target_vulkan.pipeline_cache import disk_cache

    return disk_cache()


def iree_caches() -> dict[str, Callable[[], Any]]:
    return {"pipelines": _pipelines}
