"""Coded errors: one line with code, place, cause and next step; the same after pickling and as JSON."""

import pickle

import pytest

from iree_base.errors import EXIT_RUNTIME, EXIT_USAGE, IreeError, PluginError


class SampleError(IreeError):
    package = "SAMPLE"
    exit_code = EXIT_RUNTIME
    table = {1: "it is broken", 2: "it was misused"}
    exit_codes = {2: EXIT_USAGE}


def test_the_text_has_all_parts_in_order():
    error = SampleError(1, "the detail", source="node 'a'", cause="a reason", hint="do this")
    assert str(error) == (
        "IREE-SAMPLE-001: it is broken: the detail [at node 'a']; cause: a reason; next: do this"
    )
    assert str(SampleError(1)) == "IREE-SAMPLE-001: it is broken"


def test_the_status_is_the_numbers_or_the_classes():
    assert SampleError(1).status == EXIT_RUNTIME
    assert SampleError(2).status == EXIT_USAGE


def test_a_number_outside_the_table_is_a_mistake_of_the_program():
    with pytest.raises(KeyError, match="SampleError has no code 9"):
        SampleError(9)


def test_pickling_keeps_everything():
    error = SampleError(2, "the detail", source="here", cause="why", hint="next")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is SampleError
    assert copy.to_json() == error.to_json()
    assert copy.status == error.status


class PlacedError(SampleError):
    """As parsers have them: a constructor of its own, and a reference to a live object."""

    def __init__(self, line, thing):
        super().__init__(1, f"line {line}")
        self.line, self.thing = line, thing


def test_pickling_works_for_any_constructor_and_leaves_live_objects_behind():
    error = PlacedError(7, lambda: None)
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is PlacedError
    assert str(copy) == str(error)
    assert copy.line == 7
    assert copy.__notes__ == ["a note"]
    assert not hasattr(copy, "thing")


def test_json_holds_every_fact():
    assert SampleError(1, source="here").to_json() == {
        "code": "IREE-SAMPLE-001",
        "summary": "it is broken",
        "detail": None,
        "source": "here",
        "cause": None,
        "hint": None,
    }


def test_plugin_errors_are_the_users_business():
    assert PluginError(3, "driver 'x'").status == EXIT_USAGE
