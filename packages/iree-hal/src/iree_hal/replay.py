"""The meaning of a recording in Python: parameters, waves and ranges as the native executor handles them.

Devices without native code (interpreting targets) run their command buffers with it; tests compare the
native executor against it. Fills and copies are done here, each dispatch is handed to a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from iree_hal.errors import BAD_ARGUMENTS, OUT_OF_RANGE, PROGRAM, HalError
from iree_hal.executable import Executable
from iree_hal.recording import Barrier, BindingRef, Copy, Dispatch, Fill, HostCall, Recording
from iree_hal.storage import Bytes

MAX_TILES = (1 << 32) - 1


class Invocation(NamedTuple):
    """One dispatch with its values: ``constants`` are u32, ``bindings`` byte arrays cut to their range."""

    command_index: int
    command: Dispatch
    counts: tuple[int, int, int]
    constants: tuple[int, ...]
    bindings: tuple[Bytes, ...]


def resolve(ref: BindingRef, table: Sequence[Bytes], values: Sequence[int], where: str) -> Bytes:
    """The bytes ``ref`` names. Raises HalError OUT_OF_RANGE."""
    row = table[ref.slot]
    offset, length = values[ref.offset], values[ref.length]
    if not (0 <= offset <= row.nbytes and 0 <= length <= row.nbytes - offset):
        raise HalError(
            OUT_OF_RANGE,
            f"{where}: bytes {offset} to {offset + length} of slot {ref.slot} with {row.nbytes} bytes",
        )
    return row[offset : offset + length]


def invocation(
    index: int, command: Dispatch, table: Sequence[Bytes], values: Sequence[int]
) -> Invocation | None:
    """The dispatch with its values, None when a count is 0. Raises HalError PROGRAM, OUT_OF_RANGE."""
    x, y, z = (values[slot] for slot in command.workgroups)
    if any(not 0 <= n <= MAX_TILES for n in (x, y, z)) or x * y * z > MAX_TILES:
        raise HalError(PROGRAM, f"command {index}: workgroup count ({x}, {y}, {z})")
    if x * y * z == 0:
        return None
    constants = tuple(
        (values[slot] >> (32 if half == "hi" else 0)) & 0xFFFFFFFF for slot, half in command.constants
    )
    bindings = tuple(
        resolve(ref, table, values, f"command {index}, binding {n}") for n, ref in enumerate(command.bindings)
    )
    return Invocation(index, command, (x, y, z), constants, bindings)


def written_slots(recording: Recording, executables: Sequence[Executable]) -> set[int]:
    """The slots of the binding table that a command may write."""
    result: set[int] = set()
    for command in recording.commands:
        if isinstance(command, Dispatch):
            export = executables[command.executable].exports[command.export]
            result |= {
                ref.slot
                for ref, access in zip(command.bindings, export.bindings, strict=True)
                if access != "read"
            }
        elif isinstance(command, Fill | Copy):
            result.add(command.target.slot)
    return result


def replay(
    recording: Recording,
    table: Sequence[Bytes],
    params: Sequence[int],
    dispatch: Callable[[Invocation], None],
    host_functions: Sequence[Callable[..., None]] = (),
) -> None:
    """Run ``recording`` over ``table`` (all rows, the arena first), commands in recorded order.

    Raises what :func:`invocation` raises, and BAD_ARGUMENTS for a table of another length.
    """
    if len(table) != recording.n_bindings or len(params) != recording.n_inputs:
        raise HalError(
            BAD_ARGUMENTS,
            f"{len(table)} rows and {len(params)} parameters, "
            f"expected {recording.n_bindings} and {recording.n_inputs}",
        )
    values = recording.evaluate(params)
    for index, command in enumerate(recording.commands):
        if isinstance(command, Dispatch):
            call = invocation(index, command, table, values)
            if call is not None:
                dispatch(call)
        elif isinstance(command, Fill):
            target = resolve(command.target, table, values, f"command {index}")
            for i, byte in enumerate(command.pattern):
                target[i :: len(command.pattern)] = byte
        elif isinstance(command, Copy):
            source = resolve(command.source, table, values, f"command {index}")
            target = resolve(command.target, table, values, f"command {index}")
            if source.nbytes != target.nbytes:
                raise HalError(OUT_OF_RANGE, f"command {index}: {source.nbytes} bytes to {target.nbytes}")
            if np.may_share_memory(source, target):
                raise HalError(OUT_OF_RANGE, f"command {index}: source and target of a copy overlap")
            target[:] = source
        elif isinstance(command, HostCall):
            host_functions[command.index](*(values[slot] for slot in command.arguments))
        else:
            assert isinstance(command, Barrier)
