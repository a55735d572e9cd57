"""Pipelines: shader modules compiled by the driver, several at a time on background threads.

A cold driver takes half a second per kernel, so loading an executable starts the work and the first command
buffer that dispatches it waits. Pipelines are kept for a while after their executable is gone: loading a
module again costs nothing (and one driver for processors loses memory with every pipeline it destroys).
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import weakref
from collections import OrderedDict
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


MAX_KEPT = 512
"""Pipelines kept for executables that come again, the least recently loaded go first."""


class ShaderModule:
    """A VkShaderModule; destroyed with the last reference. ``words`` are SPIR-V. Raises VulkanError CALL."""

    def __init__(self, device: LogicalDevice, words: bytes) -> None:
        code = ffi.from_buffer("uint32_t[]", words)
        info = struct("VkShaderModuleCreateInfo", codeSize=len(words), pCode=code)
        self.handle, token = device.own("VkShaderModule", "vkCreateShaderModule", info)
        weakref.finalize(self, device.handles.drop, token).atexit = False


class Shader:
    """SPIR-V words; their module is made when a pipeline needs it, and once."""

    def __init__(self, device: LogicalDevice, words: bytes) -> None:
        self.digest = hashlib.blake2b(words, digest_size=16).digest()
        self._device = device
        self._words = words
        self._lock = threading.Lock()
        self._module: ShaderModule | None = None

    def module(self) -> ShaderModule:
        """Raises VulkanError CALL."""
        with self._lock:
            if self._module is None:
                self._module = ShaderModule(self._device, self._words)
            return self._module


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
        self._kept: OrderedDict[tuple[bytes, PipelineKey], Future[Pipeline]] = OrderedDict()

    def create(self, shader: Shader, key: PipelineKey) -> Future[Pipeline]:
        """Find a pipeline or start making it; ``result()`` waits and raises VulkanError CALL."""
        where = (shader.digest, key)
        with self._lock:
            found = self._kept.get(where)
            if found is None or (found.done() and found.exception() is not None):
                self._pending += 1
                found = self._kept[where] = self._threads.submit(self._create, shader, key)
            self._kept.move_to_end(where)
            dropped = [self._kept.popitem(last=False) for _ in range(len(self._kept) - MAX_KEPT)]
        del dropped  # outside of the lock: this may destroy pipelines
        return found

    def _create(self, shader: Shader, key: PipelineKey) -> Pipeline:
        try:
            return Pipeline(self._device, shader.module(), key, self.cache.handle)
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

    def kept_objects(self) -> dict[str, int]:
        """Type -> objects that exist for the driver itself or for executables that come again."""
        with self._lock:
            done = [f for f in self._kept.values() if f.done() and f.exception() is None]
        return {"VkPipeline": len(self._builtin) + len(done)}

    def trim(self) -> None:
        """Forget the pipelines that no executable uses."""
        with self._lock:
            kept, self._kept = self._kept, OrderedDict()
        del kept

    def close(self) -> None:
        """Wait for what is being made and save the cache."""
        self._threads.shutdown(wait=True)
        self.cache.save()
