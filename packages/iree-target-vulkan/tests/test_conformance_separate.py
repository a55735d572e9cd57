"""The conformance suite on a device whose memory the host does not see, or cannot write: a processor that
pretends, where there is no GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("memory", ["1", "no-window"])
def test_suite_with_separate_memory(device: Any, memory: str) -> None:
    if not device.logical.memory.unified:
        pytest.skip("the device's memory is its own: test_conformance covers it")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_conformance.py"],
        cwd=Path(__file__).parent,
        env={**os.environ, "IREE_VULKAN_SEPARATE_MEMORY": memory},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
