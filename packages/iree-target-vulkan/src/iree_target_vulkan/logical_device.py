"""Logical devices: the VkDevice of a physical device with its queue, its timeline and what is shared.

There is one per physical device and process, kept until exit: creating one costs a tenth of a second and its
memory pool and pipelines serve every HAL device. Submissions are numbered on one timeline semaphore.
"""

from __future__ import annotations

import atexit
import copy
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from iree_base import debug
from iree_target_vulkan.binding import (
    NULL,
    TIMEOUT,
    array,
    check,
    create,
    ffi,
    lib,
    strings,
    struct,
    vk,
)
from iree_target_vulkan.errors import DEVICE_LOST, UNUSABLE_DEVICE, VulkanError
from iree_target_vulkan.feature_structs import STRUCTS, Chain
from iree_target_vulkan.handles import Handles
from iree_target_vulkan.instance import check_fork, forked
from iree_target_vulkan.memory import MemoryPool
from iree_target_vulkan.physical_device import PhysicalDevice
from iree_target_vulkan.pipeline import Pipelines

WAIT_SLICE_NS = 50_000_000
"""How long one wait call lasts before Python gets a chance to see Ctrl-C."""
MAX_IDLE_COMMANDS = 256
CLOSING_S = 5.0
"""How long the end of the process waits for calls of other threads."""
_PORTABILITY = "VK_KHR_portability_subset"


class Idle(Protocol):
    """What keeps recordings for reuse."""

    def drop_idle(self) -> None:
        """Give them back."""


class Commands(NamedTuple):
    """A VkCommandPool, a pointer to its one VkCommandBuffer, and the pool's token."""

    pool: Any
    buffer: Any
    token: int


