"""Sessions: target options reach the targets that have them, views see one target."""

from __future__ import annotations

from typing import Any

import pytest

from iree_flow.errors import FlowError
from iree_flow.options import CompileOptions
from iree_flow.session import Session


def session(target: Any, **options: Any) -> Session:
    made = Session(CompileOptions.from_arguments(target, options))
    made.load_targets()
    return made


def test_an_option_reaches_every_target_that_has_it() -> None:
    made = session(("fixture", "lattice"), target_colour="red", target_lattice_profile="fine")
    assert made.descriptions["lattice"].options == (("colour", "red"), ("lattice-profile", "fine"))
    assert made.descriptions["fixture"].options == (("colour", "red"),)


def test_an_option_that_no_target_has() -> None:
    with pytest.raises(
        FlowError, match=r"IREE-FLOW-003.*target_shape.*fixture has no such.*target_colour"
    ) as caught:
        session("fixture", target_shape="round")
    assert caught.value.status == 2
    with pytest.raises(FlowError, match=r"IREE-FLOW-003.*target_lattice_profile"):
        session("fixture", target_lattice_profile="fine")


def test_views_see_their_target_and_share_the_rest() -> None:
    made = session(("fixture", "lattice"))
    assert [t.name for t, _ in made.context().options["targets"]] == ["fixture", "lattice"]
    view = made.view("lattice")
    assert view.target is made.targets["lattice"]
    assert view.description is made.descriptions["lattice"]
    assert view.constants is made.constants
    assert view.report is made.report
    assert [t.name for t, _ in view.context().options["targets"]] == ["lattice"]


def test_a_precision_reaches_the_targets_that_multiply_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(("fixture", "lattice"), matmul_precision="high")
    assert made.descriptions["fixture"].options == made.descriptions["lattice"].options == ()
    assert made.report.remarks == [
        "fixture: matmul-precision=high has no effect",
        "lattice: matmul-precision=high has no effect",
    ]
    assert str(made.report).splitlines()[0] == made.report.remarks[0]
    monkeypatch.setattr(type(made.targets["fixture"]), "option_names", ("matmul-precision",))
    monkeypatch.setattr(
        type(made.targets["fixture"]), "remarks", lambda self, description: ["slow"], raising=False
    )
    again = session("fixture", matmul_precision="medium")
    assert again.descriptions["fixture"].options == (("matmul-precision", "medium"),)
    assert again.report.remarks == ["fixture: slow"]
    assert session("fixture").descriptions["fixture"].options == ()
    with pytest.raises(FlowError, match=r"IREE-FLOW-012.*highest, high, medium"):
        session("fixture", matmul_precision="low")


def test_an_algorithm_reaches_the_targets_that_have_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(("fixture", "lattice"), conv_algorithm="direct")
    assert made.descriptions["fixture"].options == made.descriptions["lattice"].options == ()
    assert made.report.remarks == []
    monkeypatch.setattr(type(made.targets["fixture"]), "option_names", ("conv-algorithm",))
    again = session("fixture", conv_algorithm="direct")
    assert again.descriptions["fixture"].options == (("conv-algorithm", "direct"),)
    assert session("fixture").descriptions["fixture"].options == ()
    with pytest.raises(FlowError, match=r"IREE-FLOW-012.*auto, direct"):
        session("fixture", conv_algorithm="fft")
