"""Damaged artefacts, loaded and run in a process of their own: a coded error or an answer, never a crash.

A case that kills or hangs the process shows as a missing line; each is named by member, seed and number.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import networks
import pytest

import iree_flow

KINDS = ("manifest.json", "module.vmbc", "executables/", "constants/", "debug.json", "onnx")
OF_VARIANTS = (
    "manifest.json",
    "module.reference.vmbc",
    "executables/reference/",
    "constants/0",
    "debug.reference.json",
)
"""Members of an artefact of two targets; the variant that is damaged is not the one that runs."""

WORKER = """
import faulthandler, json, random, sys
from pathlib import Path
import numpy as np
import iree_flow, iree_vm
from iree_base.errors import IreeError

path, kind, rounds, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
data = path.read_bytes()
low, high = 0, len(data)
if kind != "onnx":
    members = iree_vm.Artifact.open(path).members
    entry = next(m for name, m in members.items() if name.startswith(kind))
    low, high = entry.offset, entry.offset + entry.size
image = np.zeros((1, 3, 19, 23), np.float32)
random = random.Random(f"{kind} {seed}")
for number in range(rounds):
    faulthandler.dump_traceback_later(60, exit=True)
    if number % 5 == 4:
        damaged = data[: random.randrange(low, high)]
    else:
        changed = bytearray(data)
        for _ in range(random.choice((1, 1, 1, 8))):
            changed[random.randrange(low, high)] ^= 1 << random.randrange(8)
        damaged = bytes(changed)
    answer = {"number": number, "same": damaged == data, "load": None, "verify": None}
    try:
        if kind == "onnx":
            Path(sys.argv[5]).write_bytes(damaged)
            iree_flow.compile(Path(sys.argv[5]), compile_to="input")
        else:
            iree_vm.load(iree_vm.Artifact.from_bytes(damaged)).main(image)
    except IreeError as error:
        answer["load"] = [error.status, str(error)]
    if kind != "onnx":
        try:
            iree_vm.Artifact.from_bytes(damaged).verify()
        except IreeError as error:
            answer["verify"] = [error.status, str(error)]
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``convnet.onnx``, ``convnet.vmfb`` and ``variants.vmfb``, of two targets."""
    folder = tmp_path_factory.mktemp("corruption")
    model = networks.convnet(folder / "convnet.onnx")
    iree_flow.compile(model).save(folder / "convnet.vmfb")
    iree_flow.compile(model, target=["llvm-cpu", "reference"]).save(folder / "variants.vmfb")
    return folder


def damage(files: Path, kind: str, rounds: int, scratch: Path, name: str = "convnet") -> None:
    source = files / (f"{name}.onnx" if kind == "onnx" else f"{name}.vmfb")
    command = [sys.executable, "-c", WORKER, str(source), kind, str(rounds), "1", str(scratch / "x.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"damage {len(answers)} of {kind}: {done.stderr[-2000:]}"
    assert len(answers) == rounds
    for answer in answers:
        if answer["same"]:
            continue
        if kind != "onnx" and not kind.startswith("constants/"):
            assert answer["load"] is not None and answer["load"][0] == 4, answer
        if kind != "onnx":
            assert answer["verify"] is not None and answer["verify"][0] == 4, answer
        for found in (answer["load"], answer["verify"]):
            assert found is None or (found[1].startswith("IREE-") and "\n" not in found[1]), answer
    if kind == "onnx":
        assert any(answer["load"] for answer in answers)


@pytest.mark.parametrize("kind", KINDS)
def test_damage(files: Path, kind: str, tmp_path: Path) -> None:
    damage(files, kind, 60, tmp_path)


@pytest.mark.parametrize("kind", OF_VARIANTS)
def test_damage_of_any_variant(files: Path, kind: str, tmp_path: Path) -> None:
    damage(files, kind, 40, tmp_path, "variants")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_damage(files: Path, kind: str, tmp_path: Path) -> None:
    damage(files, kind, 500, tmp_path)
