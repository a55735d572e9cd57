"""Profiles by GPU timestamps: frames recorded with a timestamp after every command, or around them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_hal.profile import Command, Profile
from iree_target_vulkan.command_buffer import VulkanCommandBuffer
from iree_target_vulkan.frame import Frame, Part
from iree_target_vulkan.frame_writer import EACH, TOTAL, Timed


def run_timed(
    profile: Profile, command_buffer: VulkanCommandBuffer, bindings: Sequence[Any], params: Sequence[int]
) -> None:
    """Execute once and add the times to ``profile``."""
    timing = EACH if profile.per_dispatch else TOTAL
    key, hosts = command_buffer.key(bindings, params)
    key = (timing, *key)
    frame = command_buffer.idle(key) or command_buffer.new_frame(hosts, params, timing)
    try:
        frame.run(hosts)
        total, commands = times(frame)
    except BaseException:
        frame.retire(bindings)
        raise
    command_buffer.release(key, frame)
    profile.add(total, commands if profile.per_dispatch else ())


def times(frame: Frame) -> tuple[int, list[Command]]:
    """(nanoseconds from first to last timestamp, those of each command) of a frame's complete run."""
    total = 0
    commands: list[Command] = []
    for part in frame.parts:
        if isinstance(part, Part):
            stamps = part.writer.timestamps()
            total += stamps[-1] - stamps[0]
            for entry in part.timed[1:]:
                spent = stamps[entry.query] - stamps[entry.query - 1]
                commands.append(command(entry, spent))
    return total, commands


def command(entry: Timed, spent: int) -> Command:
    """The row of ``entry``, which took ``spent`` nanoseconds."""
    step = entry.step
    if step is None:
        return -1, entry.executable, entry.export, spent, (0, 0, 0), (), ()
    lengths = tuple(use.length for use in step.uses)
    return step.index, entry.executable, entry.export, spent, step.counts, step.constants, lengths
