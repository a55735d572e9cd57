"""Command buffers: a recording with its executables, and the frames recorded of it.

A frame fits one set of parameters, sizes of host arrays and places of device buffers; frames are kept for
reuse, the most recently used ones, bounded by their number and their memory.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer, HostFunction
from iree_hal.device import check_counts
from iree_hal.errors import ACCESS, BAD_ARGUMENTS, EXECUTABLE_MISMATCH, PROGRAM, HalError
from iree_hal.executable import Executable
from iree_hal.recording import ARENA_BYTES, Recording
from iree_hal.replay import written_slots
from iree_target_vulkan.buffer import VulkanBuffer
from iree_target_vulkan.command_writer import Span
from iree_target_vulkan.executable import VulkanExecutable
from iree_target_vulkan.executable_format import EntryPoint
from iree_target_vulkan.frame import Frame, Row
from iree_target_vulkan.memory import DEVICE
from iree_target_vulkan.schedule import Step

if TYPE_CHECKING:
    from iree_target_vulkan.logical_device import LogicalDevice

MAX_CACHED_FRAMES = 32
CACHE_SHARE = 8
"""Idle frames of a command buffer may hold this fraction of the device's memory, or one frame."""

Key = tuple[Any, ...]


class VulkanCommandBuffer(CommandBuffer):
    """Thread-safe; ``device`` is the logical device it runs on. Raises HalError EXECUTABLE_MISMATCH."""

    def __init__(
        self,
        device: LogicalDevice,
        recording: Recording,
        executables: Sequence[Executable],
        host_functions: Sequence[HostFunction],
        verify: bool,
    ) -> None:
        super().__init__(recording, executables, host_functions)
        self.device = device
        self.verify = verify
        for executable in executables:
            if not isinstance(executable, VulkanExecutable) or executable.device is not device:
                raise HalError(EXECUTABLE_MISMATCH, f"'{executable.name}' was loaded by another device")
        self.executables: tuple[VulkanExecutable, ...] = tuple(executables)  # type: ignore[arg-type]
        slots = written_slots(recording, executables)
        self.written = tuple(slot in slots for slot in range(1, recording.n_bindings))
        """Whether a command may write binding i."""
        self._n = recording.n_bindings - 1
        self._idle: dict[Key, list[Frame]] = {}
        self._idle_bytes = 0
        self._idle_frames = 0
        self._lock = threading.Lock()
        self._limit_bytes = device.memory.types[DEVICE].heap_bytes // CACHE_SHARE
        device.command_buffers.add(self)

    def entry(self, step: Step) -> EntryPoint:
        """How a dispatch's kernel is called."""
        return self.executables[step.executable].entries[step.export]

    def arena_bytes(self, values: Sequence[int]) -> int:
        """The size of the arena. Raises HalError PROGRAM for a negative one."""
        slot = self.recording.outputs.get(ARENA_BYTES)
        nbytes = 0 if slot is None else values[slot]
        if nbytes < 0:
            raise HalError(PROGRAM, f"an arena of {nbytes} bytes")
        return nbytes

    # ------------------------------------------------------------------ frames

    def acquire(self, bindings: Sequence[Any], params: Sequence[int]) -> tuple[Key, Frame, Sequence[Any]]:
        """(key, a frame for these arguments, the bindings with an array for each the host holds).

        Raises HalError BAD_ARGUMENTS, ACCESS, and what Frame raises.
        """
        if self.device.lost is not None:
            self.device.check()
        key, hosts = self.key(bindings, params)
        frame = self.idle(key)
        return key, frame or self.new_frame(hosts, params), hosts

    def idle(self, key: Key) -> Frame | None:
        """An idle frame for ``key``, now the caller's."""
        with self._lock:
            frames = self._idle.get(key)
            if not frames:
                return None
            frame = frames.pop()
            self._idle_bytes -= frame.nbytes
            self._idle_frames -= 1
            return frame

    def key(self, bindings: Sequence[Any], params: Sequence[int]) -> tuple[Key, Sequence[Any]]:
        """What a frame depends on, and the bindings as arrays where the host holds them."""
        if len(bindings) != self._n or len(params) != self.recording.n_inputs:
            check_counts(self.recording, bindings, params)
        parts: list[Any] = [tuple(params)]
        hosts: list[Any] | None = None
        device = self.device
        for number, (binding, written) in enumerate(zip(bindings, self.written, strict=True)):
            if type(binding) is np.ndarray:
                flags = binding.flags
                if not flags.c_contiguous or (written and not flags.writeable):
                    _refuse(binding, number, written)
                parts.append(binding.nbytes)
                continue
            if type(binding) is VulkanBuffer:
                storage = binding.storage
                if storage is not None and storage.device is device:
                    if written and binding.readonly:
                        _refuse(binding, number, written)
                    place = storage.range
                    parts.append((place.block.serial, place.offset + binding.offset, binding.nbytes))
                    continue
            if hosts is None:
                hosts = list(bindings)
            array = hosts[number] = host_array(binding, number, written)
            parts.append(array.nbytes)
        return tuple(parts), bindings if hosts is None else hosts

    def new_frame(self, hosts: Sequence[Any], params: Sequence[int], timing: str = "") -> Frame:
        """Record a frame."""
        check_counts(self.recording, hosts, params)
        values = self.evaluate(params)
        rows: list[Row] = []
        for host in hosts:
            if isinstance(host, VulkanBuffer):
                assert host.storage is not None
                rows.append(Span(host.storage.range, host.offset, host.nbytes))
            else:
                rows.append(int(host.nbytes))
        return Frame(self, rows, values, timing)

    def release(self, key: Key, frame: Frame) -> None:
        """Keep a frame whose run is complete for the next one."""
        dropped: list[Frame] = []
        with self._lock:
            frames = self._idle.pop(key, [])
            frames.append(frame)
            self._idle[key] = frames  # the most recent key is last
            self._idle_bytes += frame.nbytes
            self._idle_frames += 1
            while self._idle_frames > 1 and (
                self._idle_frames > MAX_CACHED_FRAMES or self._idle_bytes > self._limit_bytes
            ):
                oldest = next(iter(self._idle))
                unused = self._idle[oldest]
                if unused:
                    old = unused.pop(0)
                    self._idle_bytes -= old.nbytes
                    self._idle_frames -= 1
                    dropped.append(old)
                if not unused:
                    del self._idle[oldest]
        for old in dropped:
            old.close()

    def drop_idle(self) -> None:
        """Close the frames that no call uses."""
        with self._lock:
            frames = [frame for kept in self._idle.values() for frame in kept]
            self._idle.clear()
            self._idle_bytes = self._idle_frames = 0
        for frame in frames:
            frame.close()

    def __del__(self) -> None:
        if hasattr(self, "_limit_bytes"):
            self.drop_idle()


def host_array(binding: Any, number: int, written: bool) -> Any:
    """The bytes of a binding that the host holds. Raises HalError BAD_ARGUMENTS, ACCESS, CLOSED."""
    buffer = binding if isinstance(binding, Buffer) else Buffer.wrap(binding)
    if written and buffer.readonly:
        _refuse(buffer, number, written)
    return buffer.array


def _refuse(binding: Any, number: int, written: bool) -> None:
    if isinstance(binding, np.ndarray) and not binding.flags.c_contiguous:
        raise HalError(BAD_ARGUMENTS, f"binding {number}", cause="it is not C-contiguous")
    raise HalError(ACCESS, f"binding {number} is read-only and a command writes it")


__all__ = ["VulkanCommandBuffer", "host_array"]
