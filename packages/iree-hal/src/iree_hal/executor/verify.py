"""Running with ``IREE_VERIFY=1``: lifetime and race bugs become errors that come every time.

Each run gets a fresh arena full of NaN patterns between guard zones; arrays are replaced by guarded copies
for the run (written back afterwards, or compared when the recording only reads them). Guards are looked at
after every wave, so the error names the commands of that wave. Tiles run in a shuffled order, the same one
each time. Commands that run together must not touch bytes one of them writes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from iree_hal.allocator import GUARD_VALUE, check_guards, guarded_buffer
from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer
from iree_hal.device import check_counts
from iree_hal.errors import ACCESS, HAZARD, HalError
from iree_hal.executor.frame import Frame
from iree_hal.executor.native import native
from iree_hal.executor.structs import DONE, ERROR, FLAG_SHUFFLE, FLAG_STEP, GROW, HOST_CALL
from iree_hal.recording import ARENA_SLOT, BindingRef, Copy, Dispatch, Fill

if TYPE_CHECKING:
    from iree_hal.builtin_drivers.local_device import LocalCommandBuffer, LocalDevice

SEED = 0x1EEE
COMPARED_BYTES = 64 << 20
"""Arrays that are only read are copied and compared up to this size."""


def execute_verified(
    device: LocalDevice,
    command_buffer: CommandBuffer,
    bindings: Sequence[Any],
    params: Sequence[int],
    frame: Frame | None = None,
) -> None:
    """:meth:`Device.execute` with every check, in ``frame`` (used for nothing else) or a new one.

    Raises HalError REDZONE, HAZARD, ACCESS besides its errors.
    """
    check_counts(command_buffer.recording, bindings, params)
    run = _Run(device, command_buffer, frame)  # type: ignore[arg-type]
    try:
        run.bind(bindings, params)
        run.check_hazards(bindings, params)
        run.drive()
    finally:
        run.close()


class _Range:
    """Bytes a command uses: an address range in the arena's or the process's address space."""

    __slots__ = ("command", "end", "in_arena", "start", "writes")

    def __init__(self, command: int, ref: BindingRef, access: str, base: int, values: Sequence[int]) -> None:
        self.command = command
        self.in_arena = ref.slot == ARENA_SLOT
        self.start = base + values[ref.offset]
        self.end = self.start + values[ref.length]
        self.writes = access != "read"

    def collides(self, other: _Range) -> bool:
        return (
            (self.writes or other.writes)
            and self.in_arena == other.in_arena
            and self.start < other.end
            and other.start < self.end
        )


class _Run:
    def __init__(self, device: LocalDevice, command_buffer: LocalCommandBuffer, frame: Frame | None) -> None:
        self.device = device
        self.command_buffer = command_buffer
        self.recording = command_buffer.recording
        self.frame = command_buffer.new_frame() if frame is None else frame
        self.frame.state.flags |= FLAG_STEP | FLAG_SHUFFLE
        self.frame.state.seed = SEED
        self.arena: Buffer | None = None
        self.guarded: list[tuple[str, Buffer]] = []
        self.results: list[tuple[Buffer, npt.NDArray[np.uint8]]] = []
        self.unchanged: list[tuple[int, Buffer, npt.NDArray[np.uint8]]] = []
        device.start_workers()

    def bind(self, bindings: Sequence[Any], params: Sequence[int]) -> None:
        """Fill the table, with guarded copies where that changes nothing else, and the parameter block."""
        written = self.command_buffer.plan.written
        copies: dict[int, Buffer] = {}
        held: list[Buffer] = []
        rows: list[int] = []
        # Arrays that share memory must go on doing so, and host functions must see what kernels wrote.
        arrays = [b for b in bindings if isinstance(b, np.ndarray)]
        shared = self.recording.n_host_calls > 0 or any(
            a is not b and np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[i + 1 :]
        )
        for slot, binding in enumerate(bindings, 1):
            if isinstance(binding, Buffer):
                self.guarded.append((f"binding slot {slot}", binding))
                rows += binding.row
                continue
            array = binding
            flat = isinstance(array, np.ndarray) and array.flags.c_contiguous
            allowed = flat and (array.flags.writeable or not written[slot])
            small = flat and (written[slot] or array.nbytes <= COMPARED_BYTES)
            if shared or not allowed or not small:
                rows += self.device.row(array, held)
                continue
            copied = copies.get(id(array))
            if copied is None:
                copied = copies[id(array)] = guarded_buffer(array.nbytes, array.ctypes.data % 64)
                data = array.reshape(-1).view(np.uint8)
                copied.array[:] = data
                self.guarded.append((f"binding slot {slot}", copied))
                if any(w and b is array for w, b in zip(written[1:], bindings, strict=True)):
                    self.results.append((copied, data))
                else:
                    self.unchanged.append((slot, copied, data))
            rows += copied.row
        frame = self.frame
        try:
            frame.pack(frame.view, frame.inputs_at, *rows, *params)
        except struct.error as error:
            raise self.device.explain(self.command_buffer, bindings, params, error) from None
        self.held = held

    def check_hazards(self, bindings: Sequence[Any], params: Sequence[int]) -> None:
        """Raises HalError HAZARD when two bindings of a wave overlap and one of them is written."""
        values = self.recording.evaluate(params)
        bases = [0, *(b.address if isinstance(b, Buffer) else np.asarray(b).ctypes.data for b in bindings)]
        for wave in self.recording.waves():
            ranges: list[_Range] = []
            for index in wave:
                for ref, access in self._uses(index, values):
                    one = _Range(index, ref, access, bases[ref.slot], values)
                    for other in ranges:
                        if one.collides(other):
                            raise HalError(
                                HAZARD,
                                f"commands {other.command} and {index} in slot {ref.slot}, "
                                f"{min(one.end, other.end) - max(one.start, other.start)} bytes",
                                hint="report the model; its schedule or memory plan is wrong",
                            )
                    ranges.append(one)

    def _uses(self, index: int, values: Sequence[int]) -> list[tuple[BindingRef, str]]:
        command = self.recording.commands[index]
        if isinstance(command, Dispatch):
            if any(values[slot] == 0 for slot in command.workgroups):
                return []
            export = self.command_buffer.executables[command.executable].exports[command.export]
            return list(zip(command.bindings, export.bindings, strict=True))
        if isinstance(command, Fill):
            return [(command.target, "write")]
        if isinstance(command, Copy):
            return [(command.source, "read"), (command.target, "write")]
        return []

    def drive(self) -> None:
        """Run wave by wave, looking at the guards after each; write results back."""
        frame = self.frame
        status = -1
        while status != DONE:
            status = native().run(frame.pointer)
            if status == ERROR:
                raise frame.error()
            if status == GROW:
                self._grow()
                continue
            if status == HOST_CALL:
                self.device.call_host(self.command_buffer, frame)
            self._check_guards(int(frame.state.wave))
        for slot, copied, data in self.unchanged:
            if not np.array_equal(copied.array, data):
                raise HalError(ACCESS, f"a kernel wrote to binding slot {slot}, which it only reads")
        for copied, data in self.results:
            data[:] = copied.array

    def _grow(self) -> None:
        from iree_hal.builtin_drivers.local_device import arena_bytes

        self.arena = self.device.allocator.allocate(arena_bytes(self.command_buffer, self.frame))
        self.guarded.append(("the arena", self.arena))
        self.frame.set_arena(self.arena)

    def _check_guards(self, wave: int) -> None:
        """Raises HalError REDZONE naming the commands of the wave before ``wave``."""
        for what, buffer in self.guarded:
            try:
                check_guards(buffer, what)
            except HalError as error:
                names = self.command_buffer.plan.names
                waves = self.frame.plan.waves
                last = waves[max(0, min(wave, len(waves)) - 1)] if waves else []
                error.source = ", ".join(f"command {i} ({names.get(i, 'host call')})" for i in last)
                # Said once: the memory is used again.
                for zone in buffer.guards or ():
                    zone[:] = GUARD_VALUE
                raise

    def close(self) -> None:
        """Give the arena back once no thread looks at it."""
        self.frame.abandon()
        if self.arena is not None:
            self.device.allocator.release(self.arena)
