"""``benchmarks/peers.py`` on a tiny model: the protocol, what is measured, ratios, table and page."""

from __future__ import annotations

import json
import math
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import errors
import peers
import peers_page
import peers_rounds
import peers_summary
import peers_table
import plots
import terminal
import workers


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of models that holds the tiny add, so that nothing is exported or fetched."""
    folder = tmp_path_factory.mktemp("models")
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "add",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])],
        [onnx.numpy_helper.from_array(np.ones(4, np.float32), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "add.onnx").write_bytes(model.SerializeToString())
    return folder


@pytest.fixture(scope="module")
def report(cache: Path) -> dict[str, Any]:
    path, page = cache / "report.json", cache / "report.html"
    arguments = ["add", "--cache", str(cache), "--engines", "ours", "onnxruntime", "inductor"]
    arguments += ["--threads", "1", "2", "--rounds", "2", "--turn", "0.01", "--cold", "1"]
    arguments += ["--json", str(path), "--html", str(page)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(peers.ENGINES, "inductor", _absent(peers.ENGINES["inductor"]))
        assert peers.main(arguments) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _absent(engine: Any) -> Any:
    import dataclasses

    return dataclasses.replace(engine, module="a_package_that_nobody_has.inside")


def test_both_engines_are_measured_and_agree(report: dict[str, Any]) -> None:
    assert [(entry["model"], entry["threads"]) for entry in report["entries"]] == [("add", 1), ("add", 2)]
    for entry in report["entries"]:
        assert entry["rounds"] == 2
        for name in ("ours", "onnxruntime"):
            cell = entry["engines"][name]
            assert cell["failure"] == "" and cell["error"] == 0.0
            assert 0 < cell["cpu_min_us"] <= cell["cpu_us"]
            assert cell["wall_us"] > 0 and cell["cold_s"] > 0
            assert cell["peak_bytes"] > 1 << 20 and cell["artifact_bytes"] > 0
        assert entry["engines"]["ours"]["compile_cpu_s"] > 0


def test_an_absent_engine_is_a_row_that_says_so(report: dict[str, Any]) -> None:
    for entry in report["entries"]:
        assert entry["engines"]["inductor"]["failure"] == "a_package_that_nobody_has.inside is not installed"


def test_ratios_are_of_the_best_peer(report: dict[str, Any]) -> None:
    cells = report["entries"][0]["engines"]
    part = report["summary"]["1"]["f32"]
    ratio = cells["onnxruntime"]["cpu_us"] / cells["ours"]["cpu_us"]
    assert part["models"]["add"]["peer"] == "onnxruntime"
    for value in (part["models"]["add"]["ratio"], part["families"]["small"], part["all"]):
        assert math.isclose(value, ratio)


class _Page(HTMLParser):
    """Counts tags and collects what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.loaded += [value or "" for key, value in attrs if key in ("src", "href")]


def test_the_page_holds_plots_and_loads_nothing(report: dict[str, Any], cache: Path) -> None:
    text = (cache / "report.html").read_text()
    assert peers_page.page(report).split("</p>", 1)[1] == text.split("</p>", 1)[1]
    page = _Page()
    page.feed(text)
    assert page.loaded == [] and "script" not in page.tags
    assert page.tags["svg"] >= 4 and page.tags["table"] == 2


def test_rows_of_the_table_fit_its_columns(report: dict[str, Any]) -> None:
    for entry in report["entries"]:
        rows = peers_table.rows(entry)
        assert [len(row) for row in rows] == [len(peers_table.COLUMNS)] * 3
        assert rows[1][-1] == "best f32 peer"


