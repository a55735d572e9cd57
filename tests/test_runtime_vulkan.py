"""A machine that only runs models, on a Vulkan device: the driver's package brings nothing of the compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

import iree_flow
import iree_hal
import iree_vm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "ci"))

import fresh  # noqa: E402

INSTALLED = (*fresh.RUNTIME, "iree-target-vulkan")
COMPILER = {
    "iree-core-ir",
    "iree-codegen",
    "iree-flow",
    "iree-input-onnx",
    "iree-target-llvm",
    "llvmlite",
    "onnx",
}

RUN = """
import importlib.metadata, json, sys
import numpy as np
import iree_vm
module = iree_vm.load(sys.argv[1])
np.save(sys.argv[3], module.main(np.load(sys.argv[2])))
print(json.dumps([module.device.driver_name, sorted(d.name for d in importlib.metadata.distributions())]))
"""

EXPLAIN = """
from importlib.metadata import entry_points
plugin = next(iter(entry_points(group="iree.compiler", name="vulkan-spirv"))).load()
try:
    plugin.iree_targets()["vulkan-spirv"]()
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> fresh.Environment:
    """An environment with the runtime and the driver, installed as copies, and what they declare."""
    if not iree_hal.devices("vulkan"):
        pytest.skip("no Vulkan device: see iree plugins doctor")
    environment = fresh.Environment(tmp_path_factory.mktemp("runtime") / "venv")
    environment.create()
    environment.install(*fresh.BUILD_BACKEND)
    environment.install(*fresh.local(INSTALLED))
    return environment


def test_a_model_runs_there(runtime: fresh.Environment, tmp_path: Path) -> None:
    artifact = tmp_path / "mlp.vmfb"
    model = tiny.mlp(tmp_path / "mlp.onnx")
    iree_flow.compile(model, target="vulkan-spirv").save(artifact)
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    command = [runtime.python, "-c", RUN, artifact, tmp_path / "x.npy", tmp_path / "y.npy"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    driver, installed = json.loads(done.stdout)
    assert driver == "vulkan"
    assert not COMPILER & set(installed)
    expected = iree_vm.load(iree_flow.compile(model, target="reference")).main(x)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-4, atol=1e-6)


def test_compiling_there_names_the_command_that_installs_the_compiler(runtime: fresh.Environment) -> None:
    done = subprocess.run([str(runtime.python), "-c", EXPLAIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'iree-target-vulkan[compiler]'" in done.stdout
