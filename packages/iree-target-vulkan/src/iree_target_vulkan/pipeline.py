"""Pipelines: shader modules compiled by the driver, several at a time on background threads.

A cold driver takes half a second per kernel, so loading an executable starts the work and the first command
buffer that dispatches it waits.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iree_target_vulkan.binding import NULL, check, ffi, lib, struct, vk
from iree_target_vulkan.pipeline_cache import PipelineCache

if TYPE_CHECKING:
    from iree_target_vulkan.logical_device import LogicalDevice

MAX_THREADS = 16
SAVE_INTERVAL_S = 5.0
"""The cache file is written at most this often while pipelines are made, and at the end."""


class ShaderModule:
    """A VkShaderModule; destroyed with the last reference. ``words`` are SPIR-V. Raises VulkanError CALL."""

    def __init__(self, device: LogicalDevice, words: bytes) -> None:
        code = ffi.from_buffer("uint32_t[]", words)
        info = struct("VkShaderModuleCreateInfo", codeSize=len(words), pCode=code)
        self.handle, token = device.own("VkShaderModule", "vkCreateShaderModule", info)
        weakref.finalize(self, device.handles.drop, token).atexit = False


@dataclass(frozen=True)
class PipelineKey:
    """What tells pipelines of a module apart. ``subgroup_size`` None: the driver's choice;
    ``full_subgroups``: the workgroup's first dimension is a multiple of it.
    """

    entry: str
    bindings: int
    push_bytes: int
    subgroup_size: int | None = None
    full_subgroups: bool = False


class Pipeline:
    """A VkPipeline and its layouts; destroyed with the last reference. Raises VulkanError CALL."""

    def __init__(self, device: LogicalDevice, module: ShaderModule, key: PipelineKey, cache: Any) -> None:
        self.key = key
        self.set_layout = device.set_layout(key.bindings)
        self.layout = device.pipeline_layout(key.bindings, key.push_bytes)
        chain, flags = NULL, 0
        if key.subgroup_size is not None:
            chain = struct(
                "VkPipelineShaderStageRequiredSubgroupSizeCreateInfo",
                requiredSubgroupSize=key.subgroup_size,
            )
            if key.full_subgroups and device.physical.features.get("computeFullSubgroups"):
                flags |= vk.VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT
        stage = struct(
            "VkPipelineShaderStageCreateInfo",
            pNext=chain,
            flags=flags,
            stage=vk.VK_SHADER_STAGE_COMPUTE_BIT,
            module=module.handle,
            pName=ffi.new("char[]", key.entry.encode()),
        )
        info = struct("VkComputePipelineCreateInfo", stage=stage[0], layout=self.layout)
        out = ffi.new("VkPipeline*")
        result = lib.vkCreateComputePipelines(device.handle, cache, 1, info, NULL, out)
        check(result, f"vkCreateComputePipelines of '{key.entry}'")
        handle = self.handle = out[0]
        token = device.handles.add("VkPipeline", lambda: lib.vkDestroyPipeline(device.handle, handle, NULL))
        weakref.finalize(self, device.handles.drop, token).atexit = False


class Pipelines:
    """The pipelines of a device: making them, the driver's cache, and those of the driver itself."""

    def __init__(self, device: LogicalDevice) -> None:
        self._device = device
        self.cache = PipelineCache(device)
        self._threads = ThreadPoolExecutor(
            min(MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="iree-vulkan-pipelines"
        )
        self._lock = threading.Lock()
        self._pending = 0
        self._saved_at = 0.0
        self._builtin: dict[str, Pipeline] = {}
        self._builtin_lock = threading.Lock()

    def create(self, module: ShaderModule, key: PipelineKey) -> Future[Pipeline]:
        """Start making a pipeline; ``result()`` waits and raises VulkanError CALL."""
        with self._lock:
            self._pending += 1
        return self._threads.submit(self._create, module, key)

    def _create(self, module: ShaderModule, key: PipelineKey) -> Pipeline:
        try:
            return Pipeline(self._device, module, key, self.cache.handle)
        finally:
            with self._lock:
                self._pending -= 1
                due = not self._pending and time.monotonic() - self._saved_at > SAVE_INTERVAL_S
                if due:
                    self._saved_at = time.monotonic()
            if due:
                self.cache.save()

    def builtin(self, name: str, words: Callable[[], bytes], key: PipelineKey) -> Pipeline:
        """A pipeline of the driver itself, made on first use and kept."""
        with self._builtin_lock:
            found = self._builtin.get(name)
            if found is None:
                module = ShaderModule(self._device, words())
                found = self._builtin[name] = Pipeline(self._device, module, key, self.cache.handle)
            return found

    def builtin_objects(self) -> dict[str, int]:
        """Type -> objects of :meth:`builtin`."""
        return {"VkPipeline": len(self._builtin)}

    def close(self) -> None:
        """Wait for what is being made and save the cache."""
        self._threads.shutdown(wait=True)
        self.cache.save()