def test_a_report_is_shown_again(
    report: dict[str, Any], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert peers.main(["--from-json", str(cache / "report.json")]) == 0
    assert "Ratios, threads: 1" in capsys.readouterr().out


def test_a_worker_answers_line_by_line_and_tells_what_fails(cache: Path) -> None:
    feed = cache / "feed.npz"
    np.savez(feed, x=np.arange(4, dtype=np.float32))
    settings = {
        "onnx": str(cache / "add.onnx"),
        "artifact": str(cache / "none.vmfb"),
        "feed": str(feed),
        "threads": 1,
        "model": "add",
        "cache": str(cache),
    }
    with workers.Worker.serving("onnxruntime", settings) as worker:
        assert worker.cold_s > 0
        worker.pause()
        worker.resume()
        times = worker.ask("time 3 2")
        assert len(times["cpu_ns"]) == len(times["wall_ns"]) == 2
        assert worker.ask(f"outputs {cache / 'out.npz'}") == {"outputs": 1}
        with np.load(cache / "out.npz") as archive:
            assert archive["arr_0"].tolist() == [1, 2, 3, 4]
        with pytest.raises(workers.Failure, match="unknown request"):
            worker.ask("dance")
    with pytest.raises(workers.Failure, match=r"IREE-VM-050.*none\.vmfb"):
        workers.Worker.serving("ours", settings)


def test_a_failed_build_says_why(cache: Path) -> None:
    bad = cache / "bad.onnx"
    bad.write_bytes(b"\x08\x01not a model")
    with pytest.raises(workers.Failure, match="IREE-ONNX"):
        workers.build("ours", bad, cache / "bad.vmfb", cache)


def test_seconds_of_a_first_load_hold_for_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx_file = tmp_path / "add.onnx"
    onnx_file.write_bytes(b"model")
    prepared = peers.Prepared(peers.zoo.MODELS["add"], onnx_file, tmp_path / "feed.npz", tmp_path)
    engine = peers.ENGINES["inductor"]
    monkeypatch.setattr(peers, "version", lambda engine: "1")
    assert peers.compiled_at_load(engine, prepared, 8.0) == 8.0
    assert peers.compiled_at_load(engine, prepared, 0.5) == 8.0
    monkeypatch.setattr(peers, "version", lambda engine: "2")
    assert peers.compiled_at_load(engine, prepared, 6.0) == 6.0
    assert peers.compiled_at_load(engine, prepared, 0.5) == 6.0
    assert peers.compiled_at_load(peers.ENGINES["onnxruntime"], prepared, 0.5) == 0.5


def _entry(family: str, model: str, ours: float, peer: float, error: float = 0.0) -> dict[str, Any]:
    cells = {
        "ours": peers_summary.Cell(cpu_us=ours, wall_us=ours, error=error),
        "onnxruntime": peers_summary.Cell(cpu_us=peer, wall_us=peer, error=0.0),
        "openvino": peers_summary.Cell(cpu_us=1.0, error=0.5),
    }
    engines = {name: peers.asdict(cell) for name, cell in cells.items()}
    return {"model": model, "family": family, "threads": 1, "engines": engines}


def test_means_are_geometric_and_wrong_answers_do_not_count() -> None:
    entries = [
        _entry("conv", "a", 1.0, 4.0),
        _entry("conv", "b", 1.0, 1.0),
        _entry("ocr", "c", 1.0, 8.0, error=1e-3),
    ]
    part = peers_summary.summarize(entries)["1"]["f32"]
    assert part["families"] == {"conv": pytest.approx(2.0)}
    assert part["all"] == pytest.approx(2.0) and part["worst"] == "b"
    assert part["missing"] == ["c"]


def test_differences_are_relative_and_see_what_does_not_fit() -> None:
    b = np.array([1.0, 3.0], np.float32)
    assert errors.difference([b], [b]) == 0.0
    assert errors.difference([b + 0.1], [b]) == pytest.approx(0.1, rel=1e-5)
    assert errors.difference([], [b]) == math.inf
    assert errors.difference([b[:1]], [b]) == math.inf
    assert errors.difference([b * np.nan], [b]) == math.inf


def test_tables_without_rich_are_columns(capsys: pytest.CaptureFixture[str]) -> None:
    terminal._plain("Title", ("name", "number"), [("a", "1"), ("bcd", "22")], ("name",))
    lines = ["Title", "name  number", "a          1", "bcd       22", ""]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, 2.0), (64.0, float("nan"))], [(1, 1), (4, 9)]])
