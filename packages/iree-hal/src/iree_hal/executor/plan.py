"""A recording joined with the executables it names -> the native plan: tables with resolved addresses.

A plan is immutable (but for the cost hints the executor keeps per wave) and shared by all frames of a
command buffer; it holds the executables, so their code stays mapped.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_hal import abi
from iree_hal.errors import EXECUTABLE_MISMATCH, HalError
from iree_hal.executable import ExportSpec, NativeExecutable
from iree_hal.executor import structs
from iree_hal.param_ops import PARAM_OPS
from iree_hal.recording import ARENA_BYTES, BindingRef, Copy, Dispatch, Fill, HostCall, Recording
from iree_hal.storage import Bytes, aligned_bytes

_STEP = struct.Struct("<4I")
_WAVE = struct.Struct("<4I")
_COMMAND = struct.Struct("<Q10IQ")
_REF = struct.Struct("<4I")
_DISPATCH = struct.Struct("<6I4Q")
_PLAN = struct.Struct("<4I6Q")
assert _COMMAND.size == structs.COMMAND.size and _PLAN.size == structs.PLAN.size
assert _DISPATCH.size == abi.DISPATCH.size

MAX_ALIGNMENT = 1 << 31


def match_export(dispatch: Dispatch, executables: Sequence[object], where: str) -> ExportSpec:
    """The export a dispatch names, its numbers compared. Raises HalError EXECUTABLE_MISMATCH."""
    if dispatch.executable >= len(executables):
        raise HalError(
            EXECUTABLE_MISMATCH, f"{where} names executable {dispatch.executable} of {len(executables)}"
        )
    exports: tuple[ExportSpec, ...] = executables[dispatch.executable].exports  # type: ignore[attr-defined]
    if dispatch.export >= len(exports):
        raise HalError(EXECUTABLE_MISMATCH, f"{where} names export {dispatch.export} of {len(exports)}")
    export = exports[dispatch.export]
    if len(dispatch.constants) != export.n_constants or len(dispatch.bindings) != len(export.bindings):
        raise HalError(
            EXECUTABLE_MISMATCH,
            f"{where} gives '{export.name}' {len(dispatch.constants)} constants and "
            f"{len(dispatch.bindings)} bindings",
            cause=f"it has {export.n_constants} and {len(export.bindings)}",
        )
    return export


class Plan:
    """``address`` is the native Plan. ``serial``: every command is a wave of its own, so that each can be
    timed. Raises HalError EXECUTABLE_MISMATCH.
    """

    def __init__(
        self, recording: Recording, executables: Sequence[NativeExecutable], *, serial: bool = False
    ) -> None:
        self.recording = recording
        waves = recording.waves()
        self.waves = [[index] for wave in waves for index in wave] if serial else waves
        """Indices of the commands that may run at the same time."""
        self.executables = tuple(executables)
        self.scratch_bytes = 0
        self.names: dict[int, str] = {}
        """Command index -> export name, for errors."""
        self.written = [0] * recording.n_bindings
        self._constants: list[int] = []
        self._refs: list[bytes] = []
        self._commands: list[bytes] = []
        self._dispatches = bytearray()
        self._pointers: list[tuple[int, int]] = []
        self._waves: list[bytes] = []
        self.max_wave = 0
        for wave in self.waves:
            self._add_wave(wave)
        self.params = np.zeros(recording.n_params, np.int64)
        steps: list[bytes] = []
        for i, d in enumerate(recording.definitions):
            slot = recording.n_inputs + i
            if d.op == "const":
                self.params[slot] = d.value
            else:
                steps.append(_STEP.pack(PARAM_OPS[d.op].code, d.a, d.b, slot))
        self._assemble(steps)

    def _add_wave(self, wave: list[int]) -> None:
        commands = self.recording.commands
        if isinstance(commands[wave[0]], HostCall):
            self._waves.append(_WAVE.pack(wave[0], 1, structs.WAVE_HOST_CALL, 0))
            return
        self._waves.append(_WAVE.pack(len(self._commands), len(wave), structs.WAVE_COMPUTE, 0))
        self.max_wave = max(self.max_wave, len(wave))
        for index in wave:
            command = commands[index]
            if isinstance(command, Dispatch):
                self._add_dispatch(index, command)
            elif isinstance(command, Fill):
                self.names[index] = "fill"
                pattern = (command.pattern * 4)[:4]
                self._add(
                    index, structs.KIND_FILL, 0, (0, 0, 0), (), (command.target,), ("write",), (1,), pattern
                )
            elif isinstance(command, Copy):
                self.names[index] = "copy"
                refs = (command.source, command.target)
                self._add(index, structs.KIND_COPY, 0, (0, 0, 0), (), refs, ("read", "write"), (1, 1))

    def _add_dispatch(self, index: int, command: Dispatch) -> None:
        export = match_export(command, self.executables, f"command {index}")
        self.names[index] = export.name
        self.scratch_bytes = max(self.scratch_bytes, -(-export.scratch_bytes // 64) * 64)
        address = self.executables[command.executable].addresses[command.export]
        self._add(
            index,
            structs.KIND_DISPATCH,
            address,
            command.workgroups,
            command.constants,
            command.bindings,
            export.bindings,
            export.alignments,
        )

    def _add(
        self,
        index: int,
        kind: int,
        function: int,
        workgroups: tuple[int, int, int],
        constants: Sequence[tuple[int, str]],
        refs: Sequence[BindingRef],
        access: Sequence[str],
        alignments: Sequence[int],
        pattern: bytes = b"\0\0\0\0",
    ) -> None:
        first_constant, first_ref = len(self._constants), len(self._refs)
        self._constants += [slot << 1 | (half == "hi") for slot, half in constants]
        for ref, how, alignment in zip(refs, access, alignments, strict=True):
            self._refs.append(_REF.pack(ref.slot, ref.offset, ref.length, alignment - 1))
            if how != "read":
                self.written[ref.slot] = 1
        at = len(self._dispatches)
        self._commands.append(
            _COMMAND.pack(
                function,
                kind,
                index,
                *workgroups,
                len(constants),
                len(refs),
                first_constant,
                first_ref,
                int.from_bytes(pattern, "little"),
                at,
            )
        )
        # The Dispatch struct, followed by its own constants, bindings and lengths.
        constants_at = at + _DISPATCH.size
        bindings_at = constants_at + -(-4 * len(constants) // 8) * 8
        lengths_at = bindings_at + 8 * len(refs)
        end = -(-(lengths_at + 8 * len(refs)) // 16) * 16
        self._dispatches += _DISPATCH.pack(abi.ABI_VERSION, 0, 0, 0, len(constants), len(refs), 0, 0, 0, 0)
        self._dispatches += bytes(end - constants_at)
        self._pointers += [
            (at + abi.DISPATCH.offset("constants"), constants_at),
            (at + abi.DISPATCH.offset("bindings"), bindings_at),
            (at + abi.DISPATCH.offset("lengths"), lengths_at),
        ]

    def _assemble(self, steps: list[bytes]) -> None:
        recording = self.recording
        parts = [
            b"".join(steps),
            b"".join(self._waves),
            b"".join(self._commands),
            struct.pack(f"<{len(self._constants)}I", *self._constants),
            b"".join(self._refs),
            struct.pack(f"<{len(self.written)}I", *self.written),
        ]
        offsets: list[int] = []
        position = _PLAN.size
        for part in parts:
            position = -(-position // 64) * 64
            offsets.append(position)
            position += len(part)
        self._memory = aligned_bytes(position)
        self.address = int(self._memory.ctypes.data)
        arena = recording.outputs.get(ARENA_BYTES, structs.NO_PARAM)
        head = _PLAN.pack(
            len(steps), len(self._waves), recording.n_bindings, arena, *(self.address + o for o in offsets)
        )
        self._memory[: len(head)] = np.frombuffer(head, np.uint8)
        for part, offset in zip(parts, offsets, strict=True):
            self._memory[offset : offset + len(part)] = np.frombuffer(part, np.uint8)
        self.dispatches: Bytes = np.frombuffer(bytes(self._dispatches), np.uint8)
        self.pointers: Any = np.array(self._pointers, np.int64).reshape(-1, 2)
        del self._dispatches, self._pointers, self._constants, self._refs, self._commands, self._waves
