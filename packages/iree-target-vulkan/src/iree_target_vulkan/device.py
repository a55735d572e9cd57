"""The HAL device of driver ``vulkan``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from threading import get_ident
from typing import Any

from iree_base import debug
from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer, HostFunction
from iree_hal.device import Device, check_counts
from iree_hal.errors import EXECUTABLE_MISMATCH, UNSUPPORTED, HalError
from iree_hal.executable import Executable
from iree_hal.fence import Fence, Fences, as_fence
from iree_hal.profile import Profile
from iree_hal.queue import ThreadQueue
from iree_hal.recording import Recording
from iree_target_vulkan.allocator import VulkanAllocator
from iree_target_vulkan.buffer import VulkanBuffer, device_storage, view_of
from iree_target_vulkan.command_buffer import VulkanCommandBuffer
from iree_target_vulkan.completion import Completions, Deferred
from iree_target_vulkan.executable import VulkanLoader
from iree_target_vulkan.frame import Frame, Part
from iree_target_vulkan.logical_device import LogicalDevice
from iree_target_vulkan.profile import run_timed
from iree_target_vulkan.transfer import copy_now, fill_now, upload


class VulkanDevice(Device):
    """Runs ``vulkan-spirv`` executables. Devices over the same ``logical`` device share its memory pool,
    queue and pipelines.
    """

    def __init__(self, logical: LogicalDevice, *, verify: bool | None = None) -> None:
        self.verify = debug.verifying() if verify is None else verify
        self.logical = logical
        queue = ThreadQueue(f"vulkan-{logical.physical.index}")
        super().__init__(
            "vulkan", VulkanAllocator(logical, verify=self.verify), (VulkanLoader(logical),), queue
        )
        self._completions = Completions(logical, self.id)

    @property
    def name(self) -> str:
        """The device's own name."""
        return self.logical.physical.name

    def validation_messages(self) -> list[str]:
        """What the validation layers said so far in this process (with ``IREE_VULKAN_VALIDATION=1``)."""
        return list(self.logical.physical.instance.messages)

    def leaks(self) -> dict[str, int]:
        """Vulkan object type -> how many exist beyond what the logical device keeps for reuse: all of it is
        in use by somebody, or leaked.
        """
        return self.logical.leaks()

    def missing_features(self, features: Sequence[str]) -> list[str]:
        return self.logical.physical.lacking(features)

    def import_constants(self, memory: Any) -> Buffer:
        """The bytes in the device's own memory, streamed there now."""
        host = view_of(memory)
        storage = device_storage(self.logical, max(host.nbytes, 1))
        upload(self.logical, host, storage.range)
        return VulkanBuffer(storage, 0, host.nbytes, readonly=True, host=host)

    # ------------------------------------------------------------------ commands

    def create_command_buffer(
        self,
        recording: Recording,
        executables: Sequence[Executable],
        host_functions: Sequence[HostFunction] = (),
    ) -> VulkanCommandBuffer:
        return VulkanCommandBuffer(self.logical, recording, executables, host_functions, self.verify)

    def execute(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int] = ()
    ) -> None:
        """See the contract. Bindings of any address and device buffers at any offset are accepted; results
        in host arrays are untouched by a call that fails.
        """
        if self._profile is not None:
            run_timed(self._profile, self._own(command_buffer), bindings, params)
            return
        thread = get_ident()
        busy = self.logical.busy
        busy.add(thread)
        try:
            key, frame, hosts = command_buffer.acquire(bindings, params)  # type: ignore[attr-defined]
            try:
                frame.run(hosts)
            except BaseException:
                frame.retire(bindings)
                raise
            command_buffer.release(key, frame)  # type: ignore[attr-defined]
        finally:
            busy.discard(thread)

    def _own(self, command_buffer: CommandBuffer) -> VulkanCommandBuffer:
        if not isinstance(command_buffer, VulkanCommandBuffer) or command_buffer.device is not self.logical:
            raise HalError(EXECUTABLE_MISMATCH, "the command buffer belongs to another device")
        return command_buffer

    def profiling(
        self, per_dispatch: bool = True, *, cpu_time: bool = False
    ) -> AbstractContextManager[Profile]:
        """See :meth:`iree_hal.device.Device.profiling`; by timestamps of the queue."""
        if cpu_time:
            raise HalError(UNSUPPORTED, f"profiling by processor time on {self.driver_name}")
        if not self.logical.physical.timestamp_bits:
            raise HalError(UNSUPPORTED, f"timestamps on {self.name}")
        return self._profiling(per_dispatch)

    # ------------------------------------------------------------------ queue operations

    def queue_execute(
        self,
        command_buffer: CommandBuffer,
        bindings: Sequence[Any],
        params: Sequence[int] = (),
        *,
        wait: Fences = (),
        signal: Fences = (),
    ) -> None:
        """See the contract. The next operation may start while this one runs on the device. What can start
        now and is recorded already is submitted by the caller, without a change of threads.
        """
        commands = self._own(command_buffer)
        check_counts(commands.recording, bindings, params)
        held, values = tuple(bindings), tuple(params)
        awaited, reached = as_fence(wait), as_fence(signal)
        if self._profile is None and _is_reached(awaited):
            try:
                key, hosts = commands.key(held, values)
                frame = commands.idle(key)
                if frame is not None and len(frame.parts) == 1 and isinstance(frame.parts[0], Part):
                    self._launch(commands, key, frame, held, hosts, reached)
                    return
                if frame is not None:
                    commands.release(key, frame)
            except Exception as error:
                reached.fail(error)
                return
        self._queue.submit(
            lambda: self._start(commands, held, values, reached), awaited, Deferred(reached.points)
        )

    def _start(
        self, commands: VulkanCommandBuffer, bindings: Sequence[Any], params: Sequence[int], signal: Fence
    ) -> None:
        """Submit and return; what has several parts runs to its end here."""
        if self._profile is not None:
            self.execute(commands, bindings, params)
            signal.signal()
            return
        key, frame, hosts = commands.acquire(bindings, params)
        part = frame.parts[0] if len(frame.parts) == 1 else None
        if isinstance(part, Part):
            self._launch(commands, key, frame, bindings, hosts, signal)
            return
        try:
            frame.run(hosts)
        except BaseException:
            frame.retire(bindings)
            raise
        commands.release(key, frame)
        signal.signal()

    def _launch(
        self,
        commands: VulkanCommandBuffer,
        key: Any,
        frame: Frame,
        bindings: Sequence[Any],
        hosts: Sequence[Any],
        signal: Fence,
    ) -> None:
        """Submit a frame of one part; the completion thread does the rest."""
        part = frame.parts[0]
        assert isinstance(part, Part)
        try:
            number = frame.start(part, hosts)
        except BaseException:
            frame.retire(bindings)
            raise
        self._completions.add(number, _finisher(commands, key, frame, part, bindings, hosts), signal)

    def _copy(
        self, source: Buffer, source_offset: int, target: Buffer, target_offset: int, length: int
    ) -> None:
        spans = [self._hidden(buffer) for buffer in (source, target)]
        if spans[0] is None and spans[1] is None:
            super()._copy(source, source_offset, target, target_offset, length)
            return
        a, b = (self._place(buffer) for buffer in (source, target))
        if a is None or b is None:
            # One is not of this device: the other moves to where both can be seen.
            super()._copy(source, source_offset, target, target_offset, length)
            return
        copy_now(self.logical, a[0], a[1] + source_offset, b[0], b[1] + target_offset, length)

    def _fill(self, target: Buffer, offset: int, length: int, pattern: bytes) -> None:
        place = self._hidden(target)
        if place is None:
            super()._fill(target, offset, length, pattern)
        else:
            fill_now(self.logical, place[0], place[1] + offset, length, pattern)

    def _place(self, buffer: Buffer) -> Any:
        """(range, offset) of a buffer in memory of this device, None for others."""
        if isinstance(buffer, VulkanBuffer) and buffer.storage is not None:
            if buffer.storage.device is self.logical:
                return buffer.storage.range, buffer.offset
        return None

    def _hidden(self, buffer: Buffer) -> Any:
        """:meth:`_place` of a buffer whose memory the host does not see."""
        place = self._place(buffer)
        return place if place is not None and not place[0].visible else None


def _is_reached(fence: Fence) -> bool:
    """Whether there is nothing to wait for; a failed fence is no matter for the caller."""
    if not fence.points:
        return True
    try:
        return fence.query()
    except Exception:
        return False


def _finisher(
    commands: VulkanCommandBuffer,
    key: Any,
    frame: Frame,
    part: Part,
    bindings: Sequence[Any],
    hosts: Sequence[Any],
) -> Any:
    def finish() -> None:
        try:
            frame.finish(part, hosts)
        except BaseException:
            frame.retire(bindings)
            raise
        commands.release(key, frame)

    return finish
