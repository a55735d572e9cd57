"""``iree inspect``: what the manifest says, for people and for programs."""

import json

from iree_cli import main


def run(*arguments):
    return main.run(["inspect", *map(str, arguments)])


def test_summary(copy_artifact, capsys):
    assert run(copy_artifact, "--kernels") == 0
    text = capsys.readouterr().out
    assert "main(x: batchx2xf32, n: 3xi64) -> (y: batchx2xf32, m: 3xi64)" in text
    assert "batch: 1..64" in text
    assert "local: copy on local-sync" in text
    assert "constants  1, 4.1 kB" in text


def test_json_is_the_manifest_with_sizes(copy_artifact, capsys):
    assert run(copy_artifact, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["manifest"]["module"] == "copy"
    assert facts["bytes"] == copy_artifact.stat().st_size
    assert facts["members"]["module.vmbc"] > 0


def test_bytecode(copy_artifact, capsys):
    assert run(copy_artifact, "--disassemble") == 0
    assert capsys.readouterr().out.startswith("module @copy\n")


def test_options_without_effect(copy_artifact, capsys):
    for arguments in (("--disassemble", "--json"), ("--disassemble", "--kernels"), ("--json", "--kernels")):
        assert run(copy_artifact, *arguments) == 2
        assert capsys.readouterr().err.startswith("IREE-CLI-004")
