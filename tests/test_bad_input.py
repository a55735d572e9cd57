"""What users get wrong, in its variants and in process. ``test_bad_input_command.py`` types each mistake once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import tiny

from iree_cli import main


def iree(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str]:
    """Run a command line; the status and what it said on stderr."""
    status = main.run([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


def check(status: int, error: str, expected: int, *words: str) -> None:
    first = error.splitlines()[0] if error else ""
    assert first.startswith("IREE-"), error
    assert "IREE-CLI-100" not in first
    assert "Traceback" not in error
    assert status == expected, error
    for word in words:
        assert word in error, (word, error)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``mlp.vmfb`` and ``gather.vmfb``."""
    import iree_flow

    place = tmp_path_factory.mktemp("artifacts")
    for make in (tiny.mlp, tiny.gather):
        name = make.__name__
        iree_flow.compile(make(place / f"{name}.onnx")).save(place / f"{name}.vmfb")
    return place


# -- compiling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"not a model at all, but text", bytes(range(256)) * 40])
def test_not_onnx(folder: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    (folder / "x.onnx").write_bytes(data)
    check(*iree(capsys, "compile", "x.onnx", "-o", "x.vmfb"), 1, "x.onnx")
    assert not (folder / "x.vmfb").exists()


def test_an_unknown_kind_of_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.pdf").write_bytes(b"%PDF-1.4")
    check(*iree(capsys, "compile", "x.pdf", "-o", "x.vmfb"), 1, "x.pdf")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated_onnx(folder: Path, capsys: pytest.CaptureFixture[str], part: float) -> None:
    data = tiny.convolution(folder / "x.onnx").read_bytes()
    (folder / "x.onnx").write_bytes(data[: int(len(data) * part)])
    check(*iree(capsys, "compile", "x.onnx", "-o", "x.vmfb"), 1, "x.onnx")
    assert not (folder / "x.vmfb").exists()


def test_wrong_names_and_shapes_of_inputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.mlp(folder / "x.onnx")
    status, error = iree(capsys, "compile", "x.onnx", "--input-shape", "nothing=1x8")
    assert status in (1, 2)
    check(status, error, status, "nothing")
    status, error = iree(capsys, "compile", "x.onnx", "--input-shape", "x=1x9")
    assert status in (1, 2)
    check(status, error, status, "x")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--compile-to", "nowhere"),
        ("--compile-from", "stream", "--compile-to", "input"),
        ("--target-features", "+warp-drive"),
        ("--target-cpu", "i4004"),
    ],
)
def test_options_that_make_no_sense(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    tiny.add(folder / "x.onnx")
    check(*iree(capsys, "compile", "x.onnx", *arguments), 2)
    assert [path.name for path in folder.iterdir()] == ["x.onnx"]


@pytest.mark.parametrize("more", [(), ("--compile-to", "input")])
def test_devices_and_pipes_are_not_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    """With the rights to do so, renaming a finished file would do away with ``/dev/null``."""
    from iree_base.errors import IreeError

    tiny.add(folder / "x.onnx")
    os.mkfifo(folder / "out")
    check(*iree(capsys, "compile", "x.onnx", "-o", "out", *more), 2, "IREE-CLI-003", "a pipe")
    import iree_flow

    made = iree_flow.compile(folder / "x.onnx", **({"compile_to": "input"} if more else {}))
    with pytest.raises(IreeError, match="no file"):
        made.save(folder / "out")
    assert (folder / "out").is_fifo()
    assert sorted(path.name for path in folder.iterdir() if path.name != "out.constants") == ["out", "x.onnx"]


# -- running ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "status", "word"),
    [
        ((), 2, "x"),
        (("x=1x8xf32=0", "1x8xf32=0"), 2, "takes 1"),
        (("nothing=1x8xf32=0",), 2, "nothing"),
        (("x=1x9xf32=0",), 2, "x"),
        (("x=8xf32=0",), 2, "x"),
        (("x=1x8xi64=0",), 2, "x"),
    ],
)
def test_wrong_inputs(
    artifacts: Path, capsys: pytest.CaptureFixture[str], inputs: tuple[str, ...], status: int, word: str
) -> None:
    arguments = [part for text in inputs for part in ("--input", text)]
    check(*iree(capsys, "run", artifacts / "mlp.vmfb", *arguments), status, word)


def test_an_index_out_of_range_names_the_node(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = artifacts / "gather.vmfb"
    assert iree(capsys, "run", model, "--input", "ids=0 9 3 4 5")[0] == 0
    check(*iree(capsys, "run", model, "--input", "ids=0 10 3 4 5"), 3, "lookup")
    assert iree(capsys, "run", model, "--input", "ids=0 9 3 4 5")[0] == 0


def test_an_artefact_of_another_version(
    artifacts: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import iree_flow
    from iree_vm.artifact import manifest

    with monkeypatch.context() as later:
        later.setattr(manifest, "FORMAT_VERSION", (2, 0))
        iree_flow.compile(artifacts / "mlp.onnx").save(folder / "later.vmfb")
    for command in ("run", "inspect", "verify"):
        check(*iree(capsys, command, "later.vmfb"), 4, "IREE-VM-053", "2.0")
