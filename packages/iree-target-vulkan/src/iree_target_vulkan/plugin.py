"""Entry point of group ``iree.compiler``: names and lazy getters only.

The compiler half is part of every installation; it works where iree-codegen is installed too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

api = (1, 0)


def _vulkan_spirv() -> Any:
    if importlib.util.find_spec("iree_codegen") is None:
        from iree_target_vulkan.errors import COMPILER_MISSING, VulkanError

        raise VulkanError(
            COMPILER_MISSING,
            "target vulkan-spirv",
            cause="iree-codegen is not installed",
            hint="pip install 'iree-target-vulkan[compiler]'",
        )
    from iree_target_vulkan.target import VulkanSpirvTarget

    return VulkanSpirvTarget()


def iree_targets() -> Mapping[str, Callable[[], Any]]:
    return {"vulkan-spirv": _vulkan_spirv}