class LogicalDevice:
    """Thread-safe. Raises VulkanError UNUSABLE_DEVICE, CALL."""

    def __init__(self, physical: PhysicalDevice) -> None:
        family = physical.compute_family
        if physical.problem or family is None:
            raise VulkanError(UNUSABLE_DEVICE, physical.name, cause=physical.problem)
        self.physical = physical
        self.lost: VulkanError | None = None
        """Why nothing can run here any more."""
        self.handles = Handles()
        version, known = physical.api_version, physical.extensions
        chain = Chain(version, known)
        chain.enable(physical.features)
        extensions = [s.extension for s in STRUCTS if s.extension and s.available(version, known)]
        extensions += [_PORTABILITY] if _PORTABILITY in known else []
        queue = struct(
            "VkDeviceQueueCreateInfo",
            queueFamilyIndex=family,
            queueCount=1,
            pQueuePriorities=array("float", [1.0]),
        )
        info = struct(
            "VkDeviceCreateInfo",
            pNext=chain.head,
            queueCreateInfoCount=1,
            pQueueCreateInfos=queue,
            enabledExtensionCount=len(extensions),
            ppEnabledExtensionNames=strings(extensions),
        )
        self.handle = create("vkCreateDevice", "VkDevice", physical.handle, info, NULL)
        out = ffi.new("VkQueue*")
        lib.vkGetDeviceQueue(self.handle, family, 0, out)
        self.queue = out[0]
        self.family = family
        timeline = struct(
            "VkSemaphoreTypeCreateInfo", semaphoreType=vk.VK_SEMAPHORE_TYPE_TIMELINE, initialValue=0
        )
        self.semaphore, _ = self.own(
            "VkSemaphore",
            "vkCreateSemaphore",
            struct("VkSemaphoreCreateInfo", pNext=timeline),
        )
        self.semaphores = array("VkSemaphore", [self.semaphore])
        self.submitted = 0
        self._completed = 0
        self._counter = ffi.new("uint64_t*")
        self._lock = threading.Lock()
        self._retired: deque[tuple[int, Callable[[], None]]] = deque()
        self.busy: set[int] = set()
        """Threads that are in a call which uses the device."""
        self.command_buffers: weakref.WeakSet[Idle] = weakref.WeakSet()
        self._idle_commands: list[Commands] = []
        self._set_layouts: dict[int, Any] = {}
        self._pipeline_layouts: dict[tuple[int, int], Any] = {}
        self._layout_lock = threading.Lock()
        self.memory = MemoryPool(self)
        self.pipelines = Pipelines(self)
        debug.log(debug.PLUGINS, f"vulkan: opened {physical.name}")

    # ------------------------------------------------------------------ objects

    def own(self, type: str, call: str, *arguments: Any) -> tuple[Any, int]:
        """Create an object of this device and register it; (handle, token)."""
        handle = create(call, type, self.handle, *arguments, NULL)
        destroy = getattr(lib, call.replace("vkCreate", "vkDestroy").replace("vkAllocate", "vkFree"))
        return handle, self.handles.add(type, lambda: destroy(self.handle, handle, NULL))

    def set_layout(self, bindings: int) -> Any:
        """The layout of a descriptor set of ``bindings`` storage buffers."""
        with self._layout_lock:
            found = self._set_layouts.get(bindings)
            if found is None:
                entries = array("VkDescriptorSetLayoutBinding", bindings)
                for i in range(bindings):
                    entries[i].binding = i
                    entries[i].descriptorType = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                    entries[i].descriptorCount = 1
                    entries[i].stageFlags = vk.VK_SHADER_STAGE_COMPUTE_BIT
                info = struct("VkDescriptorSetLayoutCreateInfo", bindingCount=bindings, pBindings=entries)
                found, _ = self.own("VkDescriptorSetLayout", "vkCreateDescriptorSetLayout", info)
                self._set_layouts[bindings] = found
            return found

    def pipeline_layout(self, bindings: int, push_bytes: int) -> Any:
        """The layout of a pipeline with one such set and ``push_bytes`` of push constants."""
        set_layout = self.set_layout(bindings)
        with self._layout_lock:
            found = self._pipeline_layouts.get((bindings, push_bytes))
            if found is None:
                pushed = struct(
                    "VkPushConstantRange",
                    stageFlags=vk.VK_SHADER_STAGE_COMPUTE_BIT,
                    offset=0,
                    size=push_bytes,
                )
                info = struct(
                    "VkPipelineLayoutCreateInfo",
                    setLayoutCount=1,
                    pSetLayouts=array("VkDescriptorSetLayout", [set_layout]),
                    pushConstantRangeCount=1 if push_bytes else 0,
                    pPushConstantRanges=pushed,
                )
                found, _ = self.own("VkPipelineLayout", "vkCreatePipelineLayout", info)
                self._pipeline_layouts[bindings, push_bytes] = found
            return found

    def take_commands(self) -> Commands:
        """A command buffer to begin, alone in its pool. Raises HalError OUT_OF_MEMORY."""
        try:
            return self._idle_commands.pop()
        except IndexError:
            pass
        info = struct("VkCommandPoolCreateInfo", queueFamilyIndex=self.family)
        pool, token = self.own("VkCommandPool", "vkCreateCommandPool", info)
        allocate = struct("VkCommandBufferAllocateInfo", commandPool=pool, commandBufferCount=1)
        out = ffi.new("VkCommandBuffer*")
        result = lib.vkAllocateCommandBuffers(self.handle, allocate, out)
        if result:
            self.handles.drop(token)
            check(result, "vkAllocateCommandBuffers")
        return Commands(pool, out, token)

    def give_commands(self, commands: Commands) -> None:
        """Take one back whose last submission is complete, for the next recording."""
        if self.lost is not None:
            return
        if len(self._idle_commands) < MAX_IDLE_COMMANDS:
            if lib.vkResetCommandPool(self.handle, commands.pool, 0) == 0:
                self._idle_commands.append(commands)
                return
        self.handles.drop(commands.token)

    # ------------------------------------------------------------------ the queue

    def check(self) -> None:
        """Raises VulkanError DEVICE_LOST, FORKED or UNUSABLE_DEVICE when nothing can run here any more."""
        if self.lost is not None:
            raise copy.copy(self.lost)

    def submit(self, info: Any, values: Any) -> int:
        """Submit ``info`` (a VkSubmitInfo that signals the timeline with ``values[0]``); its number.

        Raises VulkanError DEVICE_LOST, FORKED, HalError OUT_OF_MEMORY.
        """
        if self.lost is not None:
            self.check()
        with self._lock:
            number = self.submitted + 1
            values[0] = number
            result = lib.vkQueueSubmit(self.queue, 1, info, NULL)
            if result == 0:
                self.submitted = number
        if result != 0:
            self._fail(result, "vkQueueSubmit")
        return number

    def wait(self, number: int) -> None:
        """Until submission ``number`` is complete. Ctrl-C ends the wait, not the work.

        Raises VulkanError DEVICE_LOST, UNUSABLE_DEVICE.
        """
        self.check()
        values = ffi.new("uint64_t*", number)
        info = struct("VkSemaphoreWaitInfo", semaphoreCount=1, pSemaphores=self.semaphores, pValues=values)
        self.wait_for(info)

    def wait_for(self, info: Any) -> None:
        """:meth:`wait` with a VkSemaphoreWaitInfo made before."""
        result = lib.vkWaitSemaphores(self.handle, info, WAIT_SLICE_NS)
        while result == TIMEOUT:
            result = lib.vkWaitSemaphores(self.handle, info, WAIT_SLICE_NS)
        if result != 0:
            self._fail(result, "vkWaitSemaphores")
        if self._retired:
            self.collect()

    def _fail(self, result: int, call: str) -> None:
        try:
            check(result, call)
        except VulkanError as error:
            if error.number == DEVICE_LOST:
                self.lost = error
            raise

    def completed(self) -> int:
        """The number of the last submission known to be complete."""
        counter = ffi.new("uint64_t*")
        if lib.vkGetSemaphoreCounterValue(self.handle, self.semaphore, counter) == 0:
            self._completed = max(self._completed, int(counter[0]))
        return self._completed

    def retire(self, number: int, action: Callable[[], None]) -> None:
        """Call ``action`` once submission ``number`` is complete: at some later wait, or at the end."""
        self._retired.append((number, action))

    def collect(self) -> None:
        """Do what became due of :meth:`retire`."""
        done = self.completed()
        for _ in range(len(self._retired)):
            try:
                number, action = self._retired.popleft()
            except IndexError:
                return
            if number <= done:
                action()
            else:
                self._retired.append((number, action))

    def leaks(self) -> dict[str, int]:
        """Type -> Vulkan objects that exist, without those that live as long as the device."""
        self.collect()
        live = self.handles.live()
        with self._layout_lock:
            lasting = {
                "VkDescriptorSetLayout": len(self._set_layouts),
                "VkPipelineLayout": len(self._pipeline_layouts),
                "VkSemaphore": 1,
                "VkPipelineCache": 1,
                "VkCommandPool": len(self._idle_commands),
            }
        for kind, count in self.memory.pooled_objects().items():
            lasting[kind] = lasting.get(kind, 0) + count
        for kind, count in self.pipelines.kept_objects().items():
            lasting[kind] = lasting.get(kind, 0) + count
        return {k: n - lasting.get(k, 0) for k, n in live.items() if n != lasting.get(k, 0)}

    def drop_idle_frames(self) -> None:
        """Give back the memory of recordings that no call uses just now."""
        for command_buffer in list(self.command_buffers):
            command_buffer.drop_idle()

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Wait for all work, save the pipelines, destroy everything.

        At the end of the process daemon threads may be in a call still; one that does not come out of it
        keeps the device from being destroyed, which the operating system does then.
        """
        self.pipelines.close()
        self.lost = self.lost or VulkanError(UNUSABLE_DEVICE, self.physical.name, cause="it is closed")
        lib.vkDeviceWaitIdle(self.handle)
        end = time.monotonic() + CLOSING_S
        while self.busy and time.monotonic() < end:
            time.sleep(0.001)
        self._retired.clear()
        if self.busy:
            self.handles.abandon()
            self.memory.abandon()
            return
        self.handles.close()
        self.handles.abandon()
        lib.vkDestroyDevice(self.handle, NULL)

    def abandon(self) -> None:
        """Forget everything without a call into the driver: this is a forked child."""
        self.lost = forked()
        self.handles.abandon()
        self.memory.abandon()


_devices: dict[int, LogicalDevice] = {}
_lock = threading.Lock()


def logical_device(physical: PhysicalDevice) -> LogicalDevice:
    """The one of ``physical``. Raises VulkanError FORKED, UNUSABLE_DEVICE, CALL."""
    with _lock:
        check_fork()
        found = _devices.get(physical.index)
        if found is None:
            if not _devices:
                atexit.register(_close)
            found = _devices[physical.index] = LogicalDevice(physical)
        return found


def _close() -> None:
    with _lock:
        while _devices:
            _devices.popitem()[1].close()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for device in _devices.values():
        device.abandon()
        _forked.append(device)
    _devices.clear()


_forked: list[LogicalDevice] = []
"""Devices of the parent, kept so that no finalizer of theirs runs here."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
