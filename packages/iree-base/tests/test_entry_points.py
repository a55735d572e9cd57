"""Entry points read from files are those that importlib.metadata finds."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from iree_base import entry_points as module
from iree_base.entry_points import distribution, entry_points, version


def _distribution(folder: Path, name: str, text: str | None, version: str = "1.0") -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if text is not None:
        (info / "entry_points.txt").write_text(text)


@pytest.mark.parametrize(
    "group", ["iree.runtime", "iree.compiler", "console_scripts", "pytest11", "none.such"]
)
def test_the_environment_looks_the_same(group: str) -> None:
    ours = sorted((e.name, e.value) for e in entry_points(group))
    theirs = sorted((e.name, e.value.partition("[")[0].strip()) for e in metadata.entry_points(group=group))
    assert ours == theirs


@pytest.mark.parametrize("name", ["iree-base", "iree_base", "numpy", "PyTest"])
def test_versions_are_those_of_the_environment(name: str) -> None:
    assert version(name) == metadata.version(name)
    found = distribution(name)
    assert found is not None
    assert metadata.Distribution.at(found[1]).version == found[0]


def test_what_is_not_installed_has_no_version() -> None:
    assert version("no-such-distribution") is None
    assert distribution("no-such-distribution") is None


def test_what_an_entry_point_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _distribution(
        tmp_path, "my_plugin", "[other]\na = b\n\n[g]\n# note\none = os.path:join\ntwo=json [extra]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    one, two = sorted(entry_points("g"), key=lambda e: e.name)
    assert (one.name, one.value, one.group) == ("one", "os.path:join", "g")
    assert one.load() is os.path.join
    assert two.load().__name__ == "json"
    assert (one.dist.name, one.dist.version) == ("my_plugin", "1.0")


def test_the_first_distribution_of_a_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        _distribution(
            tmp_path / str(number), "My.Plugin" if number == 1 else "my_plugin", f"[g]\nx = m{number}\n"
        )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "1"), str(tmp_path / "2"), *sys.path])
    assert [e.value for e in entry_points("g")] == ["m1"]


def test_what_is_installed_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    _distribution(tmp_path, "first", "[g]\nx = m\n")
    assert [e.name for e in entry_points("g")] == ["x"]
    _distribution(tmp_path, "second", "[g]\ny = m\n")
    os.utime(tmp_path, ns=(1, 1))  # clocks of file systems may be too coarse to see the change
    assert sorted(e.name for e in entry_points("g")) == ["x", "y"]


def test_damaged_files_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _distribution(tmp_path, "none", None)
    _distribution(tmp_path, "odd", "no section\n= \n[g\n")
    (tmp_path / "bytes-1.dist-info").mkdir()
    (tmp_path / "bytes-1.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[g]")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert entry_points("g") == []


def test_other_finders_are_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_distributions(context: object) -> list[object]:
            return []

    assert module._plain()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert not module._plain()
    assert {e.name for e in entry_points("iree.runtime")} == {
        e.name for e in metadata.entry_points(group="iree.runtime")
    }


def test_discovery_imports_no_metadata() -> None:
    code = (
        "import sys; from iree_base.entry_points import entry_points; entry_points('iree.runtime');"
        "assert 'importlib.metadata' not in sys.modules and 'email' not in sys.modules"
    )
    assert (
        subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
        ).returncode
        == 0
    )
