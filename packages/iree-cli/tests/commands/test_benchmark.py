"""``iree benchmark``: inputs are made up where that is possible, and what is asked for is measured."""

import json

from iree_cli import main


def run(*arguments):
    return main.run(["benchmark", *map(str, arguments)])


def test_so_many_calls(copy_artifact, capsys):
    assert run(copy_artifact, "--input", "x=2x2xf32=1", "--calls", "5", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    times = facts["microseconds"]
    assert times["calls"] == 5
    assert 0 < times["minimum"] <= times["median"] <= times["p90"] <= times["maximum"]


def test_so_many_seconds(copy_artifact, capsys):
    assert run(copy_artifact, "--input", "x=2x2xf32=1", "--seconds", "0") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["main", "1"]


def test_sizes_that_are_unknown_must_be_given(copy_artifact, capsys):
    assert run(copy_artifact, "--calls", "1") == 3
    error = capsys.readouterr().err
    assert error.startswith("IREE-CLI-014")
    assert "--input x=1x2xf32=random" in error


def test_options_without_effect(copy_artifact, capsys):
    arguments = ("--input", "x=2x2xf32=1")
    assert run(copy_artifact, *arguments, "--calls", "1", "--seconds", "1") == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-004")
    assert run(copy_artifact, *arguments, "--input", "n=1", "--calls", "1", "--seed", "3") == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-004")
