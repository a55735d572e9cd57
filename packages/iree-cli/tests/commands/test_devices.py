"""``iree devices``: one row a driver, and a driver without a device does not hide the others."""

import json

import pytest

import iree_hal
from iree_base.errors import PluginError
from iree_cli import main
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
        return tuple(DeviceInfo(f"several://{i}", f"Maker {i}", {"memory": i << 30}) for i in range(2))

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


@pytest.fixture
def more(monkeypatch):
    """Two drivers more, and local-task cannot be loaded."""
    real = iree_hal.find_driver
    others = {"several": Several(), "lacking": Lacking()}
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
    assert ["several", "several://1", "Maker", "1", "ok", f"memory={1 << 30}"] in lines
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
    assert [entry["path"] for entry in found if entry["driver"] == "several"] == [
        "several://0",
        "several://1",
    ]
