"""``iree plugins``: what is installed, what is broken and why, who owns a name."""

import json
import types

import pluggy
import pytest

import iree_hal
from iree_base import plugins as base
from iree_base.plugins import PluginManager
from iree_cli import discovery, main
from iree_hal import Diagnosis, Driver, hookspecs

impl = pluggy.HookimplMarker("iree.runtime")


class Entry:
    def __init__(self, name, build):
        self.name, self.value, self.group, self.build = name, f"{name}_module", "iree.runtime", build
        urls = types.SimpleNamespace(get_all=lambda key: ["Issues, https://example.org/issues"])
        self.dist = types.SimpleNamespace(name=f"dist-{name}", version="1.0", metadata=urls)

    def load(self):
        return self.build()


class Healthy(Driver):
    def __init__(self, name):
        self.name = name

    def create_device(self, **_):
        raise AssertionError("the doctor opens nothing")


class Sick(Healthy):
    def diagnose(self):
        return (Diagnosis(True, "a loader"), Diagnosis(False, "a device", "none answers", "plug one in"))


def plugin(*drivers, api=(1, 0)):
    names = {name: lambda name=name: Healthy(name) for name in drivers}
    return types.SimpleNamespace(api=api, iree_drivers=impl(lambda: names))


def broken():
    raise ImportError("no library of that name")


@pytest.fixture
def installed(monkeypatch):
    iree_hal.drivers()  # the process discovers its own plugins once: before entry points are others

    def install(*entries):
        monkeypatch.setattr(base, "entry_points", lambda group: list(entries))
        manager = PluginManager("iree.runtime", hookspecs, (1, 0))
        monkeypatch.setattr(iree_hal, "plugins", lambda: manager)
        monkeypatch.setitem(discovery.HOSTS, "iree.runtime", "iree_hal")
        monkeypatch.delitem(discovery.HOSTS, "iree.compiler")
        return manager

    return install


def test_list(installed, capsys):
    installed(Entry("good", lambda: plugin("fast", "slow")), Entry("bad", broken))
    assert main.run(["plugins", "list"]) == 0
    text = capsys.readouterr().out
    assert "drivers: fast, slow" in text
    assert "no library of that name" in text
    assert main.run(["plugins", "list", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["plugins"]}
    assert found["good"]["provides"] == {"iree_drivers": ["fast", "slow"]}
    assert found["bad"]["status"] == "failed"


def test_doctor_names_cause_and_next_step(installed, capsys):
    installed(Entry("good", lambda: plugin("fast")), Entry("bad", broken))
    assert main.run(["plugins", "doctor", "--tracebacks"]) == 1
    text = capsys.readouterr().out
    assert "'bad' of dist-bad 1.0: failed" in text
    assert "cause: ImportError: no library of that name" in text
    assert "https://example.org/issues" in text
    assert "| Traceback" in text
    assert "good" not in text
    assert text.endswith("2 plugins, 1 with problems\n")


def test_doctor_finds_two_owners_of_a_name(installed, capsys):
    installed(*(Entry(name, lambda: plugin("same")) for name in ("a", "b")), Entry("c", lambda: plugin("c")))
    assert main.run(["plugins", "doctor", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [problem["name"] for problem in problems] == ["a", "b"]
    assert all("'same' from dist-a and dist-b" in problem["reason"] for problem in problems)


def test_doctor_with_nothing_wrong(installed, capsys):
    installed(Entry("good", lambda: plugin("fast")))
    assert main.run(["plugins", "doctor"]) == 0
    assert capsys.readouterr().out == "1 plugins, 0 with problems\n"


def test_doctor_says_what_drivers_lack(installed, capsys):
    good = {"sick": lambda: Sick("sick"), "well": lambda: Healthy("well")}
    provided = ("p", good), ("q", {"late": broken})
    modules = {n: types.SimpleNamespace(api=(1, 0), iree_drivers=impl(lambda g=g: g)) for n, g in provided}
    installed(*(Entry(name, lambda name=name: modules[name]) for name in modules))
    assert main.run(["plugins", "doctor"]) == 1
    text = capsys.readouterr().out
    assert "driver 'sick' lacks a device\n  cause: none answers\n  next: plug one in\n" in text
    assert "driver 'late' lacks its own code\n" in text
    assert "no library of that name" in text
    assert "well" not in text
    assert text.endswith("2 plugins, 0 with problems, 2 things that drivers lack\n")
    assert main.run(["plugins", "doctor", "--json"]) == 1
    drivers = json.loads(capsys.readouterr().out)["drivers"]
    assert {"driver": "sick", "what": "a device", "cause": "none answers", "next": "plug one in"} in drivers


def test_explain(installed, capsys):
    installed(Entry("good", lambda: plugin("fast")), Entry("old", lambda: plugin("x", api=(9, 0))))
    assert main.run(["plugins", "explain", "fast"]) == 0
    assert "iree.runtime plugin 'good' (good_module)" in capsys.readouterr().out
    assert main.run(["plugins", "explain", "old", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plugins"][0]["status"] == "incompatible"
    assert main.run(["plugins", "explain", "nothing"]) == 2
    assert "there are fast, good, old" in capsys.readouterr().err


def test_each_of_many_plugins_is_loaded_once(installed, capsys):
    calls = []

    def build(number):
        calls.append(number)
        return plugin(f"driver-{number}")

    installed(*(Entry(f"p{number:02}", lambda number=number: build(number)) for number in range(20)))
    assert main.run(["plugins", "list", "--json"]) == 0
    assert main.run(["plugins", "explain", "driver-7"]) == 0
    assert calls == list(range(20))


def test_explain_shows_devices_or_what_is_lacking(installed, capsys, monkeypatch):
    class Alone(Sick):
        def devices(self):
            return ()

    drivers = {"sick": lambda: Alone("sick"), "well": lambda: Healthy("well")}
    monkeypatch.setattr(iree_hal, "find_driver", lambda name: drivers[name]())
    module = types.SimpleNamespace(api=(1, 0), iree_drivers=impl(lambda: drivers))
    installed(Entry("both", lambda: module))
    assert main.run(["plugins", "explain", "both"]) == 0
    text = capsys.readouterr().out
    assert "  device    well: well\n" in text
    assert "  no device sick: a device: none answers\n  next      plug one in\n" in text
    assert main.run(["plugins", "explain", "sick", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["plugins"][0]["devices"]
    assert {entry["driver"]: entry["status"] for entry in entries} == {"sick": "unavailable", "well": "ok"}


def test_a_diagnosis_that_fails_is_one(installed, capsys):
    class Mistaken(Healthy):
        def diagnose(self):
            raise ZeroDivisionError("on purpose")

    drivers = {"mistaken": lambda: Mistaken("mistaken"), "sick": lambda: Sick("sick")}
    module = types.SimpleNamespace(api=(1, 0), iree_drivers=impl(lambda: drivers))
    installed(Entry("both", lambda: module))
    assert main.run(["plugins", "doctor"]) == 1
    text = capsys.readouterr().out
    assert "driver 'mistaken' lacks a working diagnosis\n  cause: ZeroDivisionError: on purpose\n" in text
    assert "driver 'sick' lacks a device\n" in text
