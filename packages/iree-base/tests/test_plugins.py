"""Plugins are isolated: whatever one does, the others work, and its record says what happened."""

import types

import pluggy
import pytest

from iree_base import plugins
from iree_base.errors import PluginError
from iree_base.plugins import PluginManager, PluginRecord

GROUP = "iree.sample"
spec, impl = pluggy.HookspecMarker(GROUP), pluggy.HookimplMarker(GROUP)


class Specs:
    @spec
    def sample_things(self):
        """Name -> getter."""


class Entry:
    """An entry point whose plugin is ``build()``."""

    group = GROUP

    def __init__(self, name, build, urls=()):
        self.name, self.value, self.build = name, f"{name}_module", build
        metadata = types.SimpleNamespace(get_all=lambda key: list(urls))
        self.dist = types.SimpleNamespace(name=f"dist-{name}", version="1.2", metadata=metadata)

    def load(self):
        return self.build()


def plugin(things, api=(1, 0)):
    def hook():
        return things() if callable(things) else things

    return types.SimpleNamespace(api=api, sample_things=impl(hook))


def raising(error):
    def build():
        raise error

    return build


@pytest.fixture
def manager(monkeypatch):
    monkeypatch.delenv("IREE_PLUGINS", raising=False)

    def make(*entries, api=(1, 3)):
        monkeypatch.setattr(plugins, "entry_points", lambda group: list(entries))
        return PluginManager(GROUP, Specs, api)

    return make


def status(manager):
    return {record.name: record.status for record in manager.records}


def test_names_are_listed_and_values_made_when_asked_for(manager):
    calls = []
    found = manager(Entry("a", lambda: plugin({"x": lambda: calls.append("x") or 1, "y": lambda: 2})))
    assert sorted(found.provided("sample_things")) == ["x", "y"]
    assert calls == []
    assert found.get("sample_things", "x", "thing") == 1
    assert calls == ["x"]
    assert found.records[0].owns == {"sample_things": ["x", "y"]}


@pytest.mark.parametrize(
    "bad",
    [
        raising(ImportError("no such library")),
        raising(SyntaxError("bad syntax")),
        lambda: plugin({}, api=None),
        lambda: plugin({}, api=(2, 0)),
        lambda: plugin({}, api=(1, 4)),
        lambda: plugin(raising(RuntimeError("hook failed"))),
        lambda: plugin(5),
        lambda: types.SimpleNamespace(api=(1, 0), unknown_hook=impl(lambda: None)),
    ],
    ids=[
        "import",
        "syntax",
        "no-api",
        "other-major",
        "newer-minor",
        "hook-raises",
        "hook-returns-int",
        "no-hook",
    ],
)
def test_a_bad_plugin_takes_no_other_down(manager, bad):
    good = [Entry(name, lambda name=name: plugin({name: lambda: name})) for name in ("a", "z")]
    found = manager(good[0], Entry("bad", bad), good[1])
    assert sorted(found.provided("sample_things")) == ["a", "z"]
    record = next(record for record in found.records if record.name == "bad")
    assert record.status in ("failed", "incompatible")
    assert record.reason


def test_the_traceback_of_a_failure_is_kept(manager):
    found = manager(Entry("bad", raising(ImportError("no such library"))))
    record = found.records[0]
    assert record.reason == "ImportError: no such library"
    assert "Traceback" in record.traceback


def test_asking_for_what_a_failed_plugin_provides_is_loud(manager):
    url = "Issues, https://example.org/issues"
    found = manager(Entry("bad", raising(ImportError("no such library")), urls=[url]))
    with pytest.raises(PluginError, match=r"IREE-BASE-001.*dist-bad 1\.2.*no such library.*example\.org"):
        found.get("sample_things", "bad", "thing")


def test_a_getter_that_fails_is_loud_and_recorded(manager):
    found = manager(Entry("a", lambda: plugin({"x": raising(OSError("device gone"))})))
    with pytest.raises(PluginError, match=r"IREE-BASE-001.*thing 'x' of dist-a.*device gone"):
        found.get("sample_things", "x", "thing")
    assert status(found) == {"a": "failed"}


def test_a_coded_error_of_a_getter_stays_itself(manager):
    found = manager(Entry("a", lambda: plugin({"x": raising(PluginError(6, "as it was"))})))
    with pytest.raises(PluginError, match="as it was"):
        found.get("sample_things", "x", "thing")


def test_an_unknown_name_lists_what_is_installed(manager):
    found = manager(Entry("a", lambda: plugin({"x": int, "y": int})))
    with pytest.raises(PluginError, match=r"IREE-BASE-003.*installed: x, y.*pip install"):
        found.get("sample_things", "z", "thing")


def test_two_owners_of_a_name_are_both_named(manager):
    found = manager(Entry("a", lambda: plugin({"x": int})), Entry("b", lambda: plugin({"x": int})))
    with pytest.raises(PluginError, match=r"IREE-BASE-002.*'x' from dist-a and dist-b"):
        found.provided("sample_things")


def test_the_environment_restricts_what_is_loaded(manager, monkeypatch):
    monkeypatch.setenv("IREE_PLUGINS", "b, c")
    monkeypatch.setattr(
        plugins,
        "entry_points",
        lambda group: [Entry("a", raising(AssertionError("never loaded"))), Entry("b", lambda: plugin({}))],
    )
    assert status(PluginManager(GROUP, Specs, (1, 0))) == {"a": "disabled", "b": "ok"}


def test_plugins_can_be_registered_by_hand(manager):
    found = manager()
    found.register(plugin({"x": lambda: 7}))
    assert found.get("sample_things", "x", "thing") == 7
    with pytest.raises(PluginError, match="IREE-BASE-004"):
        found.register(plugin({}, api=(9, 0)))


def test_a_record_states_where_it_came_from(manager):
    record = manager(Entry("a", lambda: plugin({}))).records[0]
    assert isinstance(record, PluginRecord)
    assert (record.distribution, record.version, record.group) == ("dist-a", "1.2", GROUP)
