"""No kernel takes more than 4 KiB of its thread's stack: read from what its functions begin with."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

import iree_flow
from iree_hal.elf.parse import parse

LIMIT = 4096
SUB_RSP = re.compile(rb"\x48\x81\xec(....)|\x48\x83\xec(.)", re.DOTALL)
"""``sub rsp, imm32`` and ``sub rsp, imm8``: how a frame is made on x86-64."""
PROLOGUE = 96
EXECUTABLE = 4


def frames(data: memoryview) -> dict[str, int]:
    """Bytes of stack by function of an object, of those that take any."""
    found = {}
    elf = parse(data)
    for symbol in elf.symbols:
        if not symbol.name or not 0 < symbol.section < len(elf.sections):
            continue
        section = elf.sections[symbol.section]
        begins = bytes(section.data[symbol.value : symbol.value + PROLOGUE])
        match = SUB_RSP.search(begins) if section.flags & EXECUTABLE else None
        if match is not None:
            found[symbol.name] = int.from_bytes(match[1] or match[2], "little")
    return found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions are those of x86-64")
def test_frames_are_small(network: tuple[str, Path]) -> None:
    artifact = iree_flow.compile(network[1])
    sizes: dict[str, int] = {}
    for entry in artifact.manifest.executables:
        sizes |= frames(artifact.member(entry.member))
    assert sizes, "some function of some kernel has a frame"
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}
