"""Frames: a command buffer for one set of parameters and bindings, recorded and with its memory.

A frame owns the arena, the device's copies of host arrays, scratch and status words; running it again costs
the copies of the host's bytes, one submission and one wait. It is used by one call at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_hal.abi import split_error
from iree_hal.errors import KernelError
from iree_hal.storage import Bytes
from iree_target_vulkan.binding import ffi
from iree_target_vulkan.command_writer import CommandWriter, Span
from iree_target_vulkan.frame_writer import Timed, write_segment
from iree_target_vulkan.host_copy import copy_bytes
from iree_target_vulkan.memory import DEVICE, READBACK, SHARED, UPLOAD, Range
from iree_target_vulkan.schedule import HostStep, Segment, schedule

if TYPE_CHECKING:
    from iree_target_vulkan.command_buffer import VulkanCommandBuffer

SMALL_BYTES = 64 << 10
"""Up to this, bytes are moved while holding the interpreter: giving it up costs more."""
SHARED_BYTES = 1 << 30
"""Inputs up to this are written to the device's memory by the host, where it can: on an H100 that takes 0.79
instead of 0.87 ms for 4 MiB, and no more for less.
"""

Row = Span | int
"""A row of the binding table: memory of the device, or as many bytes of the host."""


@dataclass
class HostRow:
    """A row that lives in the host's memory: ``used`` is what kernels bind; the host writes ``upload`` and
    reads ``readback``, either of which may be the same memory.
    """

    slot: int
    used: Span
    upload: Span | None = None
    readback: Span | None = None


@dataclass
class Part:
    """A recorded segment: ``uploads`` (binding, address, bytes) before, ``readbacks`` (binding, offset,
    address, bytes) after.
    """

    writer: CommandWriter
    uploads: list[tuple[int, Any, int]] = field(default_factory=list)
    readbacks: list[tuple[int, int, Any, int]] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)


class Frame:
    """``nbytes`` is the memory it owns. Raises what :func:`~iree_target_vulkan.schedule.schedule` does,
    HalError OUT_OF_MEMORY, VulkanError INDEX_RANGE, DEVICE_LIMIT.
    """

    def __init__(
        self, owner: VulkanCommandBuffer, rows: Sequence[Row], values: Sequence[int], timing: str = ""
    ) -> None:
        self.owner = owner
        self.device = device = owner.device
        self._ranges: list[Range] = []
        self.nbytes = 0
        self.parts: list[Part | HostStep] = []
        self.scratch: list[Span] = []
        """Scratch that dispatches of a wave use side by side."""
        self.poisoned = False
        self._null: Span | None = None
        self._status: list[tuple[str, int]] = []
        self._status_bytes: Any = None
        try:
            arena = owner.arena_bytes(values)
            sizes = [arena, *(row if isinstance(row, int) else row.length for row in rows)]
            exports = [executable.exports for executable in owner.executables]
            plan = schedule(owner.recording, exports, sizes, values)
            self.table: list[Span] = [self.take(DEVICE, arena)]
            self.arena = self.table[0]
            self._place(rows, plan)
            self._make_status(plan)
            for segment in plan:
                if isinstance(segment, HostStep):
                    self.parts.append(segment)
                else:
                    self._record(segment, timing)
        except BaseException:
            self.close()
            raise
        only = self.parts[0] if len(self.parts) == 1 else None
        self._single = only if isinstance(only, Part) else None
        device.collect()

    # ------------------------------------------------------------------ memory

    def take(self, kind: str, nbytes: int) -> Span:
        """Memory that lives as long as the frame. Raises HalError OUT_OF_MEMORY."""
        found = self.device.memory.allocate(kind, nbytes)
        self._ranges.append(found)
        self.nbytes += found.reserved
        return Span(found, 0, nbytes)

    def null(self) -> Span:
        """What is bound where a binding has no bytes."""
        if self._null is None:
            self._null = self.take(DEVICE, 16)
        return self._null

    def _place(self, rows: Sequence[Row], plan: Sequence[Segment | HostStep]) -> None:
        """Decide where the rows are that the host holds."""
        segments = [s for s in plan if isinstance(s, Segment)]
        self._hosts: list[HostRow] = []
        for slot, row in enumerate(rows, 1):
            if isinstance(row, Span):
                self.table.append(row)
                continue
            read = any(slot in s.needed for s in segments)
            written = any(slot in s.written for s in segments)
            placed = self._placed(slot, row, read, written)
            self._hosts.append(placed)
            self.table.append(placed.used)

    def _placed(self, slot: int, nbytes: int, read: bool, written: bool) -> HostRow:
        # Kernels that write to the host's memory across the bus take longer than a copy afterwards: on an
        # H100 78 against 68 us for 64 KiB, 1.4 against 0.8 ms for 4 MiB.
        if self.device.memory.unified:
            span = self.take(UPLOAD, nbytes)
            return HostRow(slot, span, span, span)
        if read and self.device.memory.shared and nbytes <= SHARED_BYTES:
            span = upload = self.take(SHARED, nbytes)
        else:
            span = self.take(DEVICE, nbytes)
            upload = self.take(UPLOAD, nbytes) if read else span
        return HostRow(slot, span, upload, self.take(READBACK, nbytes) if written else None)

    def _make_status(self, plan: Sequence[Segment | HostStep]) -> None:
        n = sum(
            self.owner.entry(step).status_binding is not None
            for segment in plan
            if isinstance(segment, Segment)
            for wave in segment.waves
            for step in wave
            if step.is_dispatch
        )
        if n:
            self.status = self.take(READBACK, 4 * n)
            self._status_bytes = ffi.buffer(self.status.range.pointer, 4 * n)
            self._status_clean = bytes(4 * n)
            self._status_bytes[:] = self._status_clean

    def status_index(self, name: str, command_index: int) -> int:
        """The status word of the next dispatch that has one."""
        self._status.append((name, command_index))
        return len(self._status) - 1

    # ------------------------------------------------------------------ recording

    def _record(self, segment: Segment, timing: str) -> None:
        writer = CommandWriter(self.device)
        part = Part(writer)
        self.parts.append(part)
        for row in self._hosts:
            slot = row.slot
            if slot in segment.needed and row.upload is not None and row.upload.length:
                part.uploads.append((slot - 1, row.upload.range.pointer, row.upload.length))
            if row.readback is not None:
                pointer = row.readback.range.pointer
                part.readbacks += [
                    (slot - 1, start, pointer + start, end - start)
                    for start, end in segment.written.get(slot, ())
                ]
        write_segment(self, writer, segment, self._hosts, timing, part.timed)
        writer.end()

    # ------------------------------------------------------------------ running

    def run(self, bindings: Sequence[Any]) -> None:
        """Run to the end. ``bindings`` are host arrays; others are not looked at.

        Raises KernelError, VulkanError DEVICE_LOST.
        """
        single = self._single
        if single is not None:
            self.start(single, bindings)
            single.writer.wait()
            self.finish(single, bindings)
            return
        for part in self.parts:
            if isinstance(part, HostStep):
                self.owner.host_functions[part.function](*part.arguments)
            else:
                self.start(part, bindings)
                part.writer.wait()
                self.finish(part, bindings)

    def start(self, part: Part, bindings: Sequence[Any]) -> int:
        """Copy the host's bytes in and submit; the number of the submission."""
        for index, pointer, nbytes in part.uploads:
            source = bindings[index]
            if nbytes <= SMALL_BYTES:
                try:
                    ffi.memmove(pointer, source, nbytes)
                    continue
                except (TypeError, ValueError, BufferError):
                    pass  # element types that the buffer protocol cannot express
            copy_bytes(_bytes_at(pointer, nbytes), source.reshape(-1).view(np.uint8))
        return part.writer.submit()

    def finish(self, part: Part, bindings: Sequence[Any]) -> None:
        """After the submission: look for errors, copy the results to the host. Raises KernelError."""
        if self._status_bytes is not None and self._status_bytes[:] != self._status_clean:
            raise self._fault()
        for index, offset, pointer, nbytes in part.readbacks:
            target = bindings[index]
            if nbytes <= SMALL_BYTES and nbytes == target.nbytes:
                try:
                    ffi.memmove(target, pointer, nbytes)
                    continue
                except (TypeError, ValueError, BufferError):
                    pass
            whole = target.reshape(-1).view(np.uint8)
            copy_bytes(whole[offset : offset + nbytes], _bytes_at(pointer, nbytes))

    def _fault(self) -> KernelError:
        words = np.frombuffer(self._status_bytes[:], np.uint32)
        first = min(np.flatnonzero(words), key=lambda i: self._status[i][1])
        code = int(words[first])
        self._status_bytes[:] = self._status_clean
        name, index = self._status[first]
        kind, assert_index = split_error(code)
        return KernelError(code, name, kind, assert_index, index)

    def retire(self, bindings: Sequence[Any]) -> None:
        """Close the frame, and let go of ``bindings``, once the device is done with it."""
        device = self.device

        def end() -> None:
            self.close()
            held.clear()

        held = list(bindings)
        device.retire(device.submitted, end)

    def close(self) -> None:
        """Give everything back; nothing of it may be running."""
        for part in self.parts:
            if isinstance(part, Part):
                part.writer.close()
        self.parts = []
        for range in self._ranges:
            self.device.memory.free(range)
        self._ranges = []


def _bytes_at(pointer: Any, nbytes: int) -> Bytes:
    return np.frombuffer(ffi.buffer(pointer, nbytes), np.uint8)
