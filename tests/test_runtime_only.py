"""A machine that only runs models: numpy, pluggy and the runtime's wheels; nothing of the compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "ci"))

import fresh  # noqa: E402

RUN = """
import json, sys
import numpy as np
import iree_vm
out = iree_vm.load(sys.argv[1]).main(np.load(sys.argv[2]))
np.save(sys.argv[3], out)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> fresh.Environment:
    """An environment with the runtime packages, installed as copies, and what they declare."""
    environment = fresh.Environment(tmp_path_factory.mktemp("runtime") / "venv")
    environment.create()
    environment.install(*fresh.BUILD_BACKEND)
    environment.install(*fresh.local(fresh.RUNTIME))
    return environment


def test_magika_runs_on_the_runtime_alone(
    runtime: fresh.Environment, magika_artifact: Path, tmp_path: Path
) -> None:
    import iree_vm

    feed = zoo.MODELS["magika"].feed(0)["bytes"]
    np.save(tmp_path / "in.npy", feed)
    command = [runtime.python, "-c", RUN, magika_artifact, tmp_path / "in.npy", tmp_path / "out.npy"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout))
    assert not modules & {
        "iree_core_ir",
        "iree_codegen",
        "iree_flow",
        "llvmlite",
        "onnx",
        "ml_dtypes",
        "torch",
    }
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), iree_vm.load(magika_artifact).main(feed))


def test_the_installed_runtime_is_small(runtime: fresh.Environment) -> None:
    """The design promises small; 3 MB is what nobody would call large."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([str(runtime.python), "-c", code], capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    modules = [folder / name.replace("-", "_") for name in fresh.RUNTIME]
    size = sum(
        path.stat().st_size
        for module in modules
        for path in module.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )
    assert 0 < size < 3_000_000
