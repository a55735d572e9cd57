"""``iree compile``: options reach the compiler as arguments, its answer reaches files, mistakes cost no time.

The compiler here is a stand-in that records what it is asked for.
"""

import json
import pathlib
import sys
import types

import pytest

from iree_base.errors import IreeError
from iree_cli import main


class Compiled:
    def __init__(self, arguments):
        self.arguments = arguments
        self.report = types.SimpleNamespace(to_json=lambda: {"n_dispatches": 3})

    def save(self, path):
        pathlib.Path(path).write_bytes(b"artefact")


class Unsupported(IreeError):
    package = "TEST"
    table = {4: "ops are not supported"}


@pytest.fixture
def flow(monkeypatch, tmp_path):
    calls = []
    module = types.ModuleType("iree_flow")

    def compile(source, **arguments):
        calls.append((source, arguments))
        if source.read_bytes() == b"bad":
            raise Unsupported(4, "Foo of node 'a'")
        compiled = Compiled(arguments)
        if "output" in arguments:
            compiled.save(arguments["output"])
        return compiled

    module.compile = compile
    monkeypatch.setitem(sys.modules, "iree_flow", module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"good")
    return calls


def run(*arguments):
    return main.run(["compile", *map(str, arguments)])


def test_only_what_is_given_is_passed_on(flow, tmp_path, capsys):
    assert run("model.onnx") == 0
    assert flow == [(pathlib.Path("model.onnx"), {"output": pathlib.Path("model.vmfb")})]
    assert (tmp_path / "model.vmfb").read_bytes() == b"artefact"
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("model.vmfb: 8 B in ")


def test_every_option_has_its_argument(flow, tmp_path):
    options = ["--target", "some", "--target-cpu", "x86-64-v3", "--target-features", "+avx2,-fma"]
    options += ["--input-shape", "x=1x3x4", "--input-shape", "a=b=2", "--input-shape", "s="]
    options += ["--compile-from", "input", "--dump-phases-to", "phases", "--jobs", "2", "--no-cache"]
    options += ["--matmul-precision", "high", "--conv-algorithm", "direct"]
    assert run("model.onnx", "-o", "out.vmfb", *options) == 0
    assert flow[0][1] == {
        "output": pathlib.Path("out.vmfb"),
        "target": "some",
        "target_cpu": "x86-64-v3",
        "target_features": "+avx2,-fma",
        "input_shapes": {"x": (1, 3, 4), "a=b": (2,), "s": ()},
        "compile_from": "input",
        "dump_phases_to": pathlib.Path("phases"),
        "jobs": 2,
        "cache": False,
        "matmul_precision": "high",
        "conv_algorithm": "direct",
    }


def test_several_targets_are_a_list(flow):
    assert run("model.onnx", "--target", "a", "--target", "b") == 0
    assert flow[0][1]["target"] == ["a", "b"]


def test_options_of_any_target_are_handed_on(flow, capsys):
    assert run("model.onnx", "--target-far-away-thing=1", "--target-other", "x y") == 0
    assert flow[0][1] == {
        "output": pathlib.Path("model.vmfb"),
        "target_far_away_thing": "1",
        "target_other": "x y",
    }
    assert run("model.onnx", "--tarjet-other", "x") == 2
    assert run("model.onnx", "--target-other") == 2


def test_a_phase_has_its_own_default_name(flow, tmp_path):
    assert run("model.onnx", "--compile-to", "stream") == 0
    assert (tmp_path / "model.stream.mlir").exists()
    assert "output" not in flow[0][1]


def test_json(flow, capsys):
    assert run("model.onnx", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["output"] == "model.vmfb"
    assert facts["report"] == {"n_dispatches": 3}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("none.onnx",), "IREE-CLI-002"),
        (("model.onnx", "-o", "nowhere/out.vmfb"), "IREE-CLI-003"),
        (("model.onnx", "-o", "."), "IREE-CLI-003"),
        (("model.onnx", "-o", "-"), "IREE-CLI-004"),
        (("model.onnx", "-o", "-", "--compile-to", "stream", "--json"), "IREE-CLI-004"),
        (("model.onnx", "--input-shape", "x"), "IREE-CLI-001"),
        (("model.onnx", "--input-shape", "x=1xy"), "IREE-CLI-001"),
        (("model.onnx", "--input-shape", "x=1", "--input-shape", "x=2"), "IREE-CLI-009"),
        (("model.onnx", "--jobs", "0"), "IREE-CLI-001"),
    ],
)
def test_mistakes_are_found_before_compiling(flow, capsys, arguments, code):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(code)
    assert error.count("\n") == 1
    assert flow == []


def test_a_failed_compilation_leaves_no_file(flow, tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"bad")
    assert run("model.onnx") == 1
    assert capsys.readouterr().err == "IREE-TEST-004: ops are not supported: Foo of node 'a'\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_without_the_compiler_the_install_command_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "iree_flow", None)
    (tmp_path / "model.onnx").write_bytes(b"good")
    assert run(tmp_path / "model.onnx", "-o", tmp_path / "x.vmfb") == 2
    error = capsys.readouterr().err
    assert error.startswith("IREE-CLI-005")
    assert "pip install 'iree-cli[compile]'" in error
