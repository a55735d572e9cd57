"""``iree cache``: says where what is kept lies, and removes it; nothing else is ever touched."""

import json
import os
import time

import pytest

from iree_cli import main
from iree_cli.commands import cache

KEYS = [f"{i:02x}" * 20 for i in range(4)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of four kernels of 1000 bytes, the first used longest ago, among files of somebody else."""
    pytest.importorskip(
        "iree_codegen", reason="the compiler, whose cache this is, is an extra of this package"
    )
    monkeypatch.setenv("IREE_CACHE_DIR", str(tmp_path))
    now = time.time()
    for i, key in enumerate(KEYS):
        path = tmp_path / key[:2] / key
        path.parent.mkdir()
        path.write_bytes(bytes(1000))
        os.utime(path, (now - 86400 * (40 - 10 * i),) * 2)
    (tmp_path / "mine.txt").write_text("not a kernel")
    (tmp_path / "00" / "mine.txt").write_text("nor this")
    return tmp_path


def run(capsys, *arguments):
    assert main.run(["cache", *arguments, "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def left(folder):
    return [key for key in KEYS if (folder / key[:2] / key).exists()]


def test_info(folder, capsys):
    row = run(capsys, "info")["kernels"]
    assert (row["entries"], row["bytes"], row["folder"]) == (4, 4000, str(folder))
    assert row["limit"] > 1 << 20
    assert main.run(["cache", "info", "kernels"]) == 0
    text = capsys.readouterr().out.splitlines()
    assert len(text) == 2
    assert text[1].split()[:4] == ["kernels", "4", "4.0", "kB"]


def test_clear_leaves_what_is_not_its_own(folder, capsys):
    assert run(capsys, "clear")["kernels"]["removed"] == 4
    assert left(folder) == []
    assert (folder / "mine.txt").exists()
    assert (folder / "00" / "mine.txt").exists()
    assert run(capsys, "info", "kernels")["kernels"]["entries"] == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), KEYS),
        (("--unused-for", "25d"), KEYS[2:]),
        (("--unused-for", "25"), KEYS[2:]),
        (("--max-size", "2.8kB"), KEYS[2:]),
        (("--max-size", "0"), []),
        (("--max-size", "1GiB", "--unused-for", "999h"), KEYS),
    ],
)
def test_prune(folder, capsys, options, kept):
    row = run(capsys, "prune", "kernels", *options)["kernels"]
    assert left(folder) == kept
    assert row["bytes"] == 1000 * row["removed"] == 1000 * (4 - len(kept))


@pytest.mark.parametrize("arguments", [("prune", "--max-size", "much"), ("prune", "--unused-for", "long")])
def test_sizes_and_times_that_are_none(folder, capsys, arguments):
    assert main.run(["cache", *arguments]) == 2
    assert "give" in capsys.readouterr().err


def test_an_unknown_cache_names_those_there_are(folder, capsys):
    assert main.run(["cache", "clear", "nothing"]) != 0
    told = capsys.readouterr().err
    assert "there is no such cache" in told
    assert "kernels" in told
    assert left(folder) == KEYS


def test_every_cache_of_the_installation_is_listed(folder):
    assert {"kernels", "peaks"} <= cache.caches().keys()
