"""Debug level and self-checking: from the environment, overridden for a block, per thread of execution."""

import contextvars

import pytest

from iree_base import debug
from iree_base.errors import PluginError


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("IREE_DEBUG", raising=False)
    monkeypatch.delenv("IREE_VERIFY", raising=False)


def test_levels_are_named_in_order():
    assert [debug.PLUGINS, debug.PASSES, debug.PHASES, debug.IR, debug.TARGET_TEXT, debug.VM_TRACE] == [
        1, 2, 3, 4, 5, 6
    ]  # fmt: skip
    assert debug.ASSEMBLY == 7


def test_the_environment_is_read_when_asked(monkeypatch):
    assert debug.level() == 0
    assert not debug.verifying()
    monkeypatch.setenv("IREE_DEBUG", "3")
    monkeypatch.setenv("IREE_VERIFY", "1")
    assert debug.at(debug.PHASES)
    assert not debug.at(debug.IR)
    assert debug.verifying()
    monkeypatch.setenv("IREE_DEBUG", "")
    assert debug.level() == 0


def test_a_word_instead_of_a_number_is_a_coded_error(monkeypatch):
    monkeypatch.setenv("IREE_DEBUG", "lots")
    with pytest.raises(PluginError, match=r"IREE-BASE-006.*IREE_DEBUG=lots.*set IREE_DEBUG to a number"):
        debug.level()


def test_blocks_override_the_environment_and_nest(monkeypatch):
    monkeypatch.setenv("IREE_DEBUG", "2")
    with debug.debug(5):
        assert debug.level() == 5
        with debug.debug(0):
            assert debug.level() == 0
        assert debug.level() == 5
    assert debug.level() == 2
    with debug.verify(), debug.verify(False):
        assert not debug.verifying()


def test_a_block_is_invisible_to_other_contexts():
    with debug.debug(4):
        assert contextvars.Context().run(debug.level) == 0


def test_log_writes_to_stderr_from_its_level_on(capsys):
    with debug.debug(2):
        debug.log(2, "shown")
        debug.log(3, "hidden")
    assert capsys.readouterr().err == "shown\n"
