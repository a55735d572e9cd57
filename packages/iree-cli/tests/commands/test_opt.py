"""``iree opt``: text in, text out, checked on the way."""

import json

import pytest

from iree_cli import main

pytest.importorskip("iree_core_ir", reason="the compiler is an extra of this package")

TEXT = """\
func.func @main(%a: i32) -> i32 {
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %0 = arith.addi %c1, %c2 : i32
  %1 = arith.muli %a, %0 : i32
  return %1 : i32
}
"""


def run(*arguments):
    return main.run(["opt", *map(str, arguments)])


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.mlir"
    path.write_text(TEXT)
    return path


def test_printing_again_changes_nothing(source, tmp_path, capsys):
    assert run(source, "-o", tmp_path / "one.mlir") == 0
    assert run(tmp_path / "one.mlir", "-o", tmp_path / "two.mlir") == 0
    assert (tmp_path / "one.mlir").read_text() == (tmp_path / "two.mlir").read_text()
    assert capsys.readouterr().out == ""


def test_passes_run(source, capsys):
    assert run(source, "--passes", "canonicalize,cse") == 0
    text = capsys.readouterr().out
    assert "arith.constant 3 : i32" in text
    assert "arith.addi" not in text


def test_the_generic_form(source, capsys):
    assert run(source, "--generic") == 0
    assert '"arith.muli"(' in capsys.readouterr().out


def test_passes_are_listed(capsys):
    assert run("--list-passes", "--json") == 0
    passes = {entry["name"]: entry["summary"] for entry in json.loads(capsys.readouterr().out)["passes"]}
    assert passes["cse"]
    assert run("--list-passes") == 0


@pytest.mark.parametrize(
    ("text", "arguments", "status", "code"),
    [
        ("func.func @main( {", (), 1, "IREE-IR-001"),
        (TEXT, ("--passes", "no-such-pass"), 1, "IREE-IR-003"),
        (TEXT.replace("arith.muli", "nowhere.muli"), (), 1, "IREE-IR-"),
        (TEXT, ("--json",), 2, "IREE-CLI-004"),
        (TEXT, ("--list-passes",), 2, "IREE-CLI-004"),
    ],
)
def test_mistakes(source, capsys, text, arguments, status, code):
    source.write_text(text)
    assert run(source, *arguments) == status
    error = capsys.readouterr().err
    assert error.startswith(code)
    assert "Traceback" not in error


def test_a_parse_error_points_at_its_place(source, capsys):
    source.write_text("func.func @main( {")
    run(source)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"IREE-IR-001: {source}:1:18:")
    assert lines[1:] == ["  func.func @main( {", "  " + " " * 17 + "^"]


def test_a_source_is_needed(capsys):
    assert run() == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-001")
