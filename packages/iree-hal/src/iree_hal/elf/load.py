"""An :class:`~iree_hal.elf.parse.ElfObject` -> code mapped into this process, never writable and executable.

Sections are laid out in one mapping (code and far stubs, read-only data and the address table, data),
relocated while writable and then protected; :class:`Image` owns the mapping. :func:`layout` and
:func:`relocate` work on any base address, so a static linker for tests uses them too.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping

from iree_base.records import record
from iree_hal import platform
from iree_hal.elf.parse import SHF_EXEC, SHF_WRITE, SHN_ABS, SHN_UNDEF, SHT_NOBITS, ElfObject, parse
from iree_hal.elf.relocations import RELOCATIONS, STUBS, patch
from iree_hal.errors import BAD_OBJECT, BAD_RELOCATION, UNRESOLVED_SYMBOL, HalError

PAGE = 1 << 16
"""Segment alignment: the largest page size of the machines supported."""


@record(frozen=True)
class Segment:
    """``[start, end)`` of the mapping with one access, ``rx``, ``r`` or ``rw``."""

    access: str
    start: int
    end: int


@record(frozen=True)
class Layout:
    """Where everything goes, relative to the base: sections by index, the stubs and the address table."""

    n_bytes: int
    offsets: dict[int, int]
    segments: tuple[Segment, ...]
    stubs: int
    table: int


def layout(elf: ElfObject) -> Layout:
    """Place the loaded sections, one stub and one table entry per symbol that a relocation names."""
    named = len({r.symbol for r in elf.relocations})
    offsets: dict[int, int] = {}
    segments: list[Segment] = []
    stubs = table = position = 0
    for access in ("rx", "r", "rw"):
        start = position
        for index, section in enumerate(elf.sections):
            wanted = "rx" if section.flags & SHF_EXEC else "rw" if section.flags & SHF_WRITE else "r"
            if section.is_loaded and wanted == access:
                position = -(-position // section.align) * section.align
                offsets[index] = position
                position += section.size
        if access == "rx":
            position = stubs = -(-position // 16) * 16
            position += STUBS[elf.machine].size * named
        elif access == "r":
            position = table = -(-position // 8) * 8
            position += 8 * named
        segments.append(Segment(access, start, position))
        position = -(-position // PAGE) * PAGE
    return Layout(position, offsets, tuple(segments), stubs, table)


def _resolve(elf: ElfObject, plan: Layout, base: int, imports: Mapping[str, int]) -> list[int | None]:
    """The address of each symbol; None for one in a section that is not loaded."""
    needed = {r.symbol for r in elf.relocations}
    result: list[int | None] = []
    for index, symbol in enumerate(elf.symbols):
        if symbol.section == SHN_UNDEF:
            address = imports.get(symbol.name, 0 if symbol.is_weak or not symbol.name else None)
            if address is None and index in needed:
                raise HalError(
                    UNRESOLVED_SYMBOL,
                    f"'{symbol.name}'",
                    cause="provided are " + ", ".join(sorted(imports)),
                    hint="compile the model again with this version",
                )
            result.append(address)
        elif symbol.section == SHN_ABS:
            result.append(symbol.value)
        else:
            offset = plan.offsets.get(symbol.section)
            result.append(None if offset is None else base + offset + symbol.value)
    return result


def relocate(elf: ElfObject, plan: Layout, memory: memoryview, base: int, imports: Mapping[str, int]) -> None:
    """Copy the sections into ``memory`` (``plan.n_bytes``) and relocate them for address ``base``.

    Raises HalError UNRESOLVED_SYMBOL or BAD_RELOCATION.
    """
    kinds = RELOCATIONS[elf.machine]
    stub = STUBS[elf.machine]
    for index, offset in plan.offsets.items():
        section = elf.sections[index]
        if section.type != SHT_NOBITS:
            memory[offset : offset + section.size] = section.data
    addresses = _resolve(elf, plan, base, imports)
    slots = {symbol: i for i, symbol in enumerate(dict.fromkeys(r.symbol for r in elf.relocations))}
    for symbol, i in slots.items():
        at = plan.table + 8 * i
        memory[at : at + 8] = ((addresses[symbol] or 0) & ((1 << 64) - 1)).to_bytes(8, "little")
    high_parts: dict[int, int] = {}
    low_parts: list[tuple[int, int]] = []
    for number, r in enumerate(elf.relocations):
        kind = kinds.get(r.type)
        section = elf.sections[r.section]
        where = f"{section.name}+{r.offset:#x}"
        if kind is None:
            raise HalError(BAD_RELOCATION, f"type {r.type} of {elf.machine} at {where}")
        if kind.formula == "none":
            continue
        target = addresses[r.symbol]
        if target is None:
            raise HalError(BAD_RELOCATION, f"{kind.name} at {where} names a symbol that is not loaded")
        if r.offset + kind.encoding.size > section.size:
            raise HalError(BAD_RELOCATION, f"{kind.name} at {where} leaves its section")
        offset = plan.offsets[r.section] + r.offset
        place = base + offset
        entry = base + plan.table + 8 * slots[r.symbol]
        value = target + r.addend
        formula = kind.formula
        if formula == "call" and kind.encoding.limits is not None:
            low, high = kind.encoding.limits
            if not low <= value - place < high:
                at = plan.stubs + stub.size * slots[r.symbol]
                memory[at : at + len(stub.code)] = stub.code
                at_address = at + stub.address_at
                memory[at_address : at_address + 8] = target.to_bytes(8, "little")
                value = base + at + r.addend
            value -= place
        elif formula == "pc":
            value -= place
        elif formula == "page":
            value = (value & ~0xFFF) - (place & ~0xFFF)
        elif formula == "got":
            value = entry + r.addend - place
        elif formula == "gotabs":
            value = entry + r.addend
        elif formula == "gotpage":
            value = ((entry + r.addend) & ~0xFFF) - (place & ~0xFFF)
        elif formula == "hi":
            value -= place
            high_parts[place] = value
        elif formula == "gothi":
            value = entry + r.addend - place
            high_parts[place] = value
        elif formula == "lo":
            low_parts.append((number, target))
            continue
        elif formula in ("add", "sub"):
            n = kind.encoding.size
            old = int.from_bytes(memory[offset : offset + n], "little")
            value = old + value if formula == "add" else old - value
        patch(memory, offset, kind, value, where)
    for number, label in low_parts:
        r = elf.relocations[number]
        where = f"{elf.sections[r.section].name}+{r.offset:#x}"
        if label not in high_parts:
            raise HalError(BAD_RELOCATION, f"{kinds[r.type].name} at {where} has no high part")
        patch(memory, plan.offsets[r.section] + r.offset, kinds[r.type], high_parts[label], where)


class Image:
    """An object file in memory. Owns the mapping: code stays valid while the image is referenced.

    ``symbols`` maps each global name defined in the object to its address.
    """

    def __init__(self, elf: ElfObject, imports: Mapping[str, int], *, keep: bool = False) -> None:
        """Map and relocate. ``keep`` never unmaps (the executor's own code).

        Raises HalError BAD_OBJECT (other machine), UNRESOLVED_SYMBOL, BAD_RELOCATION, OUT_OF_MEMORY, OS_CALL.
        """
        if elf.machine != platform.machine():
            raise HalError(BAD_OBJECT, f"compiled for {elf.machine}, this machine is {platform.machine()}")
        system = platform.current()
        plan = layout(elf)
        n_bytes = max(plan.n_bytes, PAGE)
        base = system.map_memory(n_bytes)
        if not keep:
            # Not at exit: threads may still run in it when the interpreter goes down.
            weakref.finalize(self, system.unmap_memory, base, n_bytes).atexit = False
        try:
            block = (ctypes.c_uint8 * n_bytes).from_address(base)
            relocate(elf, plan, memoryview(block).cast("B"), base, imports)
            for segment in plan.segments:
                if segment.end > segment.start:
                    size = -(-(segment.end - segment.start) // PAGE) * PAGE
                    system.protect_memory(base + segment.start, size, segment.access)
        except Exception:
            if keep:
                system.unmap_memory(base, n_bytes)
            raise
        self.base = base
        self.n_bytes = n_bytes
        self._code = next((s.start, s.end) for s in plan.segments if s.access == "rx")
        self.symbols: dict[str, int] = {
            s.name: base + plan.offsets[s.section] + s.value
            for s in elf.symbols
            if s.is_global and s.name and s.section in plan.offsets
        }

    def is_code(self, address: int) -> bool:
        """True when ``address`` lies in executable memory of this image."""
        return self._code[0] <= address - self.base < self._code[1]


def load(data: bytes | bytearray | memoryview, imports: Mapping[str, int], *, keep: bool = False) -> Image:
    """Parse ``data`` and map it; see :class:`Image` for ownership and errors."""
    return Image(parse(data), imports, keep=keep)
