"""Runs that are timed command by command, by the executor's clock.

The plan of such a run has every command in a wave of its own, so that commands follow each other and the
time of a wave is that of its command: preparing it, handing tiles to the workers, and waiting for the last.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer
from iree_hal.executor.frame import Frame
from iree_hal.executor.native import native
from iree_hal.executor.plan import Plan
from iree_hal.executor.structs import DONE, ERROR, FLAG_STEP, FLAG_TIME, GROW, HOST_CALL, YIELD
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
    clock = time.thread_time_ns if profile.cpu_time else time.perf_counter_ns
    start = clock()
    if device.verify:
        device.execute_verified(device, command_buffer, bindings, params, frame)
    elif profile.cpu_time and profile.per_dispatch:
        _run(device, command_buffer, frame, bindings, params, _step)
    else:
        _run(device, command_buffer, frame, bindings, params, _through)
    total = clock() - start
    per_ms = 1_000_000 if profile.cpu_time else native().ticks_per_ms
    commands = list(times(frame, per_ms)) if profile.per_dispatch else []
    profile.add(sum(command[3] for command in commands) if commands else max(1, total), commands)
    if not device.verify:
        frames.release(frame)


def _run(
    device: LocalDevice,
    command_buffer: CommandBuffer,
    frame: Frame,
    bindings: Sequence[Any],
    params: Sequence[int],
    drive: Callable[[LocalDevice, CommandBuffer, Frame], None],
) -> None:
    device.start_workers()
    held: list[Buffer] = []
    rows = [number for binding in bindings for number in device.row(binding, held)]
    try:
        frame.pack(frame.view, frame.inputs_at, *rows, *params)
    except struct.error as error:
        raise device.explain(command_buffer, bindings, params, error) from None
    try:
        drive(device, command_buffer, frame)
    except BaseException:
        frame.abandon()
        raise


def _through(device: LocalDevice, command_buffer: CommandBuffer, frame: Frame) -> None:
    """Run ``frame`` to its end; the executor notes the times."""
    device.finish(command_buffer, frame, native().run(frame.pointer))


def _step(device: LocalDevice, command_buffer: CommandBuffer, frame: Frame) -> None:
    """Run ``frame`` wave by wave and note the thread's processor time, in nanoseconds, after each."""
    stamps = frame.times
    assert stamps is not None
    frame.state.flags = FLAG_STEP
    try:
        stamps[0] = time.thread_time_ns()
        reached, status = 0, YIELD
        while status != DONE:
            status = native().run(frame.pointer)
            now = time.thread_time_ns()
            if status == ERROR:
                raise frame.error()
            if status == GROW:
                device.grow(command_buffer, frame)
                stamps[0] = time.thread_time_ns()
                continue
            stamps[reached + 1 : frame.state.wave + 1] = now
            reached = frame.state.wave
            if status == HOST_CALL:
                device.call_host(command_buffer, frame)
                stamps[reached] = time.thread_time_ns()
    finally:
        frame.state.flags = FLAG_TIME


def times(frame: Frame, per_ms: int) -> Iterator[Command]:
    """What :meth:`Profile.add` wants of the commands that the last run of ``frame`` has executed, whose clock
    ticks so often in a millisecond.
    """
    assert frame.times is not None
    plan = frame.plan
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
