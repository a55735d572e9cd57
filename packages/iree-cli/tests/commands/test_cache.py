"""``iree cache``: says where the compiled kernels are, and removes them."""

import json

import pytest

from iree_cli import main
from iree_cli.commands import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    (place / "ab").mkdir(parents=True)
    (place / "ab" / "one").write_bytes(b"12345")
    (place / "two").write_bytes(b"678")
    monkeypatch.setattr(cache, "folder", lambda: place)
    return place


def test_show(folder, capsys):
    assert main.run(["cache", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder), "entries": 2, "bytes": 8}
    assert main.run(["cache", "show"]) == 0
    assert capsys.readouterr().out == f"{folder}: 2 entries, 8 B\n"


def test_clear(folder, capsys):
    assert main.run(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"{folder}: removed 2 entries, 8 B\n"
    assert main.run(["cache", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 0
