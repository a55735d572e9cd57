"""The executable format reads back what it wrote and refuses everything else with a coded error."""

from __future__ import annotations

import struct

import pytest

from iree_target_vulkan.errors import EXECUTABLE, VulkanError
from iree_target_vulkan.executable_format import EntryPoint, SpirvExecutable

WORDS = struct.pack("<5I", 0x07230203, 0x10300, 0, 1, 0)
EXECUTABLE_ = SpirvExecutable(
    {
        "a": EntryPoint((64, 1, 1), 3, 5, None, 3, 4, 64, 32),
        "b": EntryPoint((8, 8, 1), 1, 0, constants_binding=1),
    },
    WORDS,
    (1, 5),
    ("Shader", "Int64"),
    ("shaderInt64",),
)


def test_round_trip() -> None:
    data = EXECUTABLE_.serialize()
    assert SpirvExecutable.deserialize(data) == EXECUTABLE_
    assert SpirvExecutable.deserialize(memoryview(bytearray(data))) == EXECUTABLE_


def test_words_are_aligned() -> None:
    for name in ("k", "kk", "kkk", "kkkk"):
        data = SpirvExecutable({name: EntryPoint((1, 1, 1), 1)}, WORDS).serialize()
        assert data.index(WORDS) % 4 == 0


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_truncated(cut: int) -> None:
    data = EXECUTABLE_.serialize()
    if cut < len(data):
        with pytest.raises(VulkanError) as caught:
            SpirvExecutable.deserialize(data[:cut])
        assert caught.value.number == EXECUTABLE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"IVKS", b"IVKT"),
        (b'"version":1', b'"version":9'),
        (b'"entry"', b'"entri"'),
        (b'"bindings":3', b'"bindings":"'),
        (b"[64,1,1]", b"[64,1  ]"),
        (struct.pack("<I", 0x07230203), b"\0\0\0\0"),
    ],
)
def test_damaged(old: bytes, new: bytes) -> None:
    data = EXECUTABLE_.serialize()
    assert old in data
    with pytest.raises(VulkanError) as caught:
        SpirvExecutable.deserialize(data.replace(old, new))
    assert caught.value.number == EXECUTABLE
