"""The plugin is light, and its frontend says truthfully what it reads."""

import subprocess
import sys

import numpy as np
import onnx

from iree_core_ir.constants import ConstantStore
from iree_input_onnx import plugin
from iree_input_onnx.testing import one_node


def test_listing_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, iree_input_onnx.plugin as p; p.iree_frontends(); "
        "sys.exit(any(m in sys.modules for m in ('onnx', 'numpy', 'google.protobuf', 'iree_core_ir')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_is_found_by_name_and_by_suffix():
    frontends = plugin.iree_frontends()
    assert plugin.api[0] == 1
    assert frontends["onnx"]().suffixes == (".onnx",)
    assert ".onnx" in frontends


def test_what_it_recognizes(tmp_path):
    frontend = plugin.iree_frontends()["onnx"]()
    model = one_node("Relu", {"x": np.zeros(3, np.float32)})
    data = model.SerializeToString()
    assert frontend.recognizes(model)
    assert frontend.recognizes(data)
    assert frontend.recognizes(memoryview(data))
    assert frontend.recognizes("model.onnx")
    assert frontend.recognizes(tmp_path / "model.onnx")
    for other in ("model.mlir", b"module {}", b"", 5, None, onnx.TensorProto()):
        assert not frontend.recognizes(other)


def test_load_without_options():
    frontend = plugin.iree_frontends()["onnx"]()
    module = frontend.load(one_node("Relu", {"x": np.zeros(3, np.float32)}), ConstantStore())
    assert module.name == "builtin.module"
