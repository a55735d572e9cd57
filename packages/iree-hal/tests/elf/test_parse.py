"""The ELF parser: what it reads, and that damage is refused or harmless."""

from __future__ import annotations

import random
import struct
from importlib.resources import files

import pytest

from iree_hal.elf.load import layout, relocate
from iree_hal.elf.parse import ElfObject, parse
from iree_hal.errors import HalError

MACHINES = ("x86_64", "aarch64")
CODES = ("IREE-HAL-002", "IREE-HAL-003", "IREE-HAL-004")


def _object(package: str, machine: str) -> bytes:
    return (files(package) / "objects" / f"{machine}.o").read_bytes()


OBJECTS = {
    f"{package.split('.')[-1]}-{machine}": _object(package, machine)
    for package in ("iree_hal.executor", "iree_hal.conformance")
    for machine in MACHINES
}


def _link(elf: ElfObject) -> None:
    """Everything loading does short of mapping: no offset may leave the image."""
    plan = layout(elf)
    memory = bytearray(plan.n_bytes)
    relocate(elf, plan, memoryview(memory), 0x10000, {"memcpy": 1 << 40, "memset": 8, "memmove": 16})


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_read(name: str) -> None:
    elf = parse(OBJECTS[name])
    assert elf.machine == name.split("-")[1]
    assert any(s.is_global and s.section for s in elf.symbols)
    assert set(elf.undefined()) <= {"memcpy"}
    _link(elf)


def test_symbols_lie_in_their_sections() -> None:
    elf = parse(OBJECTS["executor-x86_64"])
    run = next(s for s in elf.symbols if s.name == "iree_run")
    assert elf.sections[run.section].name == ".text"
    assert run.value < elf.sections[run.section].size


@pytest.mark.parametrize("name", OBJECTS)
def test_every_truncation_is_refused(name: str) -> None:
    data = OBJECTS[name]
    for n in [*range(0, len(data), 37), len(data) - 1]:
        with pytest.raises(HalError, match="IREE-HAL-002"):
            parse(data[:n])


def _try(data: bytes) -> None:
    """Accepted, or refused with a coded error; anything else escapes."""
    try:
        _link(parse(data))
    except HalError as error:
        assert error.code in CODES


@pytest.mark.parametrize("name", OBJECTS)
def test_damaged_structure_is_refused_or_harmless(name: str) -> None:
    """Flip bits in the header, the section table, symbols, strings and relocations."""
    data = OBJECTS[name]
    rng = random.Random(1)
    offset = struct.unpack_from("<Q", data, 40)[0]
    regions = [(0, 64), (offset, len(data))]
    for i in range(struct.unpack_from("<H", data, 60)[0]):
        kind, _, _, start, size = struct.unpack_from("<IQQQQ", data, offset + 64 * i + 4)
        if kind in (2, 3, 4):
            regions.append((start, start + size))
    for _ in range(600):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            start, end = rng.choice([r for r in regions if r[1] > r[0]])
            changed[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
        _try(bytes(changed))


@pytest.mark.parametrize("field", range(0, 64, 4))
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_strange_header_fields_are_refused_or_harmless(field: int, value: int) -> None:
    changed = bytearray(OBJECTS["executor-x86_64"])
    struct.pack_into("<I", changed, field, value)
    _try(bytes(changed))


@pytest.mark.parametrize("field", range(0, 64, 4))
@pytest.mark.parametrize("value", [0, 3, 0x7FFFFFFF, 0xFFFFFFFF])
def test_strange_section_fields_are_refused_or_harmless(field: int, value: int) -> None:
    data = OBJECTS["executor-x86_64"]
    offset = struct.unpack_from("<Q", data, 40)[0]
    for i in range(struct.unpack_from("<H", data, 60)[0]):
        changed = bytearray(data)
        struct.pack_into("<I", changed, offset + 64 * i + field, value)
        _try(bytes(changed))


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x01\x01\x01" + bytes(60), bytes(64), b"PK" * 50])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(HalError, match="IREE-HAL-002"):
        parse(data)
