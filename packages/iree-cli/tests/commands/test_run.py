"""``iree run``: values go in and come out by every route; mistakes cost one line and leave no file."""

import json

import numpy as np
import pytest

import iree_hal
from iree_cli import main
from iree_hal import platform


def run(*arguments):
    return main.run(["run", *map(str, arguments)])


X = np.array([[1, 2], [3, 4]], np.float32)


def test_results_are_printed(copy_artifact, capsys):
    assert run(copy_artifact, "--input", "2x2xf32=1 2 3 4", "--input", "n=7") == 0
    assert capsys.readouterr().out == "y: 2x2xf32=[[1. 2.] [3. 4.]]\nm: 3xi64=[7 7 7]\n"


def test_what_is_printed_can_be_given_again(copy_artifact, capsys):
    assert run(copy_artifact, "--input", "x=2x2xf32=[[1. 2.] [3. 4.]]", "--input", "n=3xi64=[7 7 7]") == 0
    assert capsys.readouterr().out.splitlines()[1] == "m: 3xi64=[7 7 7]"


def test_files_in_and_out(copy_artifact, tmp_path, capsys):
    np.savez(tmp_path / "in.npz", x=X, n=np.arange(3))
    assert run(copy_artifact, "--input", f"@{tmp_path}/in.npz", "--output", f"@{tmp_path}/out.npz") == 0
    assert capsys.readouterr().out == ""
    with np.load(tmp_path / "out.npz") as archive:
        np.testing.assert_array_equal(archive["y"], X)
        np.testing.assert_array_equal(archive["m"], np.arange(3))


def test_results_without_a_file_are_still_printed(copy_artifact, tmp_path, capsys):
    arguments = ("--input", "1x2xf32=0", "--input", "n=7")
    assert run(copy_artifact, *arguments, "--output", f"y=@{tmp_path}/y.npy") == 0
    assert capsys.readouterr().out == "m: 3xi64=[7 7 7]\n"
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.zeros((1, 2), np.float32))


def test_json(copy_artifact, capsys):
    assert run(copy_artifact, "--input", "1x2xf32=nan 1", "--input", "n=7", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["function"] == "main"
    assert facts["outputs"][0]["values"] == [["nan", 1.0]]
    assert facts["outputs"][1] == {
        "name": "m",
        "dtype": "i64",
        "shape": [3],
        "values": [7, 7, 7],
        "files": [],
    }


def test_options_of_the_device(copy_artifact, capsys):
    arguments = ("--input", "1x2xf32=0", "--input", "n=7")
    assert run(copy_artifact, *arguments, "--device", "local-task", "--threads", "1", "--verify") == 0


@pytest.mark.parametrize("path", [info.path for info in iree_hal.devices() if info.rank >= 0])
def test_an_artefact_without_kernels_runs_on_every_device(copy_artifact, capsys, path):
    assert run(copy_artifact, "--input", "2x2xf32=1 2 3 4", "--input", "n=7", f"--device={path}") == 0
    assert capsys.readouterr().out == "y: 2x2xf32=[[1. 2.] [3. 4.]]\nm: 3xi64=[7 7 7]\n"


@pytest.mark.parametrize("path", ["local-task://0", f"local-sync://{platform.machine()}"])
def test_devices_are_selected(copy_artifact, capsys, path):
    assert run(copy_artifact, "--input", "1x2xf32=0", "--input", "n=7", "--device", path) == 0


@pytest.mark.parametrize("selector", ["9", "abacus"])
def test_a_device_that_is_not_there(copy_artifact, capsys, selector):
    device = f"--device=local-sync://{selector}"
    assert run(copy_artifact, "--input", "1x2xf32=0", "--input", "n=7", device) == 2
    error = capsys.readouterr().err
    assert error.startswith("IREE-HAL-026")
    assert error.count("\n") == 1


def test_print_config_runs_nothing(copy_artifact, capsys):
    assert run(copy_artifact, "--threads", "2", "--print-config", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["threads"] == {"value": 2, "from": "command line"}
    assert facts["function"] == {"value": "main", "from": "worked out"}
    assert facts["device"] == {"value": None, "from": "default"}


def test_options_from_the_environment(copy_artifact, capsys, monkeypatch):
    monkeypatch.setenv("IREE_RUN_THREADS", "3")
    assert run(copy_artifact, "--print-config", "--json") == 0
    assert json.loads(capsys.readouterr().out)["threads"] == {"value": 3, "from": "environment"}


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ((), 2, "IREE-CLI-007"),
        (("--input", "z=1"), 2, "IREE-CLI-008"),
        (("--input", "1x3xf32=0", "--input", "n=7"), 2, "IREE-VM-022"),
        (("--input", "1x2xf64=0", "--input", "n=7"), 2, "IREE-VM-023"),
        (("--input", "65x2xf32=0", "--input", "n=7"), 2, "IREE-VM-027"),
        (("--input", "1x2xf32=0", "--input", "n=7", "--function", "other"), 2, "IREE-CLI-011"),
        (("--input", "1x2xf32=0", "--input", "n=7", "--device", "nowhere"), 2, "IREE-VM-042"),
        (("--input", "1x2xf32=0", "--input", "n=7", "--threads", "0"), 2, "IREE-CLI-001"),
    ],
)
def test_mistakes(copy_artifact, tmp_path, capsys, arguments, status, code):
    output = tmp_path / "out.npz"
    found = run(copy_artifact, *arguments, "--output", f"@{output}")
    error = capsys.readouterr().err
    assert error.startswith(code)
    assert error.count("\n") == 1
    assert found == status
    assert list(tmp_path.iterdir()) == []


def test_no_artefact(tmp_path, capsys):
    assert run(tmp_path / "none.vmfb") == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-002")
    (tmp_path / "text.vmfb").write_text("this is not an artefact")
    assert run(tmp_path / "text.vmfb") == 4
    assert capsys.readouterr().err.startswith("IREE-VM-051")
