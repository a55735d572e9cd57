"""``compile``: sources, options and their errors, reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from flow_programs import PASS_THROUGH

import iree_flow
from iree_base.errors import IreeError, PluginError
from iree_flow.errors import FlowError

SMALL = PASS_THROUGH


def code(error: pytest.ExceptionInfo[IreeError]) -> str:
    return error.value.code


def test_mlir_text_and_file_give_the_same_artefact(tmp_path: Path) -> None:
    path = tmp_path / "m.mlir"
    path.write_text(SMALL)
    iree_flow.compile(SMALL, target="fixture", name="m").save(tmp_path / "a.vmfb")
    iree_flow.compile(path, target="fixture").save(tmp_path / "b.vmfb")
    assert (tmp_path / "a.vmfb").read_bytes() == (tmp_path / "b.vmfb").read_bytes()


def test_output_is_where_the_artefact_is_written(tmp_path: Path) -> None:
    iree_flow.compile(SMALL, target="fixture", name="m").save(tmp_path / "a.vmfb")
    made = iree_flow.compile(SMALL, target="fixture", name="m", output=tmp_path / "b.vmfb")
    assert made.path == tmp_path / "b.vmfb"
    assert (tmp_path / "a.vmfb").read_bytes() == (tmp_path / "b.vmfb").read_bytes()
    assert made.report.dispatches == iree_flow.compile(SMALL, target="fixture", name="m").report.dispatches
    with pytest.raises(FlowError) as error:
        iree_flow.compile(SMALL, target="fixture", compile_to="stream", output=tmp_path / "c.vmfb")
    assert code(error) == "IREE-FLOW-004"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vmfb", "b.vmfb"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlowError) as error:
        iree_flow.compile(tmp_path / "none.mlir", target="fixture")
    assert code(error) == "IREE-FLOW-001" and "none.mlir" in str(error.value)


def test_a_source_nobody_recognizes(tmp_path: Path) -> None:
    path = tmp_path / "x.weird"
    path.write_bytes(b"\0\1\2")
    with pytest.raises(FlowError) as error:
        iree_flow.compile(path, target="fixture")
    assert code(error) == "IREE-FLOW-002"


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(FlowError) as error:
        iree_flow.compile(SMALL, target="fixture", optimise=3)
    assert code(error) == "IREE-FLOW-003" and error.value.status == 2 and "jobs" in str(error.value)


def test_an_option_without_effect_is_an_error() -> None:
    with pytest.raises(FlowError) as error:
        iree_flow.compile(SMALL, target="fixture", input_shapes={"x": (4,)})
    assert code(error) == "IREE-FLOW-004"


def test_an_unknown_phase_lists_the_phases() -> None:
    with pytest.raises(FlowError) as error:
        iree_flow.compile(SMALL, target="fixture", compile_to="magic")
    assert code(error) == "IREE-FLOW-005" and "dispatch-creation" in str(error.value)


def test_an_unknown_target_lists_the_installed_ones() -> None:
    with pytest.raises(PluginError) as error:
        iree_flow.compile(SMALL, target="abacus")
    assert "fixture" in str(error.value) and "pip install" in str(error.value)


def test_a_refused_op_is_named_with_its_place() -> None:
    from flow_programs import DIAMOND

    with pytest.raises(FlowError) as error:
        iree_flow.compile(DIAMOND, target="picky")
    text = str(error.value)
    assert code(error) == "IREE-FLOW-007" and text.count("linalg.matmul") == 2 and "not today" in text


def test_the_report_tells_memory_placement_and_dispatches() -> None:
    from flow_programs import DIAMOND

    report = iree_flow.compile(DIAMOND, target="fixture").report
    assert {row.target for row in report.placement} == {"fixture"}
    assert report.arenas and all(a.lower_bound <= a.peak <= a.sum_of_temporaries for a in report.arenas)
    assert len(report.dispatches) >= 3 and all(row.sources for row in report.dispatches)
    text = str(report)
    assert all(row.name in text for row in report.dispatches) and "lower bound" in text


def test_dumped_phases_parse_back(tmp_path: Path) -> None:
    from iree_flow.pipeline import PHASE_NAMES

    iree_flow.compile(SMALL, target="fixture", dump_phases_to=tmp_path)
    assert sorted(p.stem.split("-", 1)[1] for p in tmp_path.glob("*.mlir")) == sorted(PHASE_NAMES)
