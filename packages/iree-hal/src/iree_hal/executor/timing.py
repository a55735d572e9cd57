"""Runs that are timed command by command, by the executor's clock.

The plan of such a run has every command in a wave of its own, so that commands follow each other and the
time of a wave is that of its command: preparing it, handing tiles to the workers, and waiting for the last.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer
from iree_hal.executor.frame import Frame
from iree_hal.executor.native import native
from iree_hal.executor.plan import Plan
from iree_hal.profile import Command, Profile
from iree_hal.recording import Copy, Dispatch, Fill

if TYPE_CHECKING:
    from iree_hal.builtin_drivers.local_device import LocalDevice


class TimedFrames:
    """Frames of a command buffer that take times; made when first wanted, kept for the next run."""

    def __init__(self, plan: Plan, pool_address: int, threads: int) -> None:
        self._plan = Plan(plan.recording, plan.executables, serial=True)
        self._pool_address = pool_address
        self._threads = threads
        self._idle: deque[Frame] = deque()

    def take(self) -> Frame:
        """A frame that nobody else uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return Frame(self._plan, self._pool_address, self._threads, timed=True)

    def release(self, frame: Frame) -> None:
        """Keep ``frame``, whose run is over, for the next; one is enough."""
        if not self._idle:
            self._idle.append(frame)


class PlainFrames:
    """The frames that runs without times use."""

    def __init__(self, command_buffer: CommandBuffer) -> None:
        self._command_buffer: Any = command_buffer

    def take(self) -> Frame:
        """A frame that nobody else uses."""
        try:
            frame: Frame = self._command_buffer.frames.pop()
        except IndexError:
            frame = self._command_buffer.new_frame()
        return frame

    def release(self, frame: Frame) -> None:
        """Keep ``frame``, whose run is over, where there is room."""
        if len(self._command_buffer.frames) < frame.keep:
            self._command_buffer.frames.append(frame)


def execute_timed(
    device: LocalDevice,
    profile: Profile,
    command_buffer: CommandBuffer,
    bindings: Sequence[Any],
    params: Sequence[int],
) -> None:
    """:meth:`Device.execute` that adds its times to ``profile``. Raises what that raises."""
    timed = command_buffer.timed  # type: ignore[attr-defined]
    frames: TimedFrames | PlainFrames = timed if profile.per_dispatch else PlainFrames(command_buffer)
    frame = frames.take()
    start = time.perf_counter_ns()
    if device.verify:
        device.execute_verified(device, command_buffer, bindings, params, frame)
    else:
        _run(device, command_buffer, frame, bindings, params)
    total = time.perf_counter_ns() - start
    commands = list(times(frame)) if profile.per_dispatch else []
    profile.add(sum(command[3] for command in commands) if commands else max(1, total), commands)
    if not device.verify:
        frames.release(frame)


def _run(
    device: LocalDevice,
    command_buffer: CommandBuffer,
    frame: Frame,
    bindings: Sequence[Any],
    params: Sequence[int],
) -> None:
    device.start_workers()
    held: list[Buffer] = []
    rows = [number for binding in bindings for number in device.row(binding, held)]
    try:
        frame.pack(frame.view, frame.inputs_at, *rows, *params)
    except struct.error as error:
        raise device.explain(command_buffer, bindings, params, error) from None
    try:
        device.finish(command_buffer, frame, native().run(frame.pointer))
    except BaseException:
        frame.abandon()
        raise


def times(frame: Frame) -> Iterator[Command]:
    """What :meth:`Profile.add` wants of the commands that the last run of ``frame`` has executed."""
    assert frame.times is not None
    plan = frame.plan
    per_ms = native().ticks_per_ms
    stamps, params = frame.times.tolist(), frame.params.tolist()
    for number, (index,) in enumerate(plan.waves):
        command = plan.recording.commands[index]
        spent = max(0, stamps[number + 1] - stamps[number]) * 1_000_000 // per_ms
        executable, counts = "", (0, 0, 0)
        constants: tuple[int, ...] = ()
        if isinstance(command, Dispatch):
            executable = plan.executables[command.executable].name
            x, y, z = (params[slot] for slot in command.workgroups)
            counts = (x, y, z)
            if not x * y * z:
                continue
            constants = tuple(
                (params[slot] >> (32 if half == "hi" else 0)) & 0xFFFFFFFF for slot, half in command.constants
            )
            refs = command.bindings
        elif isinstance(command, Fill):
            refs = (command.target,)
        elif isinstance(command, Copy):
            refs = (command.source, command.target)
        else:
            continue
        lengths = tuple(params[ref.length] for ref in refs)
        yield index, executable, plan.names[index], spent, counts, constants, lengths
