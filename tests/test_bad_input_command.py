"""What users get wrong, typed into the command: each mistake costs one line, the right status, and no file.

Every case is a process of its own, started in a folder with all the files below. The line on stderr begins
with a code and says the cause and the next step; there is no traceback, nothing on stdout, and the folder
holds afterwards what it held before. Variants of the same mistakes, in process: ``test_bad_input.py``.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tiny

COMMAND = "from iree_cli.main import main; main()"
PLAIN_CPU = f"""
from iree_hal import platform
class Plain:
    def __init__(self, real): self.real = real
    def cpu_features(self): return frozenset()
    def __getattr__(self, name): return getattr(self.real, name)
plain = Plain(platform.current())
platform.current = lambda: plain
{COMMAND}
"""
"""The command on a machine like this one whose CPU has no feature beyond its architecture's first."""

COMPILE, USAGE, RUNTIME, ARTIFACT = 1, 2, 3, 4


@dataclass(frozen=True)
class Mistake:
    """``words`` stand in the line, ``next_step`` behind its ``next:``."""

    arguments: Sequence[str]
    status: int
    code: str
    words: Sequence[str]
    next_step: str
    program: str = field(default=COMMAND)


def run(model: str, *inputs: str) -> tuple[str, ...]:
    """``iree run`` that would write ``out.npz``."""
    return ("run", model, *(part for text in inputs for part in ("--input", text)), "--output", "@out.npz")


def compile(source: str, *more: str) -> tuple[str, ...]:
    return ("compile", source, "-o", "out.vmfb", *more)


