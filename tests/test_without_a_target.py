"""Each target is a package that can be left out: the others compile and run as before, nothing fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

ROOT = Path(__file__).resolve().parent.parent
TARGETS = sorted(path.name for path in ROOT.glob("packages/iree-target-*"))

HIDE = '''
"""Makes one distribution look as if it were not installed: no entry points, no metadata, no modules."""
import importlib.metadata
import os
import sys

HIDDEN = os.environ.get("HIDE_DISTRIBUTION", "")
MODULE = HIDDEN.replace("-", "_")
REAL = importlib.metadata.MetadataPathFinder.find_distributions


class Refuse:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == MODULE:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None

    @staticmethod
    def find_distributions(context=None):
        return []  # distributions are not in folders alone now, so importlib.metadata is asked


def find_distributions(*args, **kwargs):
    return [d for d in REAL(*args, **kwargs) if d.name != HIDDEN]


if HIDDEN:
    sys.meta_path.insert(0, Refuse)
    importlib.metadata.MetadataPathFinder.find_distributions = staticmethod(find_distributions)
'''

RUN = """
import sys
import numpy as np
import iree_hal
import iree_vm
x = np.load(sys.argv[2])
np.save(sys.argv[3], iree_vm.load(sys.argv[1]).main(x))
"""


@pytest.fixture(scope="module", params=TARGETS)
def hidden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes in which one target's distribution is not there."""
    folder = tmp_path_factory.mktemp("hide")
    (folder / "sitecustomize.py").write_text(HIDE)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "HIDE_DISTRIBUTION": request.param}


def python(hidden: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=hidden, capture_output=True, text=True)


def iree(hidden: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return python(hidden, "-c", "from iree_cli.main import main; main()", *arguments)


def targets(hidden: dict[str, str]) -> list[str]:
    """The targets that are left."""
    code = "from iree_core_ir.plugins import target_getters; print(*sorted(target_getters()))"
    done = python(hidden, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_only_its_names_are_gone(hidden: dict[str, str]) -> None:
    done = iree(hidden, "plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    plugins = json.loads(done.stdout)["plugins"]
    owners = {plugin["distribution"] for plugin in plugins}
    assert hidden["HIDE_DISTRIBUTION"] not in owners
    assert {name for name in TARGETS if name != hidden["HIDE_DISTRIBUTION"]} <= owners
    assert all(plugin["status"] == "ok" for plugin in plugins)
    assert iree(hidden, "plugins", "doctor").returncode in (0, 1)
    devices = json.loads(iree(hidden, "devices", "--json").stdout)["devices"]
    assert {"local-sync", "local-task", "null"} <= {entry["driver"] for entry in devices}


def test_the_others_compile_and_run(hidden: dict[str, str], tmp_path: Path) -> None:
    model = tiny.mlp(tmp_path / "mlp.onnx")
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    results = []
    for target in targets(hidden):
        artifact = tmp_path / f"{target}.vmfb"
        done = iree(hidden, "compile", model, "--target", target, "-o", artifact)
        assert done.returncode == 0, done.stderr
        if target.startswith("vulkan") and not _has_device(hidden, "vulkan"):
            continue
        done = python(hidden, "-c", RUN, artifact, tmp_path / "x.npy", tmp_path / "y.npy")
        assert done.returncode == 0, done.stderr
        results.append(np.load(tmp_path / "y.npy"))
    assert results
    for result in results:
        np.testing.assert_allclose(result, results[0], rtol=1e-4, atol=1e-6)


def test_a_target_that_is_not_there_is_an_error_that_says_so(hidden: dict[str, str], tmp_path: Path) -> None:
    model = tiny.mlp(tmp_path / "mlp.onnx")
    done = iree(hidden, "compile", model, "--target", "no-such-target", "-o", tmp_path / "m.vmfb")
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("IREE-BASE-003")
    assert all(name in done.stderr for name in targets(hidden))


def _has_device(hidden: dict[str, str], driver: str) -> bool:
    entries = json.loads(iree(hidden, "devices", "--json").stdout)["devices"]
    return any(entry["driver"] == driver and entry["status"] == "ok" for entry in entries)
