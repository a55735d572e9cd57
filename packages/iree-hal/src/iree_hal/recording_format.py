"""The binary form of recordings: a header and six tables, little endian, version ``FORMAT_VERSION``.

header, definitions (16 bytes each), commands (48), constant references (4), binding references (12),
outputs (12), names. The header holds the row counts, so the exact size is known before any row is read.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from iree_hal import param_ops
from iree_hal.errors import BAD_RECORDING, HalError
from iree_hal.recording import (
    Barrier,
    BindingRef,
    Command,
    Copy,
    Definition,
    Dispatch,
    Fill,
    HostCall,
    Recording,
)

MAGIC = b"IREEREC\0"
FORMAT_VERSION = (1, 0)

_HEADER = struct.Struct("<8sHHIII6I")
_DEFINITION = struct.Struct("<IIII")
_COMMAND = struct.Struct("<IIIIIIIIIII4s")
_CONSTANT = struct.Struct("<I")
_REF = struct.Struct("<III")
_OUTPUT = struct.Struct("<III")

_DISPATCH, _FILL, _COPY, _HOST_CALL, _BARRIER = 1, 2, 3, 4, 5


def serialize(recording: Recording) -> bytes:
    """The bytes of ``recording``."""
    definitions = [
        _DEFINITION.pack(param_ops.CONST, d.value & 0xFFFFFFFF, (d.value >> 32) & 0xFFFFFFFF, 0)
        if d.op == "const"
        else _DEFINITION.pack(param_ops.PARAM_OPS[d.op].code, d.a, d.b, 0)
        for d in recording.definitions
    ]
    commands: list[bytes] = []
    constants: list[int] = []
    refs: list[BindingRef] = []
    for command in recording.commands:
        first = (len(constants), len(refs))
        head = (0, 0, 0, 0, 0)
        pattern, pattern_bytes = b"", 0
        if isinstance(command, Dispatch):
            kind = _DISPATCH
            head = (command.executable, command.export, *command.workgroups)
            constants += [slot << 1 | (half == "hi") for slot, half in command.constants]
            refs += command.bindings
        elif isinstance(command, Fill):
            kind, pattern, pattern_bytes = _FILL, command.pattern, len(command.pattern)
            refs.append(command.target)
        elif isinstance(command, Copy):
            kind = _COPY
            refs += [command.source, command.target]
        elif isinstance(command, HostCall):
            kind, head = _HOST_CALL, (command.index, 0, 0, 0, 0)
            constants += [slot << 1 for slot in command.arguments]
        else:
            kind = _BARRIER
        commands.append(
            _COMMAND.pack(
                kind,
                *head,
                first[0],
                len(constants) - first[0],
                first[1],
                len(refs) - first[1],
                pattern_bytes,
                pattern.ljust(4, b"\0"),
            )
        )
    names = bytearray()
    outputs: list[bytes] = []
    for name, slot in recording.outputs.items():
        text = name.encode()
        outputs.append(_OUTPUT.pack(len(names), len(text), slot))
        names += text
    header = _HEADER.pack(
        MAGIC,
        *FORMAT_VERSION,
        _HEADER.size,
        recording.n_bindings,
        recording.n_inputs,
        len(definitions),
        len(commands),
        len(constants),
        len(refs),
        len(outputs),
        len(names),
    )
    return b"".join(
        [
            header,
            *definitions,
            *commands,
            *(_CONSTANT.pack(c) for c in constants),
            *(_REF.pack(r.slot, r.offset, r.length) for r in refs),
            *outputs,
            names,
        ]
    )


def _fail(text: str) -> NoReturn:
    raise HalError(BAD_RECORDING, text, hint="compile the model again")


def deserialize(buffer: bytes | bytearray | memoryview) -> Recording:
    """The recording in ``buffer``, every row checked. Raises HalError BAD_RECORDING."""
    data = bytes(buffer)
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        _fail("not a recording")
    _, major, minor, header_bytes, n_bindings, n_inputs, *counts = _HEADER.unpack_from(data)
    if major != FORMAT_VERSION[0] or minor > FORMAT_VERSION[1]:
        raise HalError(
            BAD_RECORDING,
            f"format version {major}.{minor}",
            cause=f"this runtime reads {FORMAT_VERSION[0]}.0 to {FORMAT_VERSION[0]}.{FORMAT_VERSION[1]}",
            hint="install a matching iree-hal, or compile the model again",
        )
    sizes = (_DEFINITION.size, _COMMAND.size, _CONSTANT.size, _REF.size, _OUTPUT.size, 1)
    total = _HEADER.size + sum(n * size for n, size in zip(counts, sizes, strict=True))
    if header_bytes != _HEADER.size or total != len(data):
        _fail(f"{len(data)} bytes, its header says {total}")
    ends: list[int] = []
    position = _HEADER.size
    for n, size in zip(counts, sizes, strict=True):
        ends.append(position)
        position += n * size

    def rows(table: int, form: struct.Struct) -> list[tuple[int, ...]]:
        start = ends[table]
        return list(form.iter_unpack(data[start : start + counts[table] * form.size]))

    definitions = tuple(_definition(row) for row in rows(0, _DEFINITION))
    constants = [row[0] for row in rows(2, _CONSTANT)]
    refs = [BindingRef(*row) for row in rows(3, _REF)]
    reader = _CommandReader(constants, refs)
    commands = tuple(reader.read(index, row) for index, row in enumerate(rows(1, _COMMAND)))
    if reader.constants_read != len(constants) or reader.refs_read != len(refs):
        _fail("rows that no command uses")
    names = data[ends[5] :]
    outputs: dict[str, int] = {}
    for start, length, slot in rows(4, _OUTPUT):
        if start + length > len(names):
            _fail("an output name outside of the name table")
        try:
            name = names[start : start + length].decode()
        except UnicodeDecodeError:
            _fail("an output name is not UTF-8")
        if name in outputs:
            _fail(f"output '{name}' twice")
        outputs[name] = slot
    recording = Recording(n_bindings, n_inputs, definitions, commands, outputs)
    recording.validate()
    return recording


def _definition(row: tuple[int, ...]) -> Definition:
    code, a, b, reserved = row
    if reserved:
        _fail("a reserved field is not zero")
    if code == param_ops.CONST:
        return Definition("const", value=param_ops.wrap(b << 32 | a))
    op = param_ops.BY_CODE.get(code)
    if op is None:
        _fail(f"unknown parameter operation {code}")
    return Definition(op.name, a, b)


class _CommandReader:
    """Reads command rows; they must use the constant and binding rows in order, each once."""

    def __init__(self, constants: list[int], refs: list[BindingRef]) -> None:
        self._constants = constants
        self._refs = refs
        self.constants_read = 0
        self.refs_read = 0

    def read(self, index: int, row: tuple[int, ...]) -> Command:
        kind, executable, export, x, y, z, first_constant, n_constants, first_ref, n_refs, length, raw = row
        pattern = bytes(raw)
        if (
            first_constant != self.constants_read
            or first_constant + n_constants > len(self._constants)
            or first_ref != self.refs_read
            or first_ref + n_refs > len(self._refs)
        ):
            _fail(f"command {index} reaches outside of its tables")
        constants = self._constants[first_constant : first_constant + n_constants]
        refs = self._refs[first_ref : first_ref + n_refs]
        self.constants_read += n_constants
        self.refs_read += n_refs
        if kind != _FILL and (length or any(pattern)):
            _fail(f"command {index} has a pattern but is no fill")
        if kind == _DISPATCH:
            halves = tuple((c >> 1, "hi" if c & 1 else "lo") for c in constants)
            return Dispatch(executable, export, (x, y, z), halves, tuple(refs))
        if (export, x, y, z) != (0, 0, 0, 0) or (kind != _HOST_CALL and (executable or constants)):
            _fail(f"command {index} has fields its kind does not use")
        if kind == _FILL and n_refs == 1 and length in (1, 2, 4) and not any(pattern[length:]):
            return Fill(refs[0], pattern[:length])
        if kind == _COPY and n_refs == 2:
            return Copy(refs[0], refs[1])
        if kind == _HOST_CALL and n_refs == 0 and not any(c & 1 for c in constants):
            return HostCall(executable, tuple(c >> 1 for c in constants))
        if kind == _BARRIER and n_refs == 0:
            return Barrier()
        _fail(f"command {index} is of kind {kind} with {n_refs} bindings")
