"""``iree devices``: one row a driver, and a driver without a device does not hide the others."""

import json
import subprocess
import sys

import pytest

import iree_hal
from iree_base.errors import PluginError
from iree_cli import main
from iree_cli.options import complete_devices
from iree_hal import DeviceInfo, Diagnosis, Driver


def test_json(capsys):
    assert main.run(["devices", "--json"]) == 0
    found = {entry["driver"]: entry for entry in json.loads(capsys.readouterr().out)["devices"]}
    assert set(found) >= {"null", "local-sync", "local-task"}
    assert found["local-task"]["status"] == "ok"


def test_table(capsys):
    assert main.run(["devices"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["driver", "device", "name", "status", "about"]


class Several(Driver):
    name = "several"

    def devices(self):
        return tuple(
            DeviceInfo(
                f"several://{i}", f"Maker {i}", {"memory": i << 30, "driver": "9.1", "modes": [*"abcdef"]}
            )
            for i in range(2)
        )

    def create_device(self, **_):
        raise AssertionError("listing opens nothing")


class Lacking(Driver):
    name = "lacking"

    def devices(self):
        return ()

    def diagnose(self):
        return (Diagnosis(True, "a loader"), Diagnosis(False, "a device", "none answers", "plug one in"))

    def create_device(self, **_):
        raise AssertionError("listing opens nothing")


class Mistaken(Driver):
    name = "mistaken"

    def devices(self):
        raise ZeroDivisionError("on purpose")

    def create_device(self, **_):
        raise AssertionError("listing opens nothing")


@pytest.fixture
def more(monkeypatch):
    """Two drivers more, and local-task cannot be loaded."""
    real = iree_hal.find_driver
    others = {"several": Several(), "lacking": Lacking(), "mistaken": Mistaken()}
    names = (*iree_hal.drivers(), *others)

    def find(name):
        if name == "local-task":
            raise PluginError(1, "no such machine")
        return others.get(name) or real(name)

    monkeypatch.setattr(iree_hal, "find_driver", find)
    monkeypatch.setattr(iree_hal, "drivers", lambda: names)


def test_every_device_and_every_driver_without_one(more, capsys):
    assert main.run(["devices"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    facts = [f"memory={1 << 30}", "driver=9.1", "modes=(6)"]
    assert ["several", "several://1", "Maker", "1", "ok", *facts] in lines
    status = {line[0]: "unavailable" in line for line in lines[1:]}
    assert status["local-task"]
    assert status["lacking"]
    assert not status["local-sync"]


def test_json_says_why_there_is_none(more, capsys):
    assert main.run(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["devices"]
    reason = {entry["driver"]: entry.get("reason") for entry in found}
    assert reason["lacking"] == "a device: none answers"
    assert "no such machine" in reason["local-task"]
    assert reason["mistaken"] == "ZeroDivisionError: on purpose"
    assert {entry["next"] for entry in found if entry["driver"] == "lacking"} == {"plug one in"}
    assert next(e for e in found if e["path"] == "several://1")["facts"]["driver"] == "9.1"
    assert [entry["path"] for entry in found if entry["driver"] == "several"] == [
        "several://0",
        "several://1",
    ]


def test_one_device_with_all_of_its_facts(more, capsys):
    assert main.run(["devices", "several://maker 1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["path", "several://1"] in lines
    assert [["modes", "a"], *([letter] for letter in "bcdef")] == lines[-6:]
    assert main.run(["devices", "several://1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["modes"] == [*"abcdef"]


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("several://7", "IREE-HAL-026", "0: Maker 0; 1: Maker 1"),
        ("several://maker", "IREE-HAL-026", "several devices fit"),
        ("lacking://0", "IREE-HAL-026", "iree devices"),
        ("nowhere", "IREE-BASE-003", "local-sync"),
    ],
)
def test_a_device_that_is_not_there(more, capsys, path, code, text):
    assert main.run(["devices", path]) in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith(code)
    assert text in error
    assert error.count("\n") == 1


def test_paths_complete(more, monkeypatch):
    monkeypatch.setattr(iree_hal, "devices", Several().devices)
    assert "local-sync" in complete_devices(None, None, "local")
    assert complete_devices(None, None, "several:") == ["several://0", "several://1"]


def test_as_a_process():
    code = "from iree_cli.main import main; main()"
    command = [sys.executable, "-c", code, "devices", "local-sync", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["path"] == "local-sync"
