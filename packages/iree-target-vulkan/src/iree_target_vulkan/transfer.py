"""Copies that the host waits for: moving a buffer, and filling device memory from the host's."""

from __future__ import annotations

from iree_hal.storage import Bytes
from iree_target_vulkan.command_writer import CommandWriter, Span
from iree_target_vulkan.host_copy import copy_bytes
from iree_target_vulkan.logical_device import LogicalDevice
from iree_target_vulkan.memory import UPLOAD, Range

CHUNK_BYTES = 16 << 20
"""Constants go through two staging ranges of this size, one being filled while the other is copied."""


def copy_now(
    device: LogicalDevice, source: Range, source_offset: int, target: Range, target_offset: int, length: int
) -> None:
    """Copy on the device and wait. Raises VulkanError DEVICE_LOST, HalError OUT_OF_MEMORY."""
    if not length:
        return
    writer = CommandWriter(device)
    try:
        writer.begin()
        writer.copy(Span(source, source_offset, length), Span(target, target_offset, length))
        writer.to_host()
        writer.end()
        device.wait(writer.submit())
    finally:
        writer.close()


def upload(device: LogicalDevice, data: Bytes, target: Range) -> None:
    """Write ``data`` to the start of ``target``, streamed, and wait."""
    if target.visible:
        copy_bytes(target.view()[: data.nbytes], data)
        return
    size = min(CHUNK_BYTES, data.nbytes)
    staging = [device.memory.allocate(UPLOAD, size) for _ in range(2 if data.nbytes > size else 1)]
    pending: list[tuple[CommandWriter, int] | None] = [None] * len(staging)
    try:
        for number, start in enumerate(range(0, data.nbytes, size or 1)):
            turn = number % len(staging)
            _finish(device, pending, turn)
            part = data[start : start + size]
            copy_bytes(staging[turn].view()[: part.nbytes], part)
            writer = CommandWriter(device)
            writer.begin()
            writer.copy(Span(staging[turn], 0, part.nbytes), Span(target, start, part.nbytes))
            writer.end()
            pending[turn] = (writer, writer.submit())
    finally:
        for turn in range(len(staging)):
            _finish(device, pending, turn)
        for range_ in staging:
            device.memory.free(range_)


def _finish(device: LogicalDevice, pending: list[tuple[CommandWriter, int] | None], turn: int) -> None:
    waiting = pending[turn]
    if waiting is not None:
        pending[turn] = None
        device.wait(waiting[1])
        waiting[0].close()


def fill_now(device: LogicalDevice, target: Range, offset: int, length: int, pattern: bytes) -> None:
    """Fill on the device and wait."""
    if not length:
        return
    writer = CommandWriter(device)
    try:
        writer.begin()
        writer.fill(Span(target, offset, length), pattern)
        writer.to_host()
        writer.end()
        device.wait(writer.submit())
    finally:
        writer.close()
