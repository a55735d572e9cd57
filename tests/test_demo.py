"""The demo: every file of the example folder gets the type it has, the same as from onnxruntime."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "examples" / "files").iterdir())
sys.path.insert(0, str(ROOT / "examples"))

import classify_files  # noqa: E402
import make_files  # noqa: E402

KINDS = {
    ".bmp": "bmp", ".c": "c", ".csv": "csv", ".gz": "gzip", ".html": "html", ".js": "javascript",
    ".json": "json", ".pdf": "pdf", ".png": "png", ".py": "python", ".rs": "rust", ".sh": "shell",
    ".sql": "sql", ".sqlite": "sqlite", ".tar": "tar", ".txt": "txt", ".wav": "wav", ".yaml": "yaml",
    ".zip": "zip",
}  # fmt: skip


@pytest.fixture(scope="module")
def magika(model_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's ``magika`` folder: model and configuration."""
    cache = model_file("magika").parent
    place = tmp_path_factory.mktemp("magika-wheel")
    with zipfile.ZipFile(zoo.wheel(zoo.MAGIKA_WHEEL, cache)) as archive:
        names = [name for name in archive.namelist() if name.startswith(("magika/models/", "magika/config/"))]
        archive.extractall(place, names)
    return place / "magika"


def test_every_file_gets_its_type(magika: Path, magika_artifact: Path) -> None:
    rules = classify_files.Magika.open(magika)
    run = classify_files.compiled(magika_artifact)
    found = {path.name: rules.classify(path, run, seconds=0).label for path in FILES}
    assert found == {path.name: KINDS[path.suffix] for path in FILES}


def test_the_script_agrees_with_onnxruntime(magika: Path, magika_artifact: Path) -> None:
    pytest.importorskip("onnxruntime")
    script = ROOT / "examples" / "classify_files.py"
    arguments = ["--artifact", magika_artifact, "--magika", magika, "--seconds", "0", *FILES[:4]]
    done = subprocess.run([sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "disagree" not in done.stdout
    assert done.stdout.splitlines()[0].split()[:4] == ["file", "type", "score", "us/call"]


def test_files_too_short_for_the_model(magika: Path, tmp_path: Path) -> None:
    rules = classify_files.Magika.open(magika)

    def never(batch: object) -> None:
        raise AssertionError("the model is not asked")

    for content, label in ((b"", "empty"), (b"abc", "txt"), (b"\xff\xfe", "unknown"), (b" " * 40, "txt")):
        (tmp_path / "file").write_bytes(content)
        assert rules.classify(tmp_path / "file", never, seconds=0).label == label  # type: ignore[arg-type]


def test_the_made_files_are_the_committed_ones() -> None:
    for name, make in make_files.MAKERS.items():
        if name in ("database.sqlite", "notes.txt.gz", "gradient.png", "archive.zip"):
            continue  # their bytes depend on the versions of sqlite and zlib
        assert (make_files.FOLDER / name).read_bytes() == make(), name
