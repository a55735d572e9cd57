"""Relocations as data: per machine, type number -> (name, bytes patched, formula, how it is written).

``value`` is computed from S+A (``A`` addend, ``S`` symbol), P (the place) or the symbol's slot G in the
address table; ``Encoding.write`` puts it into the instruction or datum after a range check. Sources: the
psABI documents of x86-64, AArch64 and RISC-V.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from iree_hal.errors import BAD_RELOCATION, HalError

_MASK64 = (1 << 64) - 1
_INT32 = (-(1 << 31), 1 << 31)


class Encoding(NamedTuple):
    """``size`` bytes are patched; values outside ``limits`` or not multiples of ``scale`` cannot be."""

    size: int
    limits: tuple[int, int] | None
    scale: int
    write: Callable[[int, int], int]
    """(old word, value) -> new word."""


class RelocationKind(NamedTuple):
    name: str
    formula: str
    """``abs`` S+A, ``pc`` S+A-P, ``call`` the same but through a far stub when out of reach,
    ``page`` Page(S+A)-Page(P), ``got`` G+A-P, ``gotpage`` Page(G+A)-Page(P), ``gotabs`` G+A,
    ``hi`` S+A-P remembered for its low half, ``gothi`` the same of G, ``lo`` the low half of the high part
    that the symbol labels, ``add`` / ``sub`` old word plus or minus S+A, ``none``."""
    encoding: Encoding


def _field(low: int, width: int, shift: int = 0) -> Callable[[int, int], int]:
    mask = ((1 << width) - 1) << low

    def write(word: int, value: int) -> int:
        return (word & ~mask) | (((value >> shift) << low) & mask)

    return write


def _adr(shift: int) -> Callable[[int, int], int]:
    def write(word: int, value: int) -> int:
        page = value >> shift
        return (word & ~((3 << 29) | (0x7FFFF << 5))) | ((page & 3) << 29) | (((page >> 2) & 0x7FFFF) << 5)

    return write


def _u_type(word: int, value: int) -> int:
    return (word & 0xFFF) | ((value + 0x800) & 0xFFFFF000)


def _i_type(word: int, value: int) -> int:
    return (word & 0xFFFFF) | ((value & 0xFFF) << 20)


def _s_type(word: int, value: int) -> int:
    return (word & ~0xFE000F80) | (((value >> 5) & 0x7F) << 25) | ((value & 31) << 7)


def _b_type(word: int, value: int) -> int:
    high = ((value >> 12) & 1) << 31 | ((value >> 5) & 63) << 25
    low = ((value >> 1) & 15) << 8 | ((value >> 11) & 1) << 7
    return (word & ~0xFE000F80) | high | low


def _j_type(word: int, value: int) -> int:
    bits = ((value >> 20) & 1) << 31 | ((value >> 1) & 0x3FF) << 21 | ((value >> 11) & 1) << 20
    return (word & 0xFFF) | bits | ((value >> 12) & 0xFF) << 12


def _call_pair(word: int, value: int) -> int:
    """auipc + jalr, two instructions in one 64-bit word."""
    return _u_type(word & 0xFFFFFFFF, value) | _i_type(word >> 32, value) << 32


def _signed(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), 1 << (bits - 1)


WORD32 = Encoding(4, _INT32, 1, _field(0, 32))
WORD64 = Encoding(8, None, 1, _field(0, 64))
NOTHING = Encoding(0, None, 1, lambda word, value: word)
_RV_HI = (-(1 << 31) - 0x800, (1 << 31) - 0x800)


def _lo12(scale: int) -> Encoding:
    """The unsigned low 12 bits of an address, scaled by the access size."""
    return Encoding(4, None, scale, lambda word, value: _field(10, 12)(word, (value & 0xFFF) // scale))


X86_64: dict[int, RelocationKind] = {
    0: RelocationKind("NONE", "none", NOTHING),
    1: RelocationKind("64", "abs", WORD64),
    2: RelocationKind("PC32", "pc", WORD32),
    4: RelocationKind("PLT32", "call", WORD32),
    9: RelocationKind("GOTPCREL", "got", WORD32),
    24: RelocationKind("PC64", "pc", WORD64),
    41: RelocationKind("GOTPCRELX", "got", WORD32),
    42: RelocationKind("REX_GOTPCRELX", "got", WORD32),
}

AARCH64: dict[int, RelocationKind] = {
    0: RelocationKind("NONE", "none", NOTHING),
    257: RelocationKind("ABS64", "abs", WORD64),
    260: RelocationKind("PREL64", "pc", WORD64),
    261: RelocationKind("PREL32", "pc", WORD32),
    273: RelocationKind("LD_PREL_LO19", "pc", Encoding(4, _signed(21), 4, _field(5, 19, 2))),
    274: RelocationKind("ADR_PREL_LO21", "pc", Encoding(4, _signed(21), 1, _adr(0))),
    275: RelocationKind("ADR_PREL_PG_HI21", "page", Encoding(4, _signed(33), 1, _adr(12))),
    276: RelocationKind("ADR_PREL_PG_HI21_NC", "page", Encoding(4, None, 1, _adr(12))),
    277: RelocationKind("ADD_ABS_LO12_NC", "abs", _lo12(1)),
    278: RelocationKind("LDST8_ABS_LO12_NC", "abs", _lo12(1)),
    279: RelocationKind("TSTBR14", "pc", Encoding(4, _signed(16), 4, _field(5, 14, 2))),
    280: RelocationKind("CONDBR19", "pc", Encoding(4, _signed(21), 4, _field(5, 19, 2))),
    282: RelocationKind("JUMP26", "call", Encoding(4, _signed(28), 4, _field(0, 26, 2))),
    283: RelocationKind("CALL26", "call", Encoding(4, _signed(28), 4, _field(0, 26, 2))),
    284: RelocationKind("LDST16_ABS_LO12_NC", "abs", _lo12(2)),
    285: RelocationKind("LDST32_ABS_LO12_NC", "abs", _lo12(4)),
    286: RelocationKind("LDST64_ABS_LO12_NC", "abs", _lo12(8)),
    299: RelocationKind("LDST128_ABS_LO12_NC", "abs", _lo12(16)),
    311: RelocationKind("ADR_GOT_PAGE", "gotpage", Encoding(4, _signed(33), 1, _adr(12))),
    312: RelocationKind("LD64_GOT_LO12_NC", "gotabs", _lo12(8)),
}

RISCV64: dict[int, RelocationKind] = {
    0: RelocationKind("NONE", "none", NOTHING),
    2: RelocationKind("64", "abs", WORD64),
    16: RelocationKind("BRANCH", "pc", Encoding(4, _signed(13), 2, _b_type)),
    17: RelocationKind("JAL", "pc", Encoding(4, _signed(21), 2, _j_type)),
    18: RelocationKind("CALL", "call", Encoding(8, _RV_HI, 1, _call_pair)),
    19: RelocationKind("CALL_PLT", "call", Encoding(8, _RV_HI, 1, _call_pair)),
    20: RelocationKind("GOT_HI20", "gothi", Encoding(4, _RV_HI, 1, _u_type)),
    23: RelocationKind("PCREL_HI20", "hi", Encoding(4, _RV_HI, 1, _u_type)),
    24: RelocationKind("PCREL_LO12_I", "lo", Encoding(4, None, 1, _i_type)),
    25: RelocationKind("PCREL_LO12_S", "lo", Encoding(4, None, 1, _s_type)),
    35: RelocationKind("ADD32", "add", Encoding(4, None, 1, _field(0, 32))),
    36: RelocationKind("ADD64", "add", WORD64),
    39: RelocationKind("SUB32", "sub", Encoding(4, None, 1, _field(0, 32))),
    40: RelocationKind("SUB64", "sub", WORD64),
    51: RelocationKind("RELAX", "none", NOTHING),
    57: RelocationKind("32_PCREL", "pc", WORD32),
}

RELOCATIONS: dict[str, dict[int, RelocationKind]] = {"x86_64": X86_64, "aarch64": AARCH64, "riscv64": RISCV64}


class FarStub(NamedTuple):
    """A jump to any 64-bit address: ``code``, then the address at ``address_at``; ``size`` bytes in all."""

    size: int
    code: bytes
    address_at: int


STUBS: dict[str, FarStub] = {
    # jmp *[rip+0]
    "x86_64": FarStub(16, bytes.fromhex("ff2500000000"), 6),
    # ldr x16, #8; br x16
    "aarch64": FarStub(16, struct.pack("<2I", 0x58000050, 0xD61F0200), 8),
    # auipc t1, 0; ld t1, 16(t1); jr t1; nop
    "riscv64": FarStub(32, struct.pack("<4I", 0x00000317, 0x01033303, 0x00030067, 0x00000013), 16),
}


def patch(memory: memoryview, offset: int, kind: RelocationKind, value: int, where: str) -> None:
    """Write ``value`` at ``offset``. Raises HalError BAD_RELOCATION when it cannot be represented."""
    encoding = kind.encoding
    n = encoding.size
    if offset < 0 or offset + n > len(memory):
        raise HalError(BAD_RELOCATION, f"{kind.name} at {where} leaves its section")
    if value % encoding.scale or (
        encoding.limits is not None and not encoding.limits[0] <= value < encoding.limits[1]
    ):
        raise HalError(BAD_RELOCATION, f"{kind.name} at {where}: {value:#x} is out of its range")
    old = int.from_bytes(memory[offset : offset + n], "little")
    new = encoding.write(old, value & _MASK64 if value >= 0 else value)
    memory[offset : offset + n] = (new & ((1 << (8 * n)) - 1)).to_bytes(n, "little")
