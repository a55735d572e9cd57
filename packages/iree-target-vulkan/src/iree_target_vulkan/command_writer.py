"""Writes one VkCommandBuffer: dispatches with their bindings and constants, barriers, timestamps.

Operations are collected first and recorded by :meth:`CommandWriter.end`: descriptor sets must be complete
before a command refers to them, and their number must be known. Everything is recorded once and may be
submitted again and again, one submission at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iree_target_vulkan import builtin_kernels
from iree_target_vulkan.binding import NULL, array, check, ffi, lib, struct, vk
from iree_target_vulkan.logical_device import Commands, LogicalDevice
from iree_target_vulkan.memory import Range
from iree_target_vulkan.pipeline import Pipeline

_COMPUTE, _HOST = 0x800, 0x4000
_SHADER_READ, _SHADER_WRITE, _HOST_READ = 0x20, 0x40, 0x2000
_BIND_POINT = 1
_STAGES = 0x20
Counts = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Span:
    """``length`` bytes from ``offset`` of ``range``."""

    range: Range
    offset: int
    length: int

    @property
    def key(self) -> tuple[int, int, int]:
        """Equal for the same bytes of the same memory."""
        range = self.range
        return (range.block.serial, range.offset + self.offset, self.length)

    def part(self, offset: int, length: int) -> Span:
        return Span(self.range, self.offset + offset, length)


@dataclass(frozen=True, slots=True)
class _Dispatch:
    pipeline: Pipeline
    set: int
    words: bytes
    counts: Counts


@dataclass(frozen=True, slots=True)
class _Barrier:
    to_host: bool = False


@dataclass(frozen=True, slots=True)
class _Timestamp:
    query: int


class CommandWriter:
    """Not thread-safe. ``dispatches`` counts what was written."""

    def __init__(self, device: LogicalDevice) -> None:
        self.device = device
        self.dispatches = 0
        self._ops: list[_Dispatch | _Barrier | _Timestamp] = []
        self._sets: dict[tuple[Any, ...], int] = {}
        self._set_spans: list[tuple[Pipeline, tuple[Span, ...]]] = []
        self._tokens: list[int] = []
        self._commands: Commands | None = None
        self._pipelines: set[Pipeline] = set()
        self._queries: Any = None
        self.n_queries = 0
        limits = device.physical
        self._alignment = max(limits.binding_alignment, 4)
        self._limit = limits.max_binding_bytes
        self._max_count = limits.max_workgroup_count[0]

    # ------------------------------------------------------------------ what to record

    def begin(self) -> None:
        """Come after everything submitted before."""
        self._ops.append(_Barrier())

    def dispatch(self, pipeline: Pipeline, spans: Sequence[Span], words: bytes, counts: Counts) -> None:
        """Run a pipeline with ``spans`` as its bindings and ``words`` as its push constants."""
        key = (id(pipeline.set_layout), *(span.key for span in spans))
        number = self._sets.get(key)
        if number is None:
            number = self._sets[key] = len(self._set_spans)
            self._set_spans.append((pipeline, tuple(spans)))
        self._pipelines.add(pipeline)
        self._ops.append(_Dispatch(pipeline, number, words, counts))
        self.dispatches += 1

    def fill(self, target: Span, pattern: bytes) -> None:
        """Repeat ``pattern``; any offset and length."""
        offset = target.range.offset + target.offset
        for each in builtin_kernels.fills(offset, target.length, pattern, self._alignment, self._limit):
            self._builtin(each, target, target)

    def copy(self, source: Span, target: Span) -> None:
        """Copy as many bytes as ``target`` has; any offsets, no overlap."""
        start, to = (span.range.offset + span.offset for span in (source, target))
        for each in builtin_kernels.copies(start, to, target.length, self._alignment, self._limit):
            self._builtin(each, source, target)

    def _builtin(self, each: builtin_kernels.BuiltinDispatch, source: Span, target: Span) -> None:
        words, key = builtin_kernels.KERNELS[each.name]
        pipeline = self.device.pipelines.builtin(each.name, words, key)
        ranges = (source.range, target.range)
        spans = [
            Span(ranges[which], offset - ranges[which].offset, length)
            for which, offset, length in each.bindings
        ]
        raw = b"".join(word.to_bytes(4, "little") for word in each.words)
        self.dispatch(pipeline, spans, raw, builtin_kernels.grid(each.invocations, self._max_count))

    def barrier(self) -> None:
        """What comes after sees what came before; a second one in a row is dropped."""
        if self._ops and not isinstance(self._ops[-1], _Barrier):
            self._ops.append(_Barrier())

    def to_host(self) -> None:
        """Let the host see everything once the submission is complete."""
        self._ops.append(_Barrier(to_host=True))

    def timestamp(self) -> int:
        """Record the time when everything before is complete; the number of the query."""
        self._ops.append(_Timestamp(self.n_queries))
        self.n_queries += 1
        return self.n_queries - 1

    # ------------------------------------------------------------------ recording

    def end(self) -> None:
        """Record. Raises HalError OUT_OF_MEMORY, VulkanError CALL."""
        device = self.device
        self._commands = device.take_commands()
        out = self._commands.buffer
        sets = self._write_sets()
        if self.n_queries:
            queries = struct(
                "VkQueryPoolCreateInfo",
                queryType=vk.VK_QUERY_TYPE_TIMESTAMP,
                queryCount=self.n_queries,
            )
            self._queries, token = device.own("VkQueryPool", "vkCreateQueryPool", queries)
            self._tokens.append(token)
        commands = out[0]
        check(lib.vkBeginCommandBuffer(commands, struct("VkCommandBufferBeginInfo")), "vkBeginCommandBuffer")
        self._record(commands, sets)
        check(lib.vkEndCommandBuffer(commands), "vkEndCommandBuffer")
        self._ops.clear()
        self._sets.clear()
        self._set_spans.clear()
        self._value = ffi.new("uint64_t[1]")
        timeline = struct(
            "VkTimelineSemaphoreSubmitInfo",
            signalSemaphoreValueCount=1,
            pSignalSemaphoreValues=self._value,
        )
        self._submit_info = struct(
            "VkSubmitInfo",
            pNext=timeline,
            commandBufferCount=1,
            pCommandBuffers=out,
            signalSemaphoreCount=1,
            pSignalSemaphores=device.semaphores,
        )
        self._wait_info = struct(
            "VkSemaphoreWaitInfo",
            semaphoreCount=1,
            pSemaphores=device.semaphores,
            pValues=self._value,
        )

    def _write_sets(self) -> list[Any]:
        """All descriptor sets, written by one call."""
        device, n = self.device, len(self._set_spans)
        if not n:
            return []
        total = sum(len(spans) for _, spans in self._set_spans)
        if total:
            size = struct(
                "VkDescriptorPoolSize", type=vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, descriptorCount=total
            )
            sizes = (1, size)
        else:
            sizes = (0, NULL)
        info = struct("VkDescriptorPoolCreateInfo", maxSets=n, poolSizeCount=sizes[0], pPoolSizes=sizes[1])
        pool, token = device.own("VkDescriptorPool", "vkCreateDescriptorPool", info)
        self._tokens.append(token)
        layouts = array("VkDescriptorSetLayout", [p.set_layout for p, _ in self._set_spans])
        allocate = struct(
            "VkDescriptorSetAllocateInfo",
            descriptorPool=pool,
            descriptorSetCount=n,
            pSetLayouts=layouts,
        )
        out = ffi.new("VkDescriptorSet[]", n)
        check(lib.vkAllocateDescriptorSets(device.handle, allocate, out), "vkAllocateDescriptorSets")
        infos = ffi.new("VkDescriptorBufferInfo[]", max(total, 1))
        writes = ffi.new("VkWriteDescriptorSet[]", n)
        at = used = 0
        for number, (_, spans) in enumerate(self._set_spans):
            if not spans:
                continue
            write = writes[used]
            write.sType = vk.VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET
            write.dstSet = out[number]
            # Consecutive bindings of one type are written as if they were one array.
            write.descriptorCount = len(spans)
            write.descriptorType = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
            write.pBufferInfo = infos + at
            used += 1
            for span in spans:
                entry = infos[at]
                entry.buffer = span.range.block.buffer
                entry.offset = span.range.offset + span.offset
                entry.range = span.length
                at += 1
        lib.vkUpdateDescriptorSets(device.handle, used, writes, 0, NULL)
        return [ffi.new("VkDescriptorSet[]", [out[i]]) for i in range(n)]

    def _record(self, commands: Any, sets: Sequence[Any]) -> None:
        before = struct(
            "VkMemoryBarrier", srcAccessMask=_SHADER_WRITE, dstAccessMask=_SHADER_READ | _SHADER_WRITE
        )
        to_host = struct("VkMemoryBarrier", srcAccessMask=_SHADER_WRITE, dstAccessMask=_HOST_READ)
        if self._queries is not None:
            lib.vkCmdResetQueryPool(commands, self._queries, 0, self.n_queries)
        pipeline: Pipeline | None = None
        bound = -1
        pushed: bytes | None = None
        for op in self._ops:
            if isinstance(op, _Dispatch):
                if op.pipeline is not pipeline:
                    if pipeline is None or op.pipeline.layout != pipeline.layout:
                        bound, pushed = -1, None
                    pipeline = op.pipeline
                    lib.vkCmdBindPipeline(commands, _BIND_POINT, pipeline.handle)
                if op.set != bound and pipeline.key.bindings:
                    bound = op.set
                    lib.vkCmdBindDescriptorSets(
                        commands, _BIND_POINT, pipeline.layout, 0, 1, sets[bound], 0, NULL
                    )
                words = op.words
                if words and pushed != words:
                    pushed = words
                    lib.vkCmdPushConstants(commands, pipeline.layout, _STAGES, 0, len(words), words)
                lib.vkCmdDispatch(commands, *op.counts)
            elif isinstance(op, _Barrier):
                stage, barrier = (_HOST, to_host) if op.to_host else (_COMPUTE, before)
                lib.vkCmdPipelineBarrier(commands, _COMPUTE, stage, 0, 1, barrier, 0, NULL, 0, NULL)
            else:
                lib.vkCmdWriteTimestamp(commands, _COMPUTE, self._queries, op.query)

    # ------------------------------------------------------------------ running

    def submit(self) -> int:
        """Submit; the number to wait for. The one before must be complete."""
        return self.device.submit(self._submit_info, self._value)

    def wait(self) -> None:
        """Until the last submission is complete. Raises VulkanError DEVICE_LOST."""
        self.device.wait_for(self._wait_info)

    def timestamps(self) -> list[int]:
        """The times of the complete submission, in nanoseconds from an arbitrary origin."""
        n = self.n_queries
        out = ffi.new("uint64_t[]", n)
        flags = vk.VK_QUERY_RESULT_64_BIT | vk.VK_QUERY_RESULT_WAIT_BIT
        result = lib.vkGetQueryPoolResults(self.device.handle, self._queries, 0, n, 8 * n, out, 8, flags)
        check(result, "vkGetQueryPoolResults")
        physical = self.device.physical
        mask = (1 << physical.timestamp_bits) - 1
        period = float(physical.limits.timestampPeriod)
        first = out[0] & mask
        return [round(((out[i] & mask) - first & mask) * period) for i in range(n)]

    def close(self) -> None:
        """Destroy what was recorded; the last submission must be complete."""
        if self._commands is not None:
            self.device.give_commands(self._commands)
            self._commands = None
        for token in reversed(self._tokens):
            self.device.handles.drop(token)
        self._tokens.clear()
        self._pipelines.clear()
