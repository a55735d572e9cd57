"""An ELF64 little-endian ET_REL file -> :class:`ElfObject`, every offset and index checked.

After :func:`parse` returns, each section's bytes lie inside the file, each symbol's and relocation's
section exists, and each relocation lies inside the allocated section it patches. Anything else is
HalError BAD_OBJECT that names the first wrong thing.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from iree_base.records import record
from iree_hal.errors import BAD_OBJECT, HalError

EM_X86_64, EM_AARCH64, EM_RISCV = 62, 183, 243
MACHINES: dict[int, str] = {EM_X86_64: "x86_64", EM_AARCH64: "aarch64", EM_RISCV: "riscv64"}

SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 2, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXEC, SHF_TLS = 1, 2, 4, 0x400
SHN_UNDEF, SHN_ABS = 0, 0xFFF1
_SHN_LORESERVE = 0xFF00
_STT_TLS, _STT_IFUNC = 6, 10

MAX_ALIGN = 1 << 16
MAX_LOADED_BYTES = 1 << 31
"""Everything loaded lies within reach of a 32-bit displacement."""

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")


@record(frozen=True, slots=True)
class Section:
    """A section header; ``data`` is empty for sections without bytes in the file."""

    name: str
    type: int
    flags: int
    size: int
    align: int
    data: memoryview

    @property
    def is_loaded(self) -> bool:
        return bool(self.flags & SHF_ALLOC) and self.size > 0


@record(frozen=True, slots=True)
class Symbol:
    """A symbol; ``section`` is a section index, SHN_UNDEF or SHN_ABS."""

    name: str
    section: int
    value: int
    is_global: bool
    is_weak: bool


@record(frozen=True, slots=True)
class Relocation:
    """Patch ``section`` at ``offset`` with ``symbol`` + ``addend`` in the way ``type`` says."""

    section: int
    offset: int
    type: int
    symbol: int
    addend: int


@record(frozen=True, slots=True)
class ElfObject:
    """A checked object file; ``machine`` is x86_64, aarch64 or riscv64."""

    machine: str
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]

    def undefined(self) -> tuple[str, ...]:
        """Names of the symbols that relocations need from outside, in file order."""
        used = {r.symbol for r in self.relocations}
        names = [s.name for i, s in enumerate(self.symbols) if i in used and s.section == SHN_UNDEF]
        return tuple(dict.fromkeys(names))


def _fail(text: str) -> NoReturn:
    raise HalError(BAD_OBJECT, text, hint="compile the model again")


def parse(data: bytes | bytearray | memoryview) -> ElfObject:
    """The object in ``data``; section data are views of it. Raises HalError BAD_OBJECT."""
    view = memoryview(data).cast("B").toreadonly()
    return _Parser(view).run()


class _Parser:
    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.headers: list[tuple[int, ...]] = []

    def run(self) -> ElfObject:
        view = self.view
        if len(view) < _EHDR.size:
            _fail(f"{len(view)} bytes are too few for an ELF header")
        ident, kind, machine, version, _, _, offset, _, _, _, _, entry_size, count, names = _EHDR.unpack_from(
            view
        )
        if ident[:7] != b"\x7fELF\x02\x01\x01" or version != 1:
            _fail("not a 64-bit little-endian ELF file")
        if kind != 1:
            _fail(f"ELF type {kind} is not a relocatable object")
        if machine not in MACHINES:
            _fail(f"machine {machine}; known are {', '.join(MACHINES.values())}")
        if entry_size != _SHDR.size or count == 0 or offset + count * _SHDR.size > len(view):
            _fail("the section table lies outside of the file")
        self.headers = [_SHDR.unpack_from(view, offset + i * _SHDR.size) for i in range(count)]
        if names >= count:
            _fail("the section name table does not exist")
        name_table = self.strings(names)
        sections = tuple(self.section(i, name_table) for i in range(count))
        if sum(s.size + s.align for s in sections if s.is_loaded) > MAX_LOADED_BYTES:
            _fail("its sections do not fit into 2 GiB")
        symbols, table = self.symbols(sections)
        relocations = self.relocations(sections, len(symbols), table)
        return ElfObject(MACHINES[machine], sections, symbols, relocations)

    def bytes_of(self, index: int) -> memoryview:
        if not 0 <= index < len(self.headers):
            _fail(f"section {index} does not exist")
        _, kind, _, _, offset, size, *_ = self.headers[index]
        if kind in (0, SHT_NOBITS):
            return self.view[:0]
        if offset > len(self.view) or size > len(self.view) - offset:
            _fail(f"section {index} lies outside of the file")
        return self.view[offset : offset + size]

    def strings(self, index: int) -> bytes:
        table = bytes(self.bytes_of(index))
        if not table.endswith(b"\0"):
            _fail(f"string table {index} is not terminated")
        return table

    def string(self, table: bytes, offset: int) -> str:
        if offset >= len(table):
            _fail("a name lies outside of its string table")
        try:
            return table[offset : table.index(b"\0", offset)].decode()
        except UnicodeDecodeError:
            _fail("a name is not UTF-8")

    def section(self, index: int, name_table: bytes) -> Section:
        name, kind, flags, _, _, size, _, _, align, _ = self.headers[index]
        align = max(1, align)
        if align & (align - 1) or align > MAX_ALIGN:
            _fail(f"section {index} has alignment {align}")
        data = self.bytes_of(index)
        if flags & SHF_ALLOC:
            if kind != SHT_NOBITS and len(data) != size:
                _fail(f"section {index} has no contents")
            if flags & SHF_TLS:
                _fail(f"section {index} holds thread-local storage")
            if flags & SHF_WRITE and flags & SHF_EXEC:
                _fail(f"section {index} is writable and executable")
            if size > MAX_LOADED_BYTES:
                _fail(f"section {index} has {size} bytes")
        return Section(self.string(name_table, name), kind, flags, size, align, data)

    def symbols(self, sections: tuple[Section, ...]) -> tuple[tuple[Symbol, ...], int]:
        tables = [i for i, s in enumerate(sections) if s.type == SHT_SYMTAB]
        if len(tables) > 1:
            _fail("more than one symbol table")
        if not tables:
            return (), -1
        index = tables[0]
        data = sections[index].data
        if len(data) % _SYM.size:
            _fail("the symbol table has a fraction of an entry")
        link = self.headers[index][6]
        names = self.strings(link)
        symbols: list[Symbol] = []
        for name, info, _, section, value, _ in _SYM.iter_unpack(data):
            kind, binding = info & 15, info >> 4
            text = self.string(names, name)
            if kind in (_STT_TLS, _STT_IFUNC):
                _fail(f"symbol '{text}' is of kind {kind}")
            if section >= _SHN_LORESERVE and section != SHN_ABS:
                _fail(f"symbol '{text}' is in reserved section {section:#x}")
            if SHN_UNDEF < section < _SHN_LORESERVE:
                if section >= len(sections):
                    _fail(f"symbol '{text}' is in section {section} of {len(sections)}")
                if value > sections[section].size:
                    _fail(f"symbol '{text}' lies outside of its section")
            symbols.append(Symbol(text, section, value, binding != 0, binding == 2))
        return tuple(symbols), index

    def relocations(
        self, sections: tuple[Section, ...], n_symbols: int, table: int
    ) -> tuple[Relocation, ...]:
        result: list[Relocation] = []
        for index, section in enumerate(sections):
            if section.type not in (SHT_RELA, SHT_REL):
                continue
            link, target = self.headers[index][6], self.headers[index][7]
            if target >= len(sections):
                _fail(f"relocations {index} patch section {target} of {len(sections)}")
            if not sections[target].is_loaded:
                continue
            if section.type == SHT_REL or len(section.data) % _RELA.size or link != table:
                _fail(f"relocations {index} are not a table of entries with addend for the symbol table")
            if sections[target].type == SHT_NOBITS:
                _fail(f"relocations {index} patch a section without bytes")
            for offset, info, addend in _RELA.iter_unpack(section.data):
                symbol = info >> 32
                if symbol >= n_symbols:
                    _fail(f"a relocation names symbol {symbol} of {n_symbols}")
                if offset >= sections[target].size:
                    _fail(f"a relocation lies at {offset} of {sections[target].size} bytes")
                result.append(Relocation(target, offset, info & 0xFFFFFFFF, symbol, addend))
        return tuple(result)
