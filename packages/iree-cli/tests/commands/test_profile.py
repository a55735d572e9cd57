"""``iree profile``: times of dispatches on a real device, in every form."""

import json

import pytest

from iree_cli import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    from iree_hal.peaks import measure

    monkeypatch.setenv("IREE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(measure, "LARGEST", 1 << 20)


def run(*arguments):
    return main.run(["profile", *map(str, arguments)])


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """An artefact with a product whose size is only known at run time."""
    iree_flow = pytest.importorskip("iree_flow", reason="the compiler is an extra of this package")
    pytest.importorskip("iree_target_llvm", reason="a target is a package of its own")
    text = """
    func.func @main(%x: tensor<?x32xf32> {iree.name = "x"}) -> tensor<?x64xf32> {
      %c0 = arith.constant 0 : index
      %n = tensor.dim %x, %c0 : tensor<?x32xf32>
      %w = arith.constant dense<0.5> : tensor<32x64xf32>
      %z = arith.constant 0.0 : f32
      %e = tensor.empty(%n) : tensor<?x64xf32>
      %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
      %m = linalg.matmul ins(%x, %w : tensor<?x32xf32>, tensor<32x64xf32>) outs(%f : tensor<?x64xf32>)
        -> tensor<?x64xf32>
      return %m : tensor<?x64xf32>
    }
    """
    path = tmp_path_factory.mktemp("product") / "product.vmfb"
    iree_flow.compile(text, target="llvm-cpu").save(path)
    return path


@pytest.mark.parametrize("n", [1, 7])
def test_operations_follow_the_sizes_of_the_call(product, n, capsys):
    assert run(product, "--input", f"x={n}x32xf32=random", "--rounds", "2", "--threads", "1", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    (dispatch,) = facts["dispatches"]
    assert dispatch["flops"] == 2 * n * 32 * 64
    assert dispatch["bytes"]["read"] == n * 32 * 4
    assert dispatch["bytes"]["written"] == n * 64 * 4
    assert dispatch["microseconds"] > 0
    assert dispatch["share"] == pytest.approx(1)
    assert dispatch["bound_by"] in ("arithmetic", "memory")
    assert facts["peaks"]["gflops"] > 0
    assert len(facts["commands"]) == 1


def test_given_peaks_replace_measured_ones(product, capsys):
    arguments = ("--input", "x=4x32xf32=1", "--rounds", "1", "--json")
    assert run(product, *arguments, "--peak-flops", "0.001", "--peak-bandwidth", "1") == 0
    facts = json.loads(capsys.readouterr().out)
    (dispatch,) = facts["dispatches"]
    assert dispatch["bound_microseconds"] == pytest.approx(2 * 4 * 32 * 64)
    assert dispatch["reached"] > 1
    assert facts["peaks"]["gbytes"] == [{"working_set": 0, "rate": 1.0}]


def test_files_are_written(product, tmp_path, capsys):
    trace, page = tmp_path / "t.json", tmp_path / "p.html"
    arguments = ("--input", "x=4x32xf32=1", "--rounds", "1", "--warmup", "0")
    assert run(product, *arguments, "--trace", trace, "--html", page, "--calibrate") == 0
    assert "reached" in capsys.readouterr().out
    assert json.loads(trace.read_text())["traceEvents"]
    assert page.read_text().startswith("<!doctype html>")


def test_a_device_without_a_clock_says_so(product, capsys):
    assert run(product, "--device", "null", "--input", "x=4x32xf32=1") != 0
    assert capsys.readouterr().err.startswith("IREE-")


def test_options_without_effect(product, capsys):
    for extra in (("--json", "--each"), ("--json", "--top", "3")):
        assert run(product, *extra) == 2
        assert capsys.readouterr().err.startswith("IREE-CLI-004")
    assert run(product, "--calibrate", "--peak-flops", "1", "--peak-bandwidth", "1") == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-004")
    assert run(product, "--input", "x=4x32xf32=1", "--seed", "1") == 2
    assert capsys.readouterr().err.startswith("IREE-CLI-004")


def test_processor_time_needs_one_thread(product, capsys):
    arguments = ("--input", "x=4x32xf32=1", "--rounds", "1", "--clock", "cpu", "--json")
    assert run(product, *arguments, "--threads", "1") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["clock"] == "cpu"
    assert facts["dispatches"][0]["microseconds"] > 0
    assert run(product, *arguments, "--threads", "2") != 0
    assert "one thread" in capsys.readouterr().err
