"""How the writer's file reaches the disk: whole, and in pieces that the system's memory allows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from iree_vm.artifact import writer


@pytest.mark.parametrize(("seconds", "pieces"), [(0.0, 1), (1.0, 8)])
def test_dear_pages_are_written_in_small_pieces(
    seconds: float, pieces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def thread_time() -> float:
        clock[0] += seconds
        return clock[0]

    monkeypatch.setattr("time.thread_time", thread_time)
    monkeypatch.setattr(writer, "_TOGETHER", 1 << 16)
    monkeypatch.setattr(writer, "_APART", 1 << 13)
    data = os.urandom(3 << 16)
    counts = []

    class Counted(writer._Pages):
        def write(self, part: Any, /) -> int:
            counts.append(super().write(part))
            return counts[-1]

    monkeypatch.setattr(writer, "_Pages", Counted)
    with writer.replacing(tmp_path / "file") as file:
        for start in range(0, len(data), 1 << 12):
            file.write(data[start : start + (1 << 12)])
        file.seek(7)
        file.write(b"patched")
    expected = bytearray(data)
    expected[7:14] = b"patched"
    assert (tmp_path / "file").read_bytes() == expected
    largest = [count for count in counts if count > 7]
    assert largest[0] == 1 << 16  # what the first piece cost decides
    assert len(largest) == 1 + 2 * pieces and set(largest[1:]) == {(1 << 16) // pieces}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
