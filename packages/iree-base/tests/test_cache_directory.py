"""Where caches lie: the variable wins, with a folder of its own for those that want one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from iree_base.cache_directory import VARIABLE, cache_directory


def test_the_variable_names_the_place_of_all_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cache_directory("mine") == tmp_path
    assert cache_directory("mine", "own") == tmp_path / "own"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG's variable counts on other systems")
@pytest.mark.parametrize("unset", ["", None])
def test_otherwise_it_is_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: str | None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if unset is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, unset)
    assert cache_directory("mine", "own") == tmp_path / "mine"
