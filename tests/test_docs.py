"""Documents are true: links lead somewhere, Python blocks run, what the layout names exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "packages/*/*.md")
    for path in ROOT.glob(pattern)
    if "build" not in path.parts
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files(document: Path) -> None:
    text = BLOCK.sub("", document.read_text())
    targets = [target.partition("#")[0] for target in LINK.findall(text) if "://" not in target]
    missing = [target for target in targets if target and not (document.parent / target).exists()]
    assert not missing


def test_the_rules_name_tests_that_exist() -> None:
    text = (ROOT / "docs" / "data-rules.md").read_text()
    links = re.findall(r"\[(\w+\.py(?:::\w+)?)\]\(([^)]*)\)", text)
    assert links
    for label, target in links:
        path = (ROOT / "docs" / target).resolve()
        file, _, function = label.partition("::")
        assert path.name == file, label
        if function:
            assert re.search(rf"^\s*def {re.escape(function)}\b", path.read_text(), re.MULTILINE), label


def blocks(language: str) -> Iterator[Any]:
    """All blocks of a document form one program; ``python no-run`` marks a sketch that is none."""
    for document in DOCUMENTS:
        code = [
            m[3] for m in BLOCK.finditer(document.read_text()) if m[1] == language and "no-run" not in m[2]
        ]
        if code:
            yield pytest.param(document, "\n".join(code), id=name(document))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where blocks run: ``model.onnx`` and ``model.vmfb`` with ``x: f32[batch, 8] -> y: f32[batch, 4]``."""
    import iree_flow

    place = tmp_path_factory.mktemp("documents")
    iree_flow.compile(tiny.mlp(place / "model.onnx")).save(place / "model.vmfb")
    return place


@pytest.mark.parametrize(("document", "code"), list(blocks("python")))
def test_python_blocks_run(document: Path, code: str, model_folder: Path, tmp_path: Path) -> None:
    for path in model_folder.iterdir():
        shutil.copy(path, tmp_path)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_layout_names_every_package_and_folder() -> None:
    text = (ROOT / "docs" / "layout.md").read_text()
    packages = [path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")]
    listed = re.findall(r"^\| \[(iree-[a-z-]+)\]", text, re.MULTILINE)
    assert sorted(listed) == sorted(packages)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:
        folders = {line.partition("/")[0] for line in tracked.stdout.splitlines() if "/" in line}
        for folder in folders - {"packages"}:
            assert f"`{folder}/" in text or f"{folder}/run`" in text, folder


def test_files_named_in_the_layout_exist() -> None:
    text = (ROOT / "docs" / "layout.md").read_text()
    for path in re.findall(r"`(iree_[a-z_]+)(/[\w/]+\.py)`", text):
        module, rest = path
        file = ROOT / "packages" / module.replace("_", "-") / "src" / module / rest.lstrip("/")
        assert file.exists(), file
