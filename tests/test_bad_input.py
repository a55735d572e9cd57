"""What users get wrong costs one coded line with cause and next step, the right status, and no file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
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


def test_a_missing_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(*iree(capsys, "compile", "none.onnx", "-o", "x.vmfb"), 2, "none.onnx", "No such file")


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


def test_unsupported_operators_are_all_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.unsupported(folder / "x.onnx")
    check(*iree(capsys, "compile", "x.onnx"), 1, "Mystery", "first_mystery", "Enigma", "second_enigma")


def test_an_unknown_target_lists_the_installed_ones(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.add(folder / "x.onnx")
    found = iree(capsys, "compile", "x.onnx", "--target", "quantum")
    check(*found, 2, "quantum", "llvm-cpu", "reference", "pip install")


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


class PlainMachine:
    """This machine without its CPU's features."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def cpu_features(self) -> frozenset[str]:
        return frozenset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_an_artefact_for_a_feature_this_machine_lacks(
    artifacts: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from iree_hal import platform

    if platform.machine() != "x86_64":
        pytest.skip("the features below are those of x86-64")
    assert (
        iree(capsys, "compile", artifacts / "mlp.onnx", "--target-cpu", "x86-64-v3", "-o", "v3.vmfb")[0] == 0
    )
    plain = PlainMachine(platform.current())
    monkeypatch.setattr(platform, "current", lambda: plain)
    found = iree(capsys, "run", "v3.vmfb", "--input", "1x8xf32=0")
    check(*found, 3, "IREE-VM-041", "avx2", "--target-cpu")


def test_a_plugin_that_raises_on_import_harms_no_other(
    folder: Path, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad_plugin.py").write_text("raise RuntimeError('broken on import')\n")
    info = folder / "bad_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "".join(f"[{group}]\nbad = bad_plugin\n" for group in ("iree.runtime", "iree.compiler", "iree.cli"))
    )
    np.save(folder / "x.npy", np.zeros((1, 8), np.float32))

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from iree_cli.main import main; main()"
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True
        )

    assert command("run", str(artifacts / "mlp.vmfb"), "--input", "@x.npy").returncode == 0
    assert command("compile", str(artifacts / "mlp.onnx"), "-o", "mlp.vmfb").returncode == 0
    doctor = command("plugins", "doctor")
    assert doctor.returncode == 1
    assert doctor.stdout.count("broken on import") == 3
    used = command("compile", str(artifacts / "mlp.onnx"), "--target", "bad", "-o", "other.vmfb")
    check(used.returncode, used.stderr, 2, "bad-plugin 1.0", "broken on import", "iree plugins doctor")
    assert not (folder / "other.vmfb").exists()
