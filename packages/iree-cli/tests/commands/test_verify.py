"""``iree verify``: finds a flipped bit anywhere, constants included."""

import json

from iree_cli import main
from iree_vm import Artifact


def flip(path, target, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    target.write_bytes(data)
    return str(target)


def test_a_whole_file(copy_artifact, capsys):
    assert main.run(["verify", str(copy_artifact), str(copy_artifact)]) == 0
    assert capsys.readouterr().out == f"{copy_artifact}: ok\n" * 2
    assert main.run(["verify", str(copy_artifact), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"][0]["status"] == "ok"


def test_a_flipped_bit_in_a_constant(copy_artifact, tmp_path, capsys):
    member = Artifact.open(copy_artifact).members["constants/0"]
    damaged = flip(copy_artifact, tmp_path / "damaged.vmfb", member.offset + 9)
    assert main.run(["inspect", damaged]) == 0
    assert main.run(["verify", damaged]) == 4
    error = capsys.readouterr().err
    assert error.startswith("IREE-VM-055")
    assert "constants/0" in error


def test_a_flipped_bit_in_the_bytecode(copy_artifact, tmp_path, capsys):
    member = Artifact.open(copy_artifact).members["module.vmbc"]
    damaged = flip(copy_artifact, tmp_path / "damaged.vmfb", member.offset + 40)
    for command in ("inspect", "verify", "run"):
        assert main.run([command, damaged]) == 4
        assert capsys.readouterr().err.startswith("IREE-VM-055")
