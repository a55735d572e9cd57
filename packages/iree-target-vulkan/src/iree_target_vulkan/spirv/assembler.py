"""One instruction of SPIR-V -> its words, checked against the grammar.

    encode("IAdd", (type, result, a, b))
    encode("Decorate", (variable, "BuiltIn", "WorkgroupId"))

Ids and numbers are ints; enumerants are names, with their own operands after them, several bits joined as
``"Aligned|NonPrivatePointer"``; strings are strings; numbers of more than one word are tuples of words.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from iree_target_vulkan.errors import INVALID_MODULE, VulkanError
from iree_target_vulkan.spirv.grammar import grammar

Operand = int | str | tuple[int, ...]


class Instruction(NamedTuple):
    """``least`` and ``most`` operands when each is one word; ``letters``: no enumeration among them."""

    opcode: int
    operands: tuple[str, ...]
    least: int
    most: int


@functools.cache
def instruction(name: str) -> Instruction:
    """The grammar of an instruction, by its name without Op."""
    found = grammar().instructions.get(name)
    if found is None:
        raise VulkanError(INVALID_MODULE, f"Op{name} is no instruction")
    opcode, operands = found
    least = sum(len(_letters(word)) for word in operands if word[-1] not in "?*")
    many = any(word[-1] in "*sw" for word in operands) or any(len(_letters(word)) > 2 for word in operands)
    most = (1 << 15) if many else sum(len(_letters(word)) for word in operands)
    for word in operands:
        # An enumerant given as a number may be followed by operands of its own.
        if word.rstrip("?*") in grammar().parameters:
            most = 1 << 15
    return Instruction(opcode, operands, least, most)


def _letters(word: str) -> str:
    """The letters of an operand; one stands for an enumerant."""
    kind = word.rstrip("?*")
    return "e" if kind in grammar().enumerations else kind


def encode(name: str, operands: Sequence[Operand]) -> list[int]:
    """The words of one instruction. Raises VulkanError INVALID_MODULE for what the grammar does not allow."""
    entry = instruction(name)
    for operand in operands:
        if operand.__class__ is not int:
            return _encode_slowly(name, entry, operands)
    n = len(operands)
    if not entry.least <= n <= entry.most:
        raise VulkanError(INVALID_MODULE, f"Op{name} with {n} operands")
    return [(n + 1) << 16 | entry.opcode, *operands]  # type: ignore[list-item]


def _encode_slowly(name: str, entry: Instruction, operands: Sequence[Operand]) -> list[int]:
    words: list[int] = [0]
    rest = iter(operands)
    left = len(operands)

    def take() -> Operand:
        nonlocal left
        if left == 0:
            raise VulkanError(INVALID_MODULE, f"Op{name} needs more than {len(operands)} operands")
        left -= 1
        return next(rest)

    def one(word: str) -> None:
        if word in grammar().enumerations:
            operand = take()
            if isinstance(operand, str):
                value, following = enumerant(word, operand)
                words.append(value)
                for parameter in following:
                    one(parameter)
            else:
                words.extend(_number(operand))
            return
        for letter in word:
            operand = take()
            if letter == "s":
                if not isinstance(operand, str):
                    raise VulkanError(INVALID_MODULE, f"Op{name}: {operand!r} is no string")
                words.extend(string(operand))
            elif isinstance(operand, str) or (isinstance(operand, tuple) and letter != "w"):
                raise VulkanError(INVALID_MODULE, f"Op{name}: {operand!r} is no id or number")
            else:
                words.extend(_number(operand))

    for word in entry.operands:
        kind, quantifier = word.rstrip("?*"), word[-1]
        if quantifier == "*":
            while left:
                one(kind)
        elif quantifier != "?" or left:
            one(kind)
    if left:
        raise VulkanError(INVALID_MODULE, f"Op{name} with {left} operands too many")
    words[0] = len(words) << 16 | entry.opcode
    return words


def _number(operand: int | tuple[int, ...]) -> Iterator[int]:
    return iter(operand if isinstance(operand, tuple) else (operand,))


@functools.cache
def enumerant(kind: str, text: str) -> tuple[int, tuple[str, ...]]:
    """The value of ``text`` in an enumeration, and the operands that must follow, in their order."""
    table = grammar()
    names = text.split("|") if kind in table.bits else [text]
    values = table.enumerations[kind]
    for name in names:
        if name not in values:
            raise VulkanError(INVALID_MODULE, f"{name} is no {kind}")
    names.sort(key=values.__getitem__)
    parameters = table.parameters.get(kind, {})
    following = tuple(operand for name in names for operand in parameters.get(name, ()))
    return sum(values[name] for name in set(names)), following


def string(text: str) -> list[int]:
    """A literal string: UTF-8, ended by a zero byte, padded with zeros."""
    data = text.encode() + b"\0"
    data += b"\0" * (-len(data) % 4)
    return list(struct.unpack(f"<{len(data) // 4}I", data))


__all__ = ["Instruction", "Operand", "encode", "enumerant", "instruction", "string"]
