"""AMX where the machine has none: its instructions trap, and are done in Python on the state they act on.

On x86-64 Linux. Every instruction costs microseconds: for small products only. Sums are in the order of the
machine's, so results are the same to the last bit.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from iree_hal.platform import current as platform_functions
from iree_target_llvm.description import host_features

Array = np.ndarray[Any, Any]
HAS_TILES = "amx-tile" in host_features()
if HAS_TILES:
    # Then the machine itself does the instructions, and none traps.
    platform_functions().enable_features(frozenset({"amx-tile"}))
USABLE = sys.platform == "linux" and platform.machine() == "x86_64"

SIGILL = 4
SA_SIGINFO, SA_NODEFER = 4, 0x40000000
GENERAL_REGISTERS = 40
"""Offset of the general registers in a signal's context."""
REGISTERS = (
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "di", "si", "bp", "bx", "dx", "ax", "cx", "sp", "ip",
)  # fmt: skip
"""In the order in which the signal's context has them."""
NUMBERS = (
    "ax", "cx", "dx", "bx", "sp", "bp", "si", "di",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
"""In the order in which instructions number them."""


class _Action(ctypes.Structure):
    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class TileMachine:
    """Tile registers, and what the instructions do with them."""

    def __init__(self) -> None:
        self.tiles = np.zeros((8, 16, 64), np.uint8)
        self.rows = [0] * 8
        self.bytes = [0] * 8
        self.configured = False
        self.executed: list[str] = []
        """Names of the instructions done, in order."""
        self.error: BaseException | None = None

    def step(self, context: int) -> None:
        """Do the instruction at the instruction pointer of ``context`` and move on."""
        general = (ctypes.c_uint64 * len(REGISTERS)).from_address(context + GENERAL_REGISTERS)
        values = dict(zip(REGISTERS, general, strict=True))
        length = self.execute(
            ctypes.string_at(values["ip"], 15), [values[name] for name in NUMBERS], values["ip"]
        )
        general[REGISTERS.index("ip")] = values["ip"] + length

    def execute(self, code: bytes, general: list[int], ip: int) -> int:
        """Do the instruction ``code``; returns its length."""
        assert code[0] == 0xC4, f"not a VEX instruction: {code.hex()}"
        invert = ~code[1]
        extend_reg, extend_index, extend_base = (
            (invert >> 7 & 1) * 8,
            (invert >> 6 & 1) * 8,
            (invert >> 5 & 1) * 8,
        )
        assert code[1] & 0x1F == 2 and not code[2] & 4, f"not AMX: {code.hex()}"
        third, prefix, opcode = (~code[2] >> 3) & 15, code[2] & 3, code[3]
        mode, reg, rm = code[4] >> 6, (code[4] >> 3 & 7) + extend_reg, code[4] & 7
        length, address, step = 5, 0, 0
        if mode != 3:
            base: int | None = rm + extend_base
            if rm == 4:
                scale, index = code[5] >> 6, (code[5] >> 3 & 7) + extend_index
                base = (code[5] & 7) + extend_base
                length = 6
                step = general[index] << scale if index != 4 else 0
                if code[5] & 7 == 5 and mode == 0:
                    base = None
            if mode == 0 and (rm == 5 or base is None):
                displacement = int.from_bytes(code[length : length + 4], "little", signed=True)
                length += 4
                address = displacement + (ip + length if rm == 5 else 0)
            else:
                size = (0, 1, 4)[mode]
                displacement = int.from_bytes(code[length : length + size], "little", signed=True)
                length += size
                assert base is not None
                address = general[base] + displacement
            address %= 1 << 64
            step = step - (1 << 64) if step >> 63 else step
        if opcode == 0x49 and mode == 3 and prefix == 0:
            self._named("tilerelease", release=True)
        elif opcode == 0x49 and mode == 3 and prefix == 3:
            self._named("tilezero")
            self.tiles[reg] = 0
        elif opcode == 0x49 and prefix == 0:
            self._configure(ctypes.string_at(address, 64))
        elif opcode == 0x4B and prefix in (1, 3):
            self._named("tileloadd")
            self.tiles[reg] = 0
            for row in range(self.rows[reg]):
                data = ctypes.string_at(address + row * step, self.bytes[reg])
                self.tiles[reg, row, : self.bytes[reg]] = np.frombuffer(data, np.uint8)
        elif opcode == 0x4B and prefix == 2:
            self._named("tilestored")
            for row in range(self.rows[reg]):
                ctypes.memmove(address + row * step, self.tiles[reg, row].tobytes(), self.bytes[reg])
        elif opcode in (0x5C, 0x5E) and mode == 3:
            self._product(opcode, prefix, reg, rm, third)
        else:
            raise AssertionError(f"unknown instruction {code.hex()}")
        return length

    def _named(self, name: str, release: bool = False) -> None:
        assert self.configured, f"{name} before ldtilecfg"
        self.configured = not release
        self.executed.append(name)

    def _configure(self, data: bytes) -> None:
        self.executed.append("ldtilecfg")
        assert data[0] == 1 and not any(data[1:16])
        self.bytes = [int.from_bytes(data[16 + 2 * i : 18 + 2 * i], "little") for i in range(8)]
        self.rows = list(data[48:56])
        assert max(self.bytes) <= 64 and max(self.rows) <= 16
        self.tiles[:] = 0
        self.configured = True

    def _product(self, opcode: int, prefix: int, c: int, a: int, b: int) -> None:
        assert len({a, b, c}) == 3 and self.bytes[a] == 4 * self.rows[b]
        assert self.rows[a] == self.rows[c] and self.bytes[b] == self.bytes[c]
        rows, words, columns = self.rows[c], self.rows[b], self.bytes[c] // 4
        if opcode == 0x5C and prefix == 2:
            self._named("tdpbf16ps")
            left = _bf16(self.tiles[a, :rows, : 4 * words]).reshape(rows, words, 2)
            right = _bf16(self.tiles[b, :words, : 4 * columns]).reshape(words, columns, 2)
            sums = self.tiles[c, :rows].view(np.float32)[:, :columns]
            pair = np.zeros((rows, columns, 2), np.float32)
            with np.errstate(all="ignore"):
                for k in range(words):
                    pair = _fma(left[:, k, None, :], right[None, k], pair)
                sums[...] = _flushed(_flushed(sums) + _flushed(pair[..., 0] + pair[..., 1]))
            return
        assert opcode == 0x5E
        signs = {0: "uu", 1: "us", 2: "su", 3: "ss"}[prefix]
        self._named(f"tdpb{signs}d")
        kinds = [np.int8 if s == "s" else np.uint8 for s in signs]
        x = self.tiles[a, :rows, : 4 * words].view(kinds[0]).astype(np.int64)
        y = self.tiles[b, :words, : 4 * columns].view(kinds[1]).astype(np.int64)
        y = y.reshape(words, columns, 4).transpose(0, 2, 1).reshape(4 * words, columns)
        total = self.tiles[c, :rows].view(np.int32)[:, :columns]
        total[...] = (total + x @ y).astype(np.int32)


def _flushed(x: Array) -> Array:
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x).astype(
        np.float32
    )


