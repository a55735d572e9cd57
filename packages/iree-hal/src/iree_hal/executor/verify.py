"""Running with ``IREE_VERIFY=1``: lifetime and race bugs become errors that come every time.

Each run gets a fresh arena full of NaN patterns between guard zones; arrays the recording writes are
replaced by guarded copies for the run, and arrays it must not write are compared afterwards. Guards are
looked at after every wave, so the error names the commands of that wave. Tiles run in a shuffled order,
the same one each time. Commands of one wave must not touch bytes another one writes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_hal.allocator import GUARD_VALUE, check_guards
from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer
from iree_hal.device import check_counts
from iree_hal.errors import ACCESS, HAZARD, HalError
from iree_hal.executor.native import native
from iree_hal.executor.structs import (
    DONE,
    ERROR,
    FLAG_SHUFFLE,
    FLAG_STEP,
    GROW,
    HOST_CALL,
    START,
)
from iree_hal.recording import ARENA_BYTES, BindingRef, Copy, Dispatch, Fill

if TYPE_CHECKING:
    from iree_hal.drivers.local_device import LocalCommandBuffer, LocalDevice

SEED = 0x1EEE
COMPARED_BYTES = 64 << 20
"""Arrays that are only read are compared up to this size."""


def execute_verified(
    device: LocalDevice, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int]
) -> None:
    """:meth:`Device.execute` with every check. Raises HalError REDZONE, HAZARD, ACCESS besides its errors."""
    check_counts(command_buffer.recording, bindings, params)
    run = _Run(device, command_buffer, params)  # type: ignore[arg-type]
    try:
        run.bind(bindings)
        run.drive()
    finally:
        run.frame.abandon()
        run.release()


class _Run:
    def __init__(
        self, device: LocalDevice, command_buffer: LocalCommandBuffer, params: Sequence[int]
    ) -> None:
        self.device = device
        self.command_buffer = command_buffer
        self.params = tuple(int(p) for p in params)
        self.waves = command_buffer.recording.waves()
        self.frame = command_buffer.new_frame()
        self.frame.state.flags = FLAG_STEP | FLAG_SHUFFLE
        self.frame.state.seed = SEED
        self.arena: Buffer | None = None
        self.guarded: list[tuple[str, Buffer]] = []
        self.results: list[tuple[Buffer, np.ndarray[Any, Any]]] = []
        self.unchanged: list[tuple[int, Buffer, np.ndarray[Any, Any]]] = []
        device._pool.ensure(device._workers)

    def bind(self, bindings: Sequence[Any]) -> None:
        """Fill the table with guarded copies where that is possible, and the parameter block."""
        written = self.command_buffer.plan.written
        copies: dict[int, Buffer] = {}
        rows: list[int] = []
        # Arrays that share memory must go on doing so: then the originals are used.
        plain = [b for b in bindings if isinstance(b, np.ndarray)]
        shared = any(
            a is not b and np.may_share_memory(a, b) for i, a in enumerate(plain) for b in plain[i + 1 :]
        )
        for slot, binding in enumerate(bindings, 1):
            if isinstance(binding, Buffer):
                self.guarded.append((f"binding slot {slot}", binding))
                rows += binding.row
                continue
            array = np.asarray(binding)
            usable = array.flags.c_contiguous and not shared and (array.flags.writeable or not written[slot])
            if not usable or (not written[slot] and array.nbytes > COMPARED_BYTES):
                rows += Buffer.wrap(array).row if array.flags.c_contiguous else _strided_row(array)
                continue
            copied = copies.get(id(binding))
            if copied is None:
                copied = copies[id(binding)] = self.device.allocator.allocate(array.nbytes)
                copied.array[:] = array.reshape(-1).view(np.uint8)
                self.guarded.append((f"binding slot {slot}", copied))
                if any(w and b is binding for w, b in zip(written[1:], bindings, strict=True)):
                    self.results.append((copied, array))
                else:
                    self.unchanged.append((slot, copied, array))
            rows += copied.row
        frame = self.frame
        try:
            frame.pack(frame.view, frame.inputs_at, *rows, *self.params)
        except struct.error as error:
            raise self.device.explain(self.command_buffer, bindings, self.params, error) from None
        self.held = (bindings, copies)

    def drive(self) -> None:
        frame = self.frame
        status = -1
        while status != DONE:
            status = native().run(frame.pointer)
            if status == ERROR:
                raise frame.error()
            if status == GROW:
                self.grow()
                continue
            wave = int(frame.state.wave)
            if status == HOST_CALL:
                self.device.call_host(self.command_buffer, frame)
            self.check_guards(wave)
            if frame.state.state != START and wave < len(self.waves):
                self.check_hazards(wave)
        for slot, copied, array in self.unchanged:
            if not np.array_equal(copied.array, array.reshape(-1).view(np.uint8)):
                raise HalError(ACCESS, f"a kernel wrote to binding slot {slot}, which it only reads")
        for copied, array in self.results:
            array.reshape(-1).view(np.uint8)[:] = copied.array

    def grow(self) -> None:
        slot = self.command_buffer.recording.outputs[ARENA_BYTES]
        self.arena = self.device.allocator.allocate(int(self.frame.params[slot]))
        self.guarded.append(("the arena", self.arena))
        self.frame.set_arena(self.arena.array)
        self.check_hazards(0)

    def check_guards(self, wave: int) -> None:
        """Raises HalError REDZONE naming the commands of the wave before ``wave``."""
        for what, buffer in self.guarded:
            try:
                check_guards(buffer, what)
            except HalError as error:
                names = self.command_buffer.plan.names
                last = self.waves[max(0, min(wave, len(self.waves)) - 1)]
                error.source = ", ".join(f"command {i} ({names.get(i, 'host call')})" for i in last)
                # Reported once: the memory goes back to the pool.
                for zone in buffer.guards or ():
                    zone[:] = GUARD_VALUE
                raise

    def check_hazards(self, wave: int) -> None:
        """Raises HalError HAZARD when two bindings of a wave overlap and one of them is written."""
        recording = self.command_buffer.recording
        values = self.frame.params
        ranges: list[tuple[int, int, int, bool, int]] = []
        for index in self.waves[wave] if self.waves else ():
            command = recording.commands[index]
            uses: list[tuple[BindingRef, str]] = []
            if isinstance(command, Dispatch):
                if any(values[slot] == 0 for slot in command.workgroups):
                    continue
                export = self.command_buffer.executables[command.executable].exports[command.export]
                uses = list(zip(command.bindings, export.bindings, strict=True))
            elif isinstance(command, Fill):
                uses = [(command.target, "write")]
            elif isinstance(command, Copy):
                uses = [(command.source, "read"), (command.target, "write")]
            for ref, access in uses:
                start, length = int(values[ref.offset]), int(values[ref.length])
                if length > 0:
                    ranges.append((ref.slot, start, start + length, access != "read", index))
        for i, (slot, start, end, writes, index) in enumerate(ranges):
            for other_slot, other_start, other_end, other_writes, other in ranges[i + 1 :]:
                if (
                    slot == other_slot
                    and (writes or other_writes)
                    and start < other_end
                    and other_start < end
                ):
                    raise HalError(
                        HAZARD,
                        f"commands {index} and {other} in slot {slot}, bytes {max(start, other_start)} "
                        f"to {min(end, other_end)}",
                        hint="report the model; the schedule or the memory plan is wrong",
                    )

    def release(self) -> None:
        for _, buffer in self.guarded:
            if buffer is self.arena or any(buffer is b for b in self.held_copies()):
                self.device.allocator.release(buffer)

    def held_copies(self) -> list[Buffer]:
        return list(self.held[1].values()) if hasattr(self, "held") else []


def _strided_row(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """The row of an array the executor refuses, so that it says why."""
    from iree_hal.executor.structs import INDIRECT

    return id(array), array.nbytes | INDIRECT
