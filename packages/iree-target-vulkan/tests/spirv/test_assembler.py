"""Instructions to words, and what the grammar refuses."""

from __future__ import annotations

import pytest

from iree_target_vulkan.errors import INVALID_MODULE, VulkanError
from iree_target_vulkan.spirv.assembler import Operand, encode, string


@pytest.mark.parametrize(
    ("name", "operands", "words"),
    [
        ("IAdd", (1, 2, 3, 4), [5 << 16 | 128, 1, 2, 3, 4]),
        ("Return", (), [1 << 16 | 253]),
        ("Load", (1, 2, 3), [4 << 16 | 61, 1, 2, 3]),
        ("Load", (1, 2, 3, "Aligned", 16), [6 << 16 | 61, 1, 2, 3, 2, 16]),
        # Bits are joined; what follows them is in the order of the bits, not of the names.
        ("Load", (1, 2, 3, "MakePointerVisible|Aligned|NonPrivatePointer", 16, 7), [7 << 16 | 61, 1, 2, 3, 0x32, 16, 7]),
        ("Decorate", (5, "BuiltIn", "WorkgroupId"), [4 << 16 | 71, 5, 11, 26]),
        ("Constant", (1, 2, (7,)), [4 << 16 | 43, 1, 2, 7]),
        ("Constant", (1, 2, (7, 8)), [5 << 16 | 43, 1, 2, 7, 8]),
        ("Switch", (1, 2, (5,), 3, (6,), 4), [7 << 16 | 251, 1, 2, 5, 3, 6, 4]),
        ("Extension", ("SPV",), [2 << 16 | 10, 0x565053]),
        ("GroupNonUniformFAdd", (1, 2, 3, "Reduce", 4), [6 << 16 | 350, 1, 2, 3, 0, 4]),
        ("GroupNonUniformFAdd", (1, 2, 3, "ClusteredReduce", 4, 5), [7 << 16 | 350, 1, 2, 3, 3, 4, 5]),
        ("SelectionMerge", (1, "None"), [3 << 16 | 247, 1, 0]),
        ("LoopMerge", (1, 2, "DontUnroll"), [4 << 16 | 246, 1, 2, 2]),
    ],
)  # fmt: skip
def test_words(name: str, operands: tuple[Operand, ...], words: list[int]) -> None:
    assert encode(name, operands) == words


@pytest.mark.parametrize(
    ("name", "operands"),
    [
        ("NoSuchThing", ()),
        ("IAdd", (1, 2, 3)),
        ("IAdd", (1, 2, 3, 4, 5)),
        ("IAdd", (1, 2, 3, "four")),
        ("Load", (1, 2, 3, "Aligned")),
        ("Load", (1, 2, 3, "Sideways")),
        ("Decorate", (5, "BuiltIn", "NoBuiltIn")),
        ("Decorate", (5, "Block", 1)),
        ("Extension", (7, "x")),
    ],
)
def test_refused(name: str, operands: tuple[Operand, ...]) -> None:
    with pytest.raises(VulkanError) as caught:
        encode(name, operands)
    assert caught.value.number == INVALID_MODULE


@pytest.mark.parametrize(("text", "n"), [("", 1), ("abc", 1), ("abcd", 2), ("GLSL.std.450", 4), ("ü", 1)])
def test_strings_end_with_zero(text: str, n: int) -> None:
    words = string(text)
    assert len(words) == n
    assert b"".join(word.to_bytes(4, "little") for word in words).split(b"\0")[0].decode() == text