def _bf16(data: Array) -> Array:
    return _flushed((np.ascontiguousarray(data).view(np.uint16).astype(np.uint32) << 16).view(np.float32))


def _fma(a: Array, b: Array, c: Array) -> Array:
    """Rounded once: a product of bf16 and its sum with an f32 are exact enough in f64."""
    return _flushed((a.astype(np.float64) * b + c).astype(np.float32))


@contextmanager
def tile_machine() -> Iterator[TileMachine]:
    """While this lasts, AMX instructions of this process are done by the machine it yields."""
    machine = TileMachine()
    libc = ctypes.CDLL(None, use_errno=True)

    @ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def trapped(signal: int, info: int, context: int) -> None:
        try:
            machine.step(context)
        except BaseException as error:
            # There is no way out of here but to let the process die of the instruction.
            print(f"AMX in Python: {error!r}", file=sys.stderr, flush=True)
            libc.sigaction(SIGILL, ctypes.byref(_Action()), None)

    action, old = _Action(), _Action()
    action.handler = ctypes.cast(trapped, ctypes.c_void_p).value
    action.flags = SA_SIGINFO | SA_NODEFER
    assert libc.sigaction(SIGILL, ctypes.byref(action), ctypes.byref(old)) == 0
    try:
        yield machine
    finally:
        libc.sigaction(SIGILL, ctypes.byref(old), None)
