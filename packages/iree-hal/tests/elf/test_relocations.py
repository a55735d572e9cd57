"""Relocations: golden instruction words, ranges, and the stubs' code.

The expected words are what an assembler gives for the commented instruction.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_hal.elf.relocations import AARCH64, RELOCATIONS, RISCV64, STUBS, X86_64, patch
from iree_hal.errors import HalError


def _patched(kind: object, word: int, value: int) -> int:
    n = kind.encoding.size  # type: ignore[attr-defined]
    memory = bytearray(word.to_bytes(n, "little"))
    patch(memoryview(memory), 0, kind, value, "here")  # type: ignore[arg-type]
    return int.from_bytes(memory, "little")


@pytest.mark.parametrize(
    ("number", "word", "value", "want"),
    [
        (283, 0x94000000, 8, 0x94000002),  # bl .+8
        (282, 0x14000000, -4, 0x17FFFFFF),  # b .-4
        (275, 0x90000000, 0x1000, 0xB0000000),  # adrp x0, .+0x1000
        (275, 0x90000001, -0x1000, 0xF0FFFFE1),  # adrp x1, .-0x1000
        (277, 0x91000000, 0x12345010, 0x91004000),  # add x0, x0, #0x10
        (286, 0xF9400000, 0x1008, 0xF9400400),  # ldr x0, [x0, #8]
        (285, 0xB9400000, 0x1008, 0xB9400800),  # ldr w0, [x0, #8]
        (284, 0x79400000, 0x1008, 0x79401000),  # ldrh w0, [x0, #8]
        (278, 0x39400000, 0x1008, 0x39402000),  # ldrb w0, [x0, #8]
        (299, 0x3DC00000, 0x1020, 0x3DC00800),  # ldr q0, [x0, #32]
        (280, 0x54000000, 16, 0x54000080),  # b.eq .+16
        (279, 0x36000000, 16, 0x36000080),  # tbz w0, #0, .+16
        (274, 0x10000000, 5, 0x30000020),  # adr x0, .+5
    ],
)
def test_aarch64_words(number: int, word: int, value: int, want: int) -> None:
    assert _patched(AARCH64[number], word, value) == want


@pytest.mark.parametrize(
    ("number", "word", "value", "want"),
    [
        (18, 0x000080E7_00000097, 0x12345678, 0x678080E7_12345097),  # auipc ra, 0x12345; jalr 0x678(ra)
        (18, 0x000080E7_00000097, -4, 0xFFC080E7_00000097),  # the low half is signed
        (23, 0x00000517, 0x12345FFF, 0x12346517),  # auipc a0, 0x12346: rounded for a negative low half
        (24, 0x00053503, 0x7FF, 0x7FF53503),  # ld a0, 2047(a0)
        (25, 0x00B53023, 0x7FF, 0x7EB53FA3),  # sd a1, 2047(a0)
        (17, 0x0000006F, 2048, 0x0010006F),  # j .+2048
        (17, 0x0000006F, -2, 0xFFFFF06F),  # j .-2
        (16, 0x00000063, -2, 0xFE000FE3),  # beq zero, zero, .-2
        (16, 0x00000063, 2048, 0x000000E3),  # beq zero, zero, .+2048
    ],
)
def test_riscv64_words(number: int, word: int, value: int, want: int) -> None:
    assert _patched(RISCV64[number], word, value) == want


@given(value=st.integers(-(1 << 31), (1 << 31) - 1))
def test_x86_displacements_are_signed_words(value: int) -> None:
    for number in (2, 4, 42):
        assert _patched(X86_64[number], 0xAAAAAAAA, value) == value & 0xFFFFFFFF


@pytest.mark.parametrize("machine", sorted(RELOCATIONS))
def test_values_out_of_range_are_refused(machine: str) -> None:
    for kind in RELOCATIONS[machine].values():
        limits, scale = kind.encoding.limits, kind.encoding.scale
        wrong = [] if limits is None else [limits[1], limits[0] - scale]
        wrong += [1] if scale > 1 else []
        for value in wrong:
            with pytest.raises(HalError, match=r"IREE-HAL-003.*here"):
                _patched(kind, 0, value)


def test_patches_outside_of_memory_are_refused() -> None:
    for offset in (-1, 5, 8):
        with pytest.raises(HalError, match="IREE-HAL-003"):
            patch(memoryview(bytearray(8)), offset, X86_64[2], 0, "here")


@given(value=st.integers(-(1 << 27), (1 << 27) - 1).map(lambda v: v * 4))
def test_other_bits_of_an_instruction_stay(value: int) -> None:
    for word in (0x94000000, 0x14000000):
        if -(1 << 27) <= value < 1 << 27:
            assert _patched(AARCH64[283], word, value) & ~0x3FFFFFF == word


@pytest.mark.parametrize("machine", sorted(STUBS))
def test_stubs_have_room_for_their_address(machine: str) -> None:
    stub = STUBS[machine]
    assert len(stub.code) <= stub.address_at
    assert stub.address_at + 8 <= stub.size


def test_stub_code() -> None:
    assert struct.unpack("<2I", STUBS["aarch64"].code) == (0x58000050, 0xD61F0200)  # ldr x16, .+8; br x16
    assert STUBS["x86_64"].code.hex() == "ff2500000000"  # jmp *0(%rip)
