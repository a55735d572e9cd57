"""The command line as a whole: help, versions, statuses, one-line errors, commands of plugins."""

import json
import os
import pathlib
import subprocess
import sys

import click
import pytest

from iree_base.errors import IreeError
from iree_cli import main


class Broken(IreeError):
    package = "TEST"
    exit_code = 4
    table = {7: "it broke"}


@click.command()
@click.option(
    "--how", type=click.Choice(["coded", "noted", "bug", "interrupt", "missing", "long", "no"]), default="no"
)
@click.option("--json", is_flag=True)
def extra(how, json):
    """A plugin's command."""
    if how == "coded":
        raise Broken(7, "badly", source="node 'a'", cause="the test", hint="nothing")
    if how == "long":
        raise Broken(7, "\n".join(f"line {number}" for number in range(40)), hint="look below")
    if how == "noted":
        error = Broken(7)
        error.add_note("Conv of node 'b'")
        raise error
    if how == "bug":
        raise ZeroDivisionError("oh")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "missing":
        pathlib.Path("/no/such/file").read_bytes()
    click.echo("fine")


class Entry:
    """An entry point whose distribution is not installed."""

    dist = None
    group = main.GROUP

    def __init__(self, name, target):
        self.name, self.target, self.value = name, target, f"somewhere:{target}"

    def load(self):
        if isinstance(self.target, str):
            raise ModuleNotFoundError(f"No module named '{self.target}'")
        return self.target


@pytest.fixture
def added(monkeypatch):
    entries = [Entry("extra", extra), Entry("broken", "no_such_module"), Entry("notclick", print)]
    monkeypatch.setattr(main, "entry_points", lambda group: entries)


def test_help_lists_every_command(capsys):
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in main.COMMANDS)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help(name, capsys):
    assert main.run([name, "--help"]) == 0
    assert f"Usage: iree {name}" in capsys.readouterr().out


def test_no_command_is_a_usage_error():
    assert main.run([]) == 2


def test_a_wrong_command_names_the_near_one(capsys):
    assert main.run(["compyle"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("IREE-CLI-001:")
    assert "Did you mean 'compile'?" in error
    assert error.count("\n") == 1


def test_a_wrong_option_is_one_line(capsys):
    assert main.run(["run", "--frobnicate"]) == 2
    error = capsys.readouterr().err
    assert "--frobnicate" in error
    assert "iree run --help" in error
    assert error.count("\n") == 1


def test_version_names_packages_and_plugins(capsys):
    assert main.run(["--version"]) == 0
    text = capsys.readouterr().out
    for name in ("iree-base", "iree-hal", "iree-vm", "iree-cli"):
        assert f"{name} " in text
    assert "iree.runtime:" in text


def test_version_imports_nothing_heavy():
    code = (
        "import sys; from iree_cli import main; main.run(['--version']); "
        "print([m for m in ('numpy', 'rich', 'iree_vm', 'iree_hal', 'iree_flow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_plugin_commands(added, capsys):
    assert main.run(["extra"]) == 0
    assert capsys.readouterr().out == "fine\n"
    assert main.run(["--help"]) == 0
    assert "extra" in capsys.readouterr().out


def test_a_broken_plugin_command_is_coded_and_harms_no_other(added, capsys):
    assert main.run(["broken"]) == 2
    assert capsys.readouterr().err.startswith("IREE-BASE-001:")
    assert main.run(["notclick"]) == 2
    assert "not a click command" in capsys.readouterr().err
    assert main.run(["extra"]) == 0


def test_two_plugins_of_one_name(monkeypatch, capsys):
    entries = [Entry("extra", "a"), Entry("extra", "b")]
    monkeypatch.setattr(main, "entry_points", lambda group: entries)
    assert main.run(["extra"]) == 2
    error = capsys.readouterr().err
    assert "somewhere:a and somewhere:b" in error


def test_a_coded_error_is_one_line_with_its_status(added, capsys):
    assert main.run(["extra", "--how", "coded"]) == 4
    assert capsys.readouterr().err == (
        "IREE-TEST-007: it broke: badly [at node 'a']; cause: the test; next: nothing\n"
    )


def test_a_long_detail_follows_the_line_and_ends_in_a_file(added, capsys):
    assert main.run(["extra", "--how", "long"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "IREE-TEST-007: it broke: line 0; next: look below"
    assert lines[1:3] == ["  line 1", "  line 2"]
    path = pathlib.Path(lines[-1].split(" are in ")[1])
    assert path.read_text().splitlines() == [f"line {number}" for number in range(1, 40)]
    path.unlink()


def test_notes_of_an_error_follow_it(added, capsys):
    assert main.run(["extra", "--how", "noted"]) == 4
    assert capsys.readouterr().err == "IREE-TEST-007: it broke\n  Conv of node 'b'\n"


def test_json_errors(added, capsys):
    assert main.run(["extra", "--how", "coded", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "IREE-TEST-007"


def test_a_bug_names_the_file_with_its_traceback(added, capsys):
    assert main.run(["extra", "--how", "bug"]) == 70
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ZeroDivisionError: oh" in error
    path = error.split("report it with ")[1].strip()
    with open(path) as stream:
        text = stream.read()
    os.unlink(path)
    assert "iree extra --how bug" in text
    assert "Traceback" in text


def test_debug_prints_the_traceback(added, capsys, monkeypatch):
    monkeypatch.setenv("IREE_DEBUG", "1")
    assert main.run(["extra", "--how", "coded"]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_is_not_a_bug(added, capsys):
    assert main.run(["extra", "--how", "interrupt"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_missing_file_is_not_a_bug(added, capsys):
    assert main.run(["extra", "--how", "missing"]) == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-002: the file cannot be read: /no/such/file")


def test_a_closed_pipe_ends_quietly():
    code = "from iree_cli import main; import sys; sys.exit(main.run(['--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        done = subprocess.run([sys.executable, "-c", code], stdout=stream, stderr=subprocess.PIPE)
    assert done.stderr == b""
    assert done.returncode == 141


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell, capsys):
    assert main.run(["completion", shell]) == 0
    assert "_IREE_COMPLETE" in capsys.readouterr().out


def test_completion_completes_commands():
    environment = {
        **os.environ,
        "_IREE_COMPLETE": "bash_complete",
        "COMP_WORDS": "iree be",
        "COMP_CWORD": "1",
    }
    code = "from iree_cli import main; main.main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["plain,benchmark"]
