"""``iree inspect``: what the manifest says, for people and for programs."""

import json

import pytest

import iree_vm
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
    for arguments in (
        ("--disassemble", "--json"),
        ("--disassemble", "--kernels"),
        ("--disassemble", "--choice"),
        ("--json", "--kernels"),
        ("--variant", "local"),
    ):
        assert run(copy_artifact, *arguments) == 2
        assert capsys.readouterr().err.startswith("IREE-CLI-004")


@pytest.fixture
def two_variants(copy_artifact, tmp_path):
    """The artefact with a second variant that has a program and constants of its own."""
    one = iree_vm.Artifact.open(copy_artifact)
    path = tmp_path / "two.vmfb"
    with iree_vm.ArtifactWriter(path, "two") as writer:
        for function in one.manifest.functions:
            writer.add_function(function)
        (first,) = one.manifest.variants
        shared = writer.add_constant(bytes(one.constant(0)))
        own = writer.add_constant(bytes(3000))
        for name, driver, constants in (("local", first.driver, [shared]), ("other", "gone", [shared, own])):
            writer.add_variant(
                name,
                f"t-{name}",
                driver,
                [],
                constants=constants,
                bytecode=bytes(one.bytecode),
                debug=one.debug,
            )
        writer.finish()
    return path


def test_variants(two_variants, capsys):
    assert run(two_variants, "--choice", "--kernels") == 0
    text = capsys.readouterr().out
    assert "other: t-other on gone, needs features: none" in text
    assert "constants: 3.0 kB of its own, 4.1 kB shared" in text
    assert "on this machine: variant local" in text
    assert "- other (t-other): " in text
    assert "kernels of other" in text
    assert run(two_variants, "--kernels", "--variant", "local") == 0
    assert "kernels of other" not in capsys.readouterr().out
    assert run(two_variants, "--disassemble", "--variant", "other") == 0
    assert capsys.readouterr().out.startswith("module @")
    assert run(two_variants, "--disassemble", "--variant", "none") == 2
    assert "IREE-VM-043" in capsys.readouterr().err


def test_json_of_variants(two_variants, capsys):
    assert run(two_variants, "--json", "--choice") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [v["name"] for v in facts["manifest"]["variants"]] == ["local", "other"]
    assert set(facts["debug"]) == {"local", "other"}
    assert [row["taken"] for row in facts["choice"]["variants"]] == [True, False]