MISTAKES = {
    "a source that is not there": Mistake(
        compile("none.onnx"), USAGE, "IREE-CLI-002", ("none.onnx", "No such file"), "check the path"
    ),
    "an artefact that is not there": Mistake(
        run("none.vmfb"), USAGE, "IREE-CLI-002", ("none.vmfb", "No such file"), "check the path"
    ),
    "text that is called a model": Mistake(
        compile("text.onnx"), COMPILE, "IREE-ONNX-002", ("text.onnx", "begins with"), ".onnx file"
    ),
    "a truncated model": Mistake(
        compile("cut.onnx"),
        COMPILE,
        "IREE-ONNX-003",
        ("cut.onnx", "bytes after the data"),
        "export the model again",
    ),
    "operators that nobody knows, all of them": Mistake(
        compile("unsupported.onnx"),
        COMPILE,
        "IREE-ONNX-004",
        ("2 nodes", "Mystery", "'first_mystery'", "Enigma", "'second_enigma'"),
        "onnx-coverage",
    ),
    "a target that is not installed": Mistake(
        compile("mlp.onnx", "--target", "quantum"),
        USAGE,
        "IREE-BASE-003",
        ("quantum", "installed: ", "llvm-cpu", "reference"),
        "pip install",
    ),
    "a folder that is not there": Mistake(
        ("compile", "mlp.onnx", "-o", "nowhere/out.vmfb"), USAGE, "IREE-CLI-003", ("nowhere",), "mkdir"
    ),
    "an input missing": Mistake(
        run("mlp.vmfb"), USAGE, "IREE-CLI-007", ("x: batchx8xf32", "takes 1, 0 given"), "--input x="
    ),
    "an input too many": Mistake(
        run("mlp.vmfb", "x=1x8xf32=0", "1x8xf32=0"), USAGE, "IREE-CLI-008", ("takes 1",), "each input once"
    ),
    "an input of another name": Mistake(
        run("mlp.vmfb", "image=1x8xf32=0"),
        USAGE,
        "IREE-CLI-008",
        ("'image'", "x: batchx8xf32"),
        "name one of them",
    ),
    "an input of another shape": Mistake(
        run("mlp.vmfb", "x=1x9xf32=0"),
        USAGE,
        "IREE-VM-022",
        ("'x'", "f32[1, 9]", "f32[batch, 8]"),
        "8 elements along axis 1",
    ),
    "an input of another rank": Mistake(
        run("mlp.vmfb", "x=8xf32=0"), USAGE, "IREE-VM-022", ("'x'", "f32[8]"), "2 dimensions"
    ),
    "an input of another dtype": Mistake(
        run("mlp.vmfb", "x=1x8xi64=0"), USAGE, "IREE-VM-023", ("'x'", "got i64, f32 wanted"), "convert it"
    ),
    "an index out of range, by the node it reaches": Mistake(
        run("gather.vmfb", "ids=0 10 3 4 5"),
        RUNTIME,
        "IREE-VM-030",
        ("index out of range", "[at lookup]", "outside of the dimension"),
        "check the inputs",
    ),
    "a model that was not compiled": Mistake(
        run("mlp.onnx", "x=1x8xf32=0"), ARTIFACT, "IREE-VM-051", ("mlp.onnx",), "iree compile"
    ),
    "an artefact cut short": Mistake(
        run("cut.vmfb", "x=1x8xf32=0"), ARTIFACT, "IREE-VM-052", ("cut.vmfb", "end of the file"), "again"
    ),
    "an artefact of another version": Mistake(
        run("later.vmfb", "x=1x8xf32=0"), ARTIFACT, "IREE-VM-053", ("2.0", "this runtime reads"), "iree-vm"
    ),
    "an artefact for features that this CPU lacks": Mistake(
        run("v3.vmfb", "x=1x8xf32=0"),
        RUNTIME,
        "IREE-VM-041",
        ("avx2", "fma"),
        "compile for this machine",
        program=PLAIN_CPU,
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that are right and wrong, and artefacts of them."""
    import iree_flow
    from iree_vm.artifact import manifest

    place = tmp_path_factory.mktemp("mistakes")
    for make in (tiny.mlp, tiny.gather, tiny.unsupported):
        make(place / f"{make.__name__}.onnx")
    model = (place / "mlp.onnx").read_bytes()
    (place / "cut.onnx").write_bytes(model[: len(model) // 2])
    (place / "text.onnx").write_text("this is no model\n")
    iree_flow.compile(place / "gather.onnx").save(place / "gather.vmfb")
    iree_flow.compile(place / "mlp.onnx").save(place / "mlp.vmfb")
    iree_flow.compile(
        place / "mlp.onnx", target_cpu="x86-64-v3", target_triple="x86_64-unknown-linux-gnu"
    ).save(place / "v3.vmfb")
    whole = (place / "mlp.vmfb").read_bytes()
    (place / "cut.vmfb").write_bytes(whole[:-1000])
    with pytest.MonkeyPatch.context() as later:
        later.setattr(manifest, "FORMAT_VERSION", (2, 0))
        iree_flow.compile(place / "mlp.onnx").save(place / "later.vmfb")
    return place


def contents(folder: Path) -> dict[str, int]:
    """Files by name with the time of their last change."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def command(
    folder: Path, arguments: Sequence[str], program: str = COMMAND, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_costs_one_line(folder: Path, name: str) -> None:
    mistake = MISTAKES[name]
    if mistake.program == PLAIN_CPU and platform.machine() != "x86_64":
        pytest.skip("the features are those of x86-64")
    before = contents(folder)
    done = command(folder, mistake.arguments, mistake.program)
    assert done.returncode == mistake.status, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    found = re.fullmatch(r"(?P<code>IREE-[A-Z]+-\d{3}): (?P<what>.+); next: (?P<next>.+)", lines[0])
    assert found is not None, f"no code or no next step: {lines[0]}"
    assert found["code"] == mistake.code
    for word in mistake.words:
        assert word in found["what"], lines[0]
    assert mistake.next_step in found["next"], lines[0]
    assert contents(folder) == before, "a file was left behind or changed"


def test_what_was_there_stays_when_a_command_fails(folder: Path, tmp_path: Path) -> None:
    """An older result is neither removed nor half replaced."""
    for name, arguments in {
        "out.vmfb": ("compile", folder / "unsupported.onnx", "-o", "out.vmfb"),
        "out.npz": ("run", folder / "gather.vmfb", "--input", "ids=0 1 2 3 99", "--output", "@out.npz"),
    }.items():
        (tmp_path / name).write_bytes(b"an older result")
        assert command(tmp_path, [str(a) for a in arguments]).returncode in (COMPILE, RUNTIME)
        assert (tmp_path / name).read_bytes() == b"an older result"
    assert sorted(contents(tmp_path)) == ["out.npz", "out.vmfb"]


def test_json_holds_the_same_facts(folder: Path) -> None:
    """For programs: the error as an object on stdout, beside the line on stderr."""
    import json

    done = command(folder, ["run", "mlp.vmfb", "--input", "x=1x9xf32=0", "--json"])
    assert done.returncode == USAGE
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "IREE-VM-022"
    assert error["cause"] and error["hint"]
    assert error["cause"] in done.stderr and error["hint"] in done.stderr


def test_a_plugin_that_raises_on_import_harms_no_other(folder: Path, tmp_path: Path) -> None:
    """Others go on working and say nothing of it; ``iree plugins doctor`` tells; asked for, it is an error."""
    (tmp_path / "bad_plugin.py").write_text("raise RuntimeError('broken on import')\n")
    info = tmp_path / "bad_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1.0\n")
    groups = ("iree.runtime", "iree.compiler", "iree.cli")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\nbad = bad_plugin\n" for group in groups))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])

    def with_plugin(*arguments: str) -> subprocess.CompletedProcess[str]:
        return command(tmp_path, arguments, PYTHONPATH=path)

    ran = with_plugin("run", str(folder / "mlp.vmfb"), "--input", "x=1x8xf32=0")
    assert (ran.returncode, ran.stderr) == (0, "")
    made = with_plugin("compile", str(folder / "mlp.onnx"), "-o", "mlp.vmfb")
    assert made.returncode == 0
    assert "bad" not in made.stderr
    doctor = with_plugin("plugins", "doctor")
    assert doctor.returncode == 1
    assert doctor.stdout.count("broken on import") == len(groups)
    assert "Traceback" not in doctor.stderr
    before = contents(tmp_path)
    used = with_plugin("compile", str(folder / "mlp.onnx"), "--target", "bad", "-o", "other.vmfb")
    assert used.returncode == USAGE
    (line,) = used.stderr.splitlines()
    assert line.startswith("IREE-BASE-")
    for word in ("bad-plugin 1.0", "broken on import", "; next: ", "iree plugins doctor"):
        assert word in line
    assert contents(tmp_path) == before
