"""The pipeline cache on disk: found again, merged, atomic; damage is a cold start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NAME = "10de-2330-0a1b2c.bin"


@pytest.fixture
def files(device: Any) -> Any:
    from iree_target_vulkan import pipeline_cache

    return pipeline_cache


def test_data_is_found_again(files: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / NAME
    files.write(path, b"driver's data")
    assert files.read(path) == b"driver's data"
    assert [e.path.name for e in files.disk_cache(path.parent).entries()] == [NAME]


@pytest.mark.parametrize("damage", ["flip", "cut", "magic", "empty"])
def test_damage_is_a_cold_start(files: Any, tmp_path: Path, damage: str) -> None:
    path = tmp_path / NAME
    files.write(path, bytes(range(200)))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-7] ^= 1
    elif damage == "cut":
        del data[-3:]
    elif damage == "magic":
        data[0] ^= 1
    else:
        data.clear()
    path.write_bytes(bytes(data))
    assert files.read(path) == b""
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_not_an_error(files: Any, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    files.write(blocker / NAME, b"data")
    assert files.read(blocker / NAME) == b""


def test_the_variable_names_the_directory(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IREE_CACHE_DIR", str(tmp_path))
    assert files.directory() == tmp_path / "vulkan"


def test_a_device_saves_and_loads_its_cache(
    device: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IREE_CACHE_DIR", str(tmp_path))
    first = files.PipelineCache(device.logical)
    assert first.loaded_bytes == 0
    first._saved = b""  # as if a pipeline had been made: this driver may keep nothing in its cache
    first.save()
    assert first.path.parent == tmp_path / "vulkan"
    second = files.PipelineCache(device.logical)
    assert second.loaded_bytes == len(first.data())
    second._saved = b""
    second.save()  # merges with what the file has
    assert files.read(first.path) == second.data()


def test_foreign_data_is_ignored_by_the_driver(
    device: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IREE_CACHE_DIR", str(tmp_path))
    path = files.PipelineCache(device.logical).path
    files.write(path, b"\x20\0\0\0\1\0\0\0" + b"another device's" * 20)
    assert files.PipelineCache(device.logical).handle is not None
