"""``iree devices``: one row a driver, and a driver without a device does not hide the others."""

import json

import pytest

import iree_hal
from iree_base.errors import PluginError
from iree_cli import main


def test_json(capsys):
    assert main.run(["devices", "--json"]) == 0
    found = {entry["driver"]: entry for entry in json.loads(capsys.readouterr().out)["devices"]}
    assert set(found) >= {"null", "local-sync", "local-task"}
    assert found["local-task"]["status"] == "ok"


def test_table(capsys):
    assert main.run(["devices"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["driver", "device", "status", "about"]


@pytest.fixture
def gone(monkeypatch):
    real = iree_hal.create_device

    def create(name, **options):
        if name == "local-task":
            raise PluginError(1, "no such machine")
        return real(name, **options)

    monkeypatch.setattr(iree_hal, "create_device", create)


def test_an_unavailable_driver(gone, capsys):
    assert main.run(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("local-task") and "unavailable" in line for line in lines)
    assert any(line.startswith("local-sync") and "ok" in line for line in lines)
