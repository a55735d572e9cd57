"""SPIR-V words -> text, one instruction a line, in the syntax of SPIRV-Tools (``spirv-as`` reads it)."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator

from iree_target_vulkan.errors import INVALID_MODULE, VulkanError
from iree_target_vulkan.spirv.assembler import instruction
from iree_target_vulkan.spirv.grammar import grammar

HEADER_WORDS = 5
FLOATS = {16: ("<e", 10), 32: ("<f", 23), 64: ("<d", 52)}
"""Width -> struct code, mantissa bits."""


@functools.cache
def _names() -> dict[int, str]:
    return {code: name for name, (code, _) in reversed(grammar().instructions.items())}


@functools.cache
def _values(kind: str) -> dict[int, str]:
    return {value: name for name, value in reversed(grammar().enumerations[kind].items())}


@functools.cache
def _glsl() -> dict[int, str]:
    return {value: name for name, value in grammar().glsl.items()}


class _Numbers:
    """What the constants' types say about the words of their values."""

    def __init__(self) -> None:
        self.types: dict[int, tuple[str, int]] = {}
        self.glsl: set[int] = set()

    def text(self, type: int, words: list[int]) -> str:
        kind, width = self.types.get(type, ("int", 32))
        value = sum(word << (32 * i) for i, word in enumerate(words))
        if kind != "float" or width not in FLOATS:
            return str(value)
        code, mantissa = FLOATS[width]
        number: float = struct.unpack(code, value.to_bytes(width // 8, "little"))[0]
        if number - number == 0:
            return repr(number)
        # As SPIRV-Tools do it: infinities and NaN with the exponent after the largest.
        sign = "-" if value >> (width - 1) else ""
        digits = f"{(value & ((1 << mantissa) - 1)) << (-mantissa % 4):0{-(-mantissa // 4)}x}".rstrip("0")
        return f"{sign}0x1{'.' + digits if digits else ''}p+{1 << (width - mantissa - 2)}"


def disassemble(data: bytes) -> str:
    """Raises VulkanError INVALID_MODULE for words that are no instructions."""
    words = list(struct.unpack(f"<{len(data) // 4}I", data))
    version = words[1]
    lines = [
        "; SPIR-V",
        f"; Version: {version >> 16 & 255}.{version >> 8 & 255}",
        f"; Bound: {words[3]}",
    ]
    numbers = _Numbers()
    at = HEADER_WORDS
    while at < len(words):
        count, opcode = words[at] >> 16, words[at] & 0xFFFF
        if count == 0 or at + count > len(words) or opcode not in _names():
            raise VulkanError(INVALID_MODULE, f"word {at}: opcode {opcode} of {count} words")
        lines.append(_line(_names()[opcode], words[at + 1 : at + count], numbers))
        at += count
    return "\n".join(lines) + "\n"


def _line(name: str, words: list[int], numbers: _Numbers) -> str:
    result = ""
    type = 0
    texts: list[str] = []
    rest = iter(words)
    left = len(words)

    def take() -> int:
        nonlocal left
        left -= 1
        return next(rest)

    def one(word: str) -> None:
        nonlocal result, type, left
        if word in grammar().enumerations:
            value = take()
            names, following = _enumerants(word, value)
            texts.append(names)
            for parameter in following:
                one(parameter)
            return
        for letter in word:
            if letter == "r":
                result = f"%{take()}"
            elif letter == "t":
                type = take()
                texts.append(f"%{type}")
            elif letter == "i":
                texts.append(f"%{take()}")
            elif letter == "s":
                texts.append(_string(take))
            elif letter == "w" and name in ("Constant", "SpecConstant"):
                texts.append(numbers.text(type, [take() for _ in range(left)]))
            else:
                texts.append(str(take()))

    for word in instruction(name).operands:
        kind, quantifier = word.rstrip("?*"), word[-1]
        if quantifier == "*":
            while left:
                one(kind)
        elif quantifier != "?" or left:
            one(kind)
    if name in ("TypeInt", "TypeFloat"):
        numbers.types[words[0]] = (name.removeprefix("Type").lower(), words[1])
    if name == "ExtInst":
        texts[2] = _glsl().get(int(texts[2]), texts[2])
    return f"{result + ' = ' if result else '':>9}Op{name} {' '.join(texts)}".rstrip()


def _enumerants(kind: str, value: int) -> tuple[str, Iterator[str]]:
    """Names of a value, and the operands that follow."""
    parameters = grammar().parameters.get(kind, {})
    if kind in grammar().bits and value:
        names = [_values(kind)[1 << bit] for bit in range(32) if value >> bit & 1]
    else:
        names = [_values(kind).get(value, str(value))]
    return "|".join(names), (operand for name in names for operand in parameters.get(name, ()))


def _string(take: Callable[[], int]) -> str:
    data = b""
    while not data.endswith(b"\0"):
        data += struct.pack("<I", take())
        if b"\0" in data[-4:]:
            break
    text = data.split(b"\0")[0].decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


__all__ = ["disassemble"]
