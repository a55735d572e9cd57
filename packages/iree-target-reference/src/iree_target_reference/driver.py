"""Driver ``reference``: interprets each dispatch with numpy, on the caller, one command after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_hal.allocator import Allocator
from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer
from iree_hal.device import Device, check_counts
from iree_hal.device_info import INTERPRETER, DeviceInfo
from iree_hal.driver import Driver
from iree_hal.errors import ACCESS, EXECUTABLE_MISMATCH, PROGRAM, HalError
from iree_hal.executable import Executable
from iree_hal.queue import InlineQueue
from iree_hal.recording import ARENA_BYTES
from iree_hal.replay import Invocation, replay, written_slots
from iree_target_reference.executable import POISON, ReferenceExecutable, ReferenceLoader
from iree_target_reference.target import FORMAT


class ReferenceDevice(Device):
    """Every arena starts poisoned."""

    def __init__(self) -> None:
        super().__init__("reference", Allocator(), (ReferenceLoader(),), InlineQueue())

    def execute(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int] = ()
    ) -> None:
        recording = command_buffer.recording
        check_counts(recording, bindings, params)
        buffers = [b if isinstance(b, Buffer) else Buffer.wrap(b) for b in bindings]
        for row in written_slots(recording, command_buffer.executables):
            if row and buffers[row - 1].readonly:
                raise HalError(ACCESS, f"binding {row - 1} is written, but its memory is read-only")
        slot = recording.outputs.get(ARENA_BYTES)
        size = recording.evaluate(params)[slot] if slot is not None else 0
        if size < 0:
            raise HalError(PROGRAM, f"an arena of {size} bytes")
        arena = self.allocator.allocate(size)
        arena.array[:] = POISON
        try:
            table = [arena.array, *(b.array for b in buffers)]
            replay(recording, table, params, _runner(command_buffer), command_buffer.host_functions)
        finally:
            self.allocator.release(arena)


def _runner(command_buffer: CommandBuffer) -> Callable[[Invocation], None]:
    """Hands each dispatch to its executable."""
    executables = [_own(executable) for executable in command_buffer.executables]
    return lambda call: executables[call.command.executable].run(call)


def _own(executable: Executable) -> ReferenceExecutable:
    if not isinstance(executable, ReferenceExecutable):
        raise HalError(EXECUTABLE_MISMATCH, f"'{executable.name}' was loaded by another device")
    return executable


class ReferenceDriver(Driver):
    name = "reference"

    def devices(self) -> tuple[DeviceInfo, ...]:
        return (DeviceInfo(self.name, "numpy interpreter", {"formats": [FORMAT]}, INTERPRETER),)

    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        self.only(selector)
        return ReferenceDevice()


DRIVER = ReferenceDriver()
