"""``iree verify`` on sources: every dispatch against the interpreter, the first that differs saved as a test."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from iree_cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.convolution(tmp_path / "net.onnx")
    return tmp_path


def verify(*arguments: Any) -> int:
    return main.run(["verify", *map(str, arguments)])


@pytest.fixture
def wrong_additions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target subtracts where a dispatch adds."""
    from iree_target_llvm.target import LlvmCpuTarget

    right = LlvmCpuTarget.compile_dispatch

    def compile_dispatch(self: Any, request: Any) -> Any:
        return right(self, replace(request, text=request.text.replace("arith.addf", "arith.subf")))

    monkeypatch.setattr(LlvmCpuTarget, "compile_dispatch", compile_dispatch)


@pytest.mark.parametrize("target", ["llvm-cpu", "reference"])
def test_a_right_model(folder: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert verify("net.onnx", "--target", target, "--json") == 0
    (facts,) = json.loads(capsys.readouterr().out)["verified"]
    assert (facts["status"], facts["target"]) == ("ok", target)
    assert len(facts["dispatches"]) > 3
    for dispatch in facts["dispatches"]:
        assert dispatch["sources"], dispatch
        assert 0 <= dispatch["worst"] <= 1
    assert sorted(path.name for path in folder.iterdir()) == ["net.onnx"]
    assert verify("net.onnx", "--target", target) == 0
    assert f"dispatches agree with the interpreter on {target}" in capsys.readouterr().out


def test_the_first_that_differs_is_saved_as_a_test(
    folder: Path, capsys: pytest.CaptureFixture[str], wrong_additions: None
) -> None:
    assert verify("net.onnx", "--save-to", "found") == 4
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("IREE-CLI-012")
    for word in (
        "linalg and native differ",
        "[at node_",
        "the native code is not",
        "next: pytest found/test_",
    ):
        assert word in error
    names = sorted(path.suffix for path in (folder / "found").iterdir())
    assert names == [".mlir", ".npz", ".py"]
    (test,) = (folder / "found").glob("test_*.py")
    scope: dict[str, Any] = {"__file__": str(test), "__name__": "saved"}
    exec(test.read_text(), scope)
    with pytest.raises(AssertionError, match="linalg and native differ"):
        scope[test.stem]()
    # With the target mended, in a process that knows nothing of this one, the saved test passes.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(test)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_artefact_with_its_source(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The artefact must hold the code that was compared."""
    assert main.run(["compile", "net.onnx", "-o", "net.vmfb"]) == 0
    assert verify("net.vmfb", "--source", "net.onnx") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "net.vmfb: ok"
    assert second.startswith("net.onnx: ")
    assert verify("net.vmfb", "--source", "net.onnx", "--target-cpu", "generic") == 4
    error = capsys.readouterr().err
    assert error.startswith("IREE-CLI-012")
    assert "net.vmfb holds other code" in error


def test_dynamic_sizes_are_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.mlp(folder / "mlp.onnx")
    assert verify("mlp.onnx") == 3
    assert "x: batchx8xf32" in capsys.readouterr().err
    assert verify("mlp.onnx", "--input", "x=3x8xf32=random:5", "--kernels") == 0
    assert verify("mlp.onnx", "--input-shape", "x=2x8") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("net.vmfb", "--seed", "1"),
        ("net.vmfb", "--kernels"),
        ("net.vmfb", "--target", "llvm-cpu"),
        ("net.onnx", "--source", "net.onnx"),
        ("net.vmfb", "net.vmfb", "--source", "net.onnx"),
    ],
)
def test_options_without_effect(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    (folder / "net.vmfb").write_bytes(b"never opened")
    assert verify(*arguments) == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-004")


def test_mistakes_are_coded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "text.onnx").write_text("no model")
    for arguments, status in {
        ("none.onnx",): 2,
        ("text.onnx",): 1,
        ("net.onnx", "--target", "quantum"): 2,
        ("net.onnx", "--function", "side"): 2,
        ("net.onnx", "--save-to", "nowhere/found"): 2,
        ("net.onnx", "--input", "x=1x3x12x13xf32=0"): 2,
    }.items():
        assert verify(*arguments) == status, arguments
        error = capsys.readouterr().err
        assert error.startswith("IREE-"), error
        assert "IREE-CLI-100" not in error
        assert len(error.splitlines()) == 1
