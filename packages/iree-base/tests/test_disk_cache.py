"""Caches on disk: bounded, least recently used first, safe between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iree_base.disk_cache import LEDGER, TEMPORARY, DiskCache

PATTERN = r"[a-z]/[0-9]+|top[0-9]+"


def _cache(path: Path, limit: int = 10_000) -> DiskCache:
    return DiskCache(path, PATTERN, "tests", limit)


def _fill(cache: DiskCache, count: int, nbytes: int = 1000) -> list[str]:
    names = [f"{'abc'[i % 3]}/{i}" for i in range(count)]
    for i, name in enumerate(names):
        assert cache.write(name, bytes(nbytes))
        os.utime(cache.directory / name, (1000 + i, 1000 + i))
    return names


def _names(cache: DiskCache) -> set[str]:
    return {entry.path.relative_to(cache.directory).as_posix() for entry in cache.entries()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cache = _cache(tmp_path / "deep" / "folder")
    assert cache.read("a/1") is None
    assert cache.write("a/1", b"one")
    assert cache.write("a/1", b"two")
    assert cache.read("a/1") == b"two"
    cache.remove("a/1")
    cache.remove("a/1")
    assert cache.read("a/1") is None


def test_only_files_of_the_pattern_count(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    names = _fill(cache, 4)
    others = [tmp_path / "a" / "other", tmp_path / "mine", tmp_path / "a" / "deep" / "1"]
    others[2].parent.mkdir()
    for path in others:
        path.write_text("keep")
    assert _names(cache) == set(names)
    assert len(cache.prune(0)) == 4
    _fill(cache, 4)
    assert len(cache.clear()) == 4
    assert all(path.read_text() == "keep" for path in others)


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = _cache(tmp_path, 8000)
    names = _fill(cache, 9)
    assert cache.read(names[0]) is not None  # used now
    removed = cache.prune()
    assert [entry.path.relative_to(tmp_path).as_posix() for entry in removed] == names[1:4]
    assert names[0] in _names(cache)
    assert cache.prune() == []


def test_old_ones_go_even_when_there_is_room(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    names = _fill(cache, 3)
    os.utime(tmp_path / names[1])
    assert len(cache.prune(unused_seconds=3600)) == 2
    assert _names(cache) == {names[1]}


def test_old_ones_make_room_first(tmp_path: Path) -> None:
    cache = _cache(tmp_path, 8000)
    names = _fill(cache, 9)
    for name in names[2:]:
        os.utime(tmp_path / name)
    # What is left without the two old ones is below the limit, if not below three quarters of it.
    assert len(cache.prune(unused_seconds=3600)) == 2
    assert _names(cache) == set(names[2:])


def test_writers_settle_without_looking_at_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = _cache(tmp_path, 10_000)
    looks = []
    entries = DiskCache.entries
    monkeypatch.setattr(DiskCache, "entries", lambda self: looks.append(1) or entries(self))
    for i in range(40):
        cache.write(f"a/{i}", bytes(1000))
        cache.settle(1000)
        assert sum(e.bytes for e in entries(cache)) <= 10_000
    # The first look finds out what is there, the others come once a quarter of the limit was written.
    assert 2 <= len(looks) <= 2 + 40 // 2


def test_a_damaged_ledger_is_written_again(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    _fill(cache, 12)
    for text in ("", "{}", "[1]", '{"bytes": "x"}'):
        (tmp_path / LEDGER).write_text(text)
        cache.settle(1)
        assert sum(entry.bytes for entry in cache.entries()) <= cache.max_bytes
        assert cache.prune() == []


def test_what_dead_writers_left_is_removed_in_time(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    _fill(cache, 1)
    old, new = tmp_path / "a" / f"{TEMPORARY}old", tmp_path / "a" / f"{TEMPORARY}new"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.prune()
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_is_no_error(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    cache = _cache(blocker)
    assert not cache.write("a/1", b"x")
    assert cache.read("a/1") is None
    assert cache.entries() == []
    cache.settle(5)
    assert cache.prune() == []
    assert cache.clear() == []


WRITER = """
import sys
from pathlib import Path
from iree_base.disk_cache import DiskCache
cache = DiskCache(Path(sys.argv[1]), r"[a-z]/[0-9]+", "tests", 20_000)
for round in range(120):
    for i in range(8):
        data = str(i).encode() * 500
        assert cache.write(f"{'abcd'[i % 4]}/{i}", data), "not written"
        found = cache.read(f"{'abcd'[i % 4]}/{i}")
        assert found in (None, data), "damaged"
    cache.settle(8 * 500)
"""
REMOVER = """
import sys
from pathlib import Path
from iree_base.disk_cache import DiskCache
cache = DiskCache(Path(sys.argv[1]), r"[a-z]/[0-9]+", "tests", 20_000)
for round in range(150):
    cache.clear() if round % 2 else cache.prune(1000)
"""


def test_processes_write_prune_and_clear_at_once(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        for code in (WRITER, WRITER, REMOVER, REMOVER)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    cache = DiskCache(tmp_path, r"[a-z]/[0-9]+", "tests", 20_000)
    assert sum(entry.bytes for entry in cache.entries()) <= 20_000
    assert not list(tmp_path.rglob(f"{TEMPORARY}*"))
