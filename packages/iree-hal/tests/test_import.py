"""What importing the runtime costs: neither the compiler nor LLVM, and nothing started."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("iree_core_ir", "iree_flow", "llvmlite", "onnx", "pytest", "hypothesis")


def _loaded(program: str) -> set[str]:
    text = program + "\nimport sys, threading\nassert threading.active_count() == 1\nprint(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True).stdout
    return {name.split(".")[0] for name in output.split()}


def test_import_is_light() -> None:
    assert not _loaded("import iree_hal").intersection(HEAVY)


def test_running_needs_no_compiler() -> None:
    program = (
        "import numpy as np\n"
        "from iree_hal.conformance.kernels import ORDINALS, local_executable\n"
        "import iree_hal as hal\n"
        "device = hal.create_device('local-sync')\n"
        "executable = device.load_executable(local_executable())\n"
        "b = hal.RecordingBuilder(2, 0)\n"
        "one, zero = b.const(1), b.const(0)\n"
        "b.dispatch(0, ORDINALS['count'], (one, one, one), [], [hal.BindingRef(1, zero, b.const(4))])\n"
        "out = np.zeros(1, np.uint32)\n"
        "device.execute(device.create_command_buffer(b.finish(), [executable]), [out])\n"
        "assert out[0] == 1\n"
    )
    assert not _loaded(program).intersection(HEAVY)


def test_discovery_loads_no_driver() -> None:
    program = "import iree_hal, sys\nassert 'local-task' in iree_hal.drivers()\n"
    program += "assert 'iree_hal.executor.native' not in sys.modules\n"
    program += "assert not any(m.startswith('iree_hal.builtin_drivers') for m in sys.modules)\n"
    assert not _loaded(program).intersection((*HEAVY, "numpy", "ctypes"))


def test_every_name_is_found() -> None:
    program = "import iree_hal\nassert set(iree_hal.__all__) <= set(dir(iree_hal))\n"
    program += "for name in iree_hal.__all__: getattr(iree_hal, name)\n"
    assert not _loaded(program).intersection(HEAVY)
