"""``tune-dispatches``: an executable is marked where another description won, and what was measured is told."""

from __future__ import annotations

from typing import Any

import pytest
from contract import dispatch_functions
from fixture_target import FixtureTarget
from flow_programs import program

from iree_core_ir.pass_manager import PassContext, PassManager
from iree_flow import tuning
from iree_flow.chosen_description import OWN, TUNED
from iree_flow.dialects import flow
from iree_flow.passes.form_dispatch_regions import FormDispatchRegions
from iree_flow.passes.outline_dispatch_regions import OutlineDispatchRegions
from iree_flow.passes.resolve_dims import ResolveDims
from iree_flow.passes.tune_dispatches import TuneDispatches
from iree_flow.report import CompileReport
from iree_flow.tuning import Choice


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """What tuning finds for the executables, one after the other."""
    found: list[Choice] = []
    monkeypatch.setattr(
        tuning.Tuner, "choose", lambda self, executables: dict(zip(executables, found, strict=True))
    )
    return found


def tuned(**options: Any) -> tuple[list[Any], CompileReport]:
    """The executables of a program after the pass, and the report."""
    module, constants, _ = program("matmul")
    target, report = FixtureTarget(), CompileReport()
    passes = [ResolveDims(), FormDispatchRegions(), OutlineDispatchRegions(), TuneDispatches()]
    context = {"target": target, "description": target.describe({}), "report": report, **options}
    PassManager(passes).run(module, PassContext(constants=constants, options=context))
    assert dispatch_functions(module)
    return [op for op in module.walk() if isinstance(op, flow.Executable)], report


def test_nothing_is_tried_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "Tuner", None)
    executables, report = tuned()
    assert report.tuning == []
    assert all(TUNED not in executable.attributes for executable in executables)


def test_who_won_is_marked(choices: list[Choice]) -> None:
    choices.append(Choice("wide", ((OWN, 2.0), ("wide", 1.0))))
    (executable,), report = tuned(tune=True)
    assert executable.attributes[TUNED].value == "wide"
    (row,) = report.tuning
    assert (row.name, row.label) == (executable.sym_name.value, "wide")
    assert row.seconds == {OWN: 2.0, "wide": 1.0}


def test_the_own_choice_is_told_but_not_marked(choices: list[Choice]) -> None:
    choices.append(Choice(OWN, ((OWN, 1.0), ("wide", 2.0))))
    (executable,), report = tuned(tune=True)
    assert TUNED not in executable.attributes
    assert [row.label for row in report.tuning] == [OWN]


def test_what_was_not_measured_is_not_told(choices: list[Choice]) -> None:
    choices.append(Choice())
    _, report = tuned(tune=True)
    assert report.tuning == []