def test_plots_take_any_number_of_points(points: list[tuple[float, float]]) -> None:
    text = plots.lines({"a <b>": points}, "x", "y")
    assert "<b>" not in text
    page = _Page()
    page.feed(plots.page("t", [text, plots.ratio_bars({"m": 0.5, "n": float("nan")}, {})]))
    assert page.tags.get("circle", 0) == sum(y == y for _, y in points)


def test_one_core_is_shared_where_one_thread_is_measured(cache: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    quiet = workers.Quiet(cores, cache, shared=True, milliseconds=1)
    try:
        rates = quiet.rates()
        assert len(rates) == 1 and quiet.core in cores and quiet.best == rates
        chosen = quiet.core
        again = quiet.rates(choose=False)
        assert quiet.core == chosen
        assert quiet.best == [max(rates[0], again[0])]
        assert quiet.reached(quiet.best) and not quiet.reached([0.9 * quiet.best[0]])
    finally:
        quiet.close()


def test_samples_on_a_shared_core_are_judged_by_the_probes_around_them() -> None:
    turn = peers_rounds.Turns(1, 3)
    turn.rounds = [{"rate": [100.0] * 30}, {"rate": [60.0, 95.0, 100.0]}, {"rate": [60.0] * 3}]
    other = peers_rounds.Turns(1, 1, [{"rate": [85.0]}, {"rate": [98.0]}, {"rate": [99.0]}])
    flags = peers_rounds.alone({"a": turn, "b": other})
    assert [all(found) for found in flags["a"]] == [True, False, False]
    assert flags["a"][1] == [False, True, True]
    assert flags["b"] == [[False], [True], [True]]
    assert peers_rounds.alone({}) == {}


def test_a_worker_moves_to_a_core(cache: Path) -> None:
    core = max(os.sched_getaffinity(0))
    with workers.Worker(["spin", str(min(os.sched_getaffinity(0)))], 1, cache) as worker:
        worker.move(core)
        assert all(os.sched_getaffinity(task) == {core} for task in worker.tasks())


def test_quiet_rounds_alone_count_on_a_shared_core(cache: Path) -> None:
    path = cache / "shared.json"
    arguments = ["add", "--cache", str(cache), "--engines", "ours", "onnxruntime", "--rounds", "2"]
    arguments += ["--turn", "0.01", "--cold", "1", "--quiet", "1", "--patience", "5", "--json", str(path)]
    assert peers.main(arguments) == 0
    entry = json.loads(path.read_text())["entries"][0]
    assert entry["threads"] == 1 and entry["rounds"] >= 2 and entry["quiet_rounds"] >= 1
    for cell in entry["engines"].values():
        assert cell["cpu_us"] > 0 and cell["quiet_wall_us"] > 0 and cell["quiet_samples"] > 0


def test_errors_over_inputs_are_those_of_each_input(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch, which computes in float64, is a download of its own")
    path = cache / "errors.json"
    arguments = ["mlp_1", "--cache", str(cache), "--engines", "ours", "onnxruntime", "float64"]
    assert peers.main([*arguments, "--errors", "3", "--json", str(path)]) == 0
    found = json.loads(path.read_text())["mlp_1"]
    assert set(found) == {"ours", "onnxruntime"}
    for values in found.values():
        assert len(set(values)) == 3  # each input has an error of its own
        assert all(0 < value < 1e-5 for value in values)
    assert "mlp_1" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="ocr_cls: there is no torch source"):
        peers.main(["ocr_cls", "--cache", str(cache), "--errors", "1"])
