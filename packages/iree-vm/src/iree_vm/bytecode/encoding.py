"""Program <-> bytes.

The file: a 40-byte header (magic, format version, total length, blake2b-128 of all that follows), the
tables (name, imports, globals, functions, exports, rodata entries), then the aligned rodata. All integers
are little-endian. How an operand is written follows from its kind in the op table (``_KINDS``). Decoding
trusts no length: whatever the bytes, the outcome is a ``Program`` or a coded error, and memory stays
proportional to the input. Types, targets and uses are the verifier's business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from iree_base.blake2 import blake2b
from iree_vm.bytecode.ops import BY_OPCODE
from iree_vm.bytecode.program import (
    Block,
    Export,
    Function,
    Global,
    Import,
    Instruction,
    Program,
    Rodata,
    Successor,
)
from iree_vm.bytecode.types import BANK, TYPES, Register, Signature, parse_signature
from iree_vm.errors import VmError

MAGIC = b"IREEVMBC"
VERSION = (1, 0)
_HEADER = struct.Struct("<8sHHIQ16s")
_REGISTER = struct.Struct("<BH")
_MAX_ALIGNMENT = 1 << 16


class Writer:
    """Appends little-endian fields."""

    def __init__(self) -> None:
        self.data = bytearray()

    def pack(self, format_: str, *values: Any) -> None:
        self.data += struct.pack("<" + format_, *values)

    def text(self, value: str) -> None:
        raw = value.encode()
        self.pack("I", len(raw))
        self.data += raw


class Reader:
    """Takes little-endian fields; running out of bytes is VmError 1."""

    def __init__(self, data: memoryview, position: int = 0) -> None:
        self.data = data
        self.position = position

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self.data):
            raise VmError(
                1, f"{count} bytes wanted at {self.position}, {len(self.data) - self.position} left"
            )
        part = self.data[self.position : end]
        self.position = end
        return part

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size))

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def count(self, least: int) -> int:
        """A u32 count of items of at least ``least`` bytes each."""
        count = self.u32()
        if count * least > len(self.data) - self.position:
            raise VmError(1, f"count {count} at {self.position - 4} exceeds the file")
        return count

    def flag(self) -> bool:
        value = self.u8()
        if value > 1:
            raise VmError(1, f"flag {value} at {self.position - 1}")
        return value == 1

    def text(self) -> str:
        start = self.position
        try:
            return str(self.take(self.u32()), "utf-8")
        except UnicodeDecodeError:
            raise VmError(1, f"text at {start} is not UTF-8") from None


def _write_register(out: Writer, register: Register) -> None:
    out.data += _REGISTER.pack(*register)


def _read_register(source: Reader) -> Register:
    bank, index = source.unpack(_REGISTER)
    if bank >= len(TYPES):
        raise VmError(1, f"register bank {bank} at {source.position - 3}")
    return Register(bank, index)


def _write_registers(out: Writer, registers: tuple[Register, ...]) -> None:
    out.pack("I", len(registers))
    for register in registers:
        _write_register(out, register)


def _read_registers(source: Reader) -> tuple[Register, ...]:
    return tuple(_read_register(source) for _ in range(source.count(_REGISTER.size)))


def _write_successor(out: Writer, successor: Successor) -> None:
    out.pack("I", successor.block)
    _write_registers(out, successor.arguments)


def _read_successor(source: Reader) -> Successor:
    return Successor(source.u32(), _read_registers(source))


def _write_successors(out: Writer, successors: tuple[Successor, ...]) -> None:
    out.pack("I", len(successors))
    for successor in successors:
        _write_successor(out, successor)


def _read_successors(source: Reader) -> tuple[Successor, ...]:
    return tuple(_read_successor(source) for _ in range(source.count(8)))


def _write_segments(out: Writer, segments: tuple[int, ...]) -> None:
    out.pack(f"I{len(segments)}I", len(segments), *segments)


def _read_segments(source: Reader) -> tuple[int, ...]:
    return tuple(source.u32() for _ in range(source.count(4)))


def _write_index(out: Writer, index: int) -> None:
    out.pack("I", index)


def _scalar(code: str) -> tuple[Callable[[Writer, Any], None], Callable[[Reader], Any]]:
    layout = struct.Struct("<" + code)

    def write(out: Writer, value: Any) -> None:
        out.data += layout.pack(value)

    def read(source: Reader) -> Any:
        return source.unpack(layout)[0]

    return write, read


_SCALARS = {"i32": _scalar("i"), "i64": _scalar("q"), "f32": _scalar("f"), "f64": _scalar("d")}
_KINDS: dict[str, tuple[Callable[[Writer, Any], None], Callable[[Reader], Any]]] = {
    **dict.fromkeys(TYPES, (_write_register, _read_register)),
    "*": (_write_registers, _read_registers),
    **{f"#{name}": pair for name, pair in _SCALARS.items()},
    "#text": (Writer.text, Reader.text),
    "rodata": (_write_index, Reader.u32),
    **dict.fromkeys((f"global.{name}" for name in TYPES), (_write_index, Reader.u32)),
    "callee": (_write_index, Reader.u32),
    "segments": (_write_segments, _read_segments),
    "^": (_write_successor, _read_successor),
    "^*": (_write_successors, _read_successors),
}
"""Operand kind -> (write, read)."""


def _write_function(out: Writer, function: Function) -> None:
    out.text(function.name)
    out.text(str(function.signature))
    out.pack("I", len(function.blocks))
    for block in function.blocks:
        _write_registers(out, block.params)
        out.pack("I", len(block.instructions))
        for op, operands in block.instructions:
            out.pack("H", op.opcode)
            for operand, value in zip(op.operands, operands, strict=True):
                _KINDS[operand.kind][0](out, value)


def _read_function(source: Reader) -> Function:
    function = Function(source.text(), _read_signature(source))
    for _ in range(source.count(8)):
        block = Block(_read_registers(source))
        for _ in range(source.count(2)):
            opcode = source.u16()
            op = BY_OPCODE.get(opcode)
            if op is None:
                raise VmError(1, f"opcode {opcode:#x} at {source.position - 2} in @{function.name}")
            operands = tuple(_KINDS[operand.kind][1](source) for operand in op.operands)
            block.instructions.append(Instruction(op, operands))
        function.blocks.append(block)
    return function


def _read_signature(source: Reader) -> Signature:
    text = source.text()
    try:
        signature = parse_signature(text)
    except VmError as error:
        raise VmError(1, error.detail) from None
    if str(signature) != text:
        raise VmError(1, f"signature '{text}' is not in its normal form")
    return signature


def encode(program: Program) -> bytes:
    """The bytes of a program; equal programs give equal bytes."""
    out = Writer()
    out.text(program.name)
    out.pack("I", program.version)
    out.pack("I", len(program.imports))
    for entry in program.imports:
        out.text(entry.name)
        out.text(str(entry.signature))
        out.pack("IB", entry.version, entry.optional)
    out.pack("I", len(program.globals))
    for variable in program.globals:
        out.text(variable.name)
        out.pack("BB", BANK[variable.type], variable.mutable)
        if variable.type != "ref":
            _SCALARS[variable.type][0](out, variable.initial or 0)
    out.pack("I", len(program.functions))
    for function in program.functions:
        _write_function(out, function)
    out.pack("I", len(program.exports))
    for export in program.exports:
        out.text(export.name)
        out.pack("I", export.function)
    out.pack("I", len(program.rodata))
    for rodata in program.rodata:
        out.text(rodata.name)
        out.pack("IQ", rodata.alignment, len(rodata.data))
    for rodata in program.rodata:
        out.data += b"\0" * (-(_HEADER.size + len(out.data)) % rodata.alignment)
        out.data += rodata.data
    digest = blake2b(out.data, digest_size=16).digest()
    return _HEADER.pack(MAGIC, *VERSION, 0, _HEADER.size + len(out.data), digest) + bytes(out.data)


def reseal(data: bytes | bytearray) -> bytes:
    """The same file with length and digest made right again (for tests that damage what is inside)."""
    head = list(_HEADER.unpack_from(data))
    head[4], head[5] = len(data), blake2b(data[_HEADER.size :], digest_size=16).digest()
    return _HEADER.pack(*head) + bytes(data[_HEADER.size :])


def _check_header(view: memoryview) -> None:
    if len(view) < _HEADER.size:
        raise VmError(1, f"{len(view)} bytes are too few for a header")
    magic, major, minor, reserved, length, digest = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise VmError(1, "the file does not begin with the bytecode's magic")
    if major != VERSION[0] or minor > VERSION[1]:
        raise VmError(
            2,
            f"file {major}.{minor}, this runtime reads {VERSION[0]}.{VERSION[1]}",
            hint="compile the model again",
        )
    if reserved != 0 or length != len(view):
        raise VmError(1, f"the header says {length} bytes, there are {len(view)}")
    if blake2b(view[_HEADER.size :], digest_size=16).digest() != digest:
        raise VmError(1, "digest mismatch: the bytes were damaged")


def decode(data: bytes | memoryview) -> Program:
    """The program in ``data`` (rodata stays a view of it). Raises VmError 1 or 2; verify before use."""
    view = memoryview(data).cast("B").toreadonly()
    _check_header(view)
    source = Reader(view, _HEADER.size)
    program = Program(source.text(), source.u32())
    for _ in range(source.count(13)):
        name, signature = source.text(), _read_signature(source)
        program.imports.append(Import(name, signature, source.u32(), source.flag()))
    for _ in range(source.count(6)):
        name, bank, mutable = source.text(), source.u8(), source.flag()
        if bank >= len(TYPES):
            raise VmError(1, f"type {bank} of global @{name}")
        type_name = TYPES[bank]
        initial = None if type_name == "ref" else _SCALARS[type_name][1](source)
        program.globals.append(Global(name, type_name, mutable, initial))
    program.functions = [_read_function(source) for _ in range(source.count(12))]
    for _ in range(source.count(8)):
        program.exports.append(Export(source.text(), source.u32()))
    entries = [(source.text(), source.u32(), source.u64()) for _ in range(source.count(16))]
    for name, alignment, length in entries:
        if not 1 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise VmError(1, f"alignment {alignment} of rodata @{name}")
        if any(source.take(-source.position % alignment)):
            raise VmError(1, f"padding before rodata @{name} is not zero")
        program.rodata.append(Rodata(name, source.take(length), alignment))
    if source.position != len(view):
        raise VmError(1, f"{len(view) - source.position} bytes too many at the end")
    return program
