"""The compile cache: hits, misses, damage, bounds, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from iree_base.cache_directory import VARIABLE
from iree_codegen.cache import CompileCache, code_version, default_directory
from iree_core_ir.target import DispatchRequest, ExecutableObject, ExportObject, TargetDescription

KEY = "ab" * 20
EXPORT = ExportObject("f", ("read", "write"), 2, (["arg", 0], ["const", 1], ["const", 1]), 64, (1, 1))
OBJECT = ExecutableObject(b"\x7fELF...", (EXPORT,), ("avx2",), {"strategy": "plain-loops", "why": "test"})
REQUEST = DispatchRequest("f", "func.func @f() { return }", TargetDescription("fake"))


def test_what_is_put_is_found(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    key = cache.key(REQUEST, ["numpy"])
    assert cache.get(key) is None
    cache.put(key, OBJECT)
    assert CompileCache(tmp_path).get(key) == OBJECT


def test_the_key_covers_everything(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    base = cache.key(REQUEST, ["numpy"])
    others = [
        replace(REQUEST, text="func.func @f() { }"),
        replace(REQUEST, name="g"),
        replace(REQUEST, options={"a": 1}),
        replace(REQUEST, description=TargetDescription("fake", ("avx2",))),
    ]
    keys = {cache.key(r, ["numpy"]) for r in others} | {cache.key(REQUEST, ["numpy", "pytest"])}
    assert base not in keys and len(keys) == 5
    assert base == cache.key(REQUEST, ["numpy"])


def test_versions_name_the_code() -> None:
    assert code_version("numpy").startswith("numpy==")
    assert code_version("no-such-distribution").endswith("==?")


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_entry_is_a_miss(tmp_path: Path, damage: str) -> None:
    cache = CompileCache(tmp_path)
    cache.put(KEY, OBJECT)
    path = tmp_path / "ab" / KEY
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-3] ^= 1
    path.write_bytes(
        b"" if damage == "empty" else bytes(data[: len(data) // 2] if damage == "truncate" else data)
    )
    assert cache.get(KEY) is None
    assert not path.exists()


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path, max_bytes=4000)
    big = replace(OBJECT, data=bytes(900))
    keys = [f"00{i:038x}" for i in range(8)]
    for i, key in enumerate(keys):
        cache.put(key, big)
        os.utime(tmp_path / "00" / key, (i, i))
    cache.trim()
    entries = {e.path.name: e.bytes for e in cache.files.entries()}
    assert keys[-1] in entries and keys[0] not in entries
    assert sum(entries.values()) <= 4000


def test_an_unusable_directory_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    cache = CompileCache(file)
    cache.put(KEY, OBJECT)
    assert cache.get(KEY) is None


def test_processes_share_it(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from iree_codegen.cache import CompileCache
from iree_core_ir.target import ExecutableObject, ExportObject
cache = CompileCache(Path(sys.argv[1]))
export = ExportObject("f", ("read",), 0, (["const", 1],) * 3)
for round in range(50):
    for key in ("ab" * 20, "ab" + "0" * 38, "cd" * 20):
        cache.put(key, ExecutableObject(key.encode() * 500, (export,)))
        found = cache.get(key)
        assert found is None or found.data == key.encode() * 500
"""
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [w.wait() for w in workers] == [0, 0, 0]
    assert not list(tmp_path.rglob(".new-*"))


def test_the_directory_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert default_directory() == tmp_path
