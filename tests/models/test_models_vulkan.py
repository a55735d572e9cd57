"""Every real model on this machine's Vulkan device: like onnxruntime, every shader valid, no validation message."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import zoo

pytest.importorskip("onnxruntime")
pytest.importorskip("iree_target_vulkan")

QUICK = ("ocr_cls",)
"""A processor's Vulkan driver takes seconds for a kernel's first run; the others are in their nox session."""
TOLERANCE = 1e-3


@pytest.fixture(scope="session")
def validated_device() -> None:
    """Skips where there is no Vulkan device or no validation layer."""
    from iree_base.errors import IreeError

    try:
        from iree_hal import devices
        from iree_target_vulkan.binding import enumerated, lib, text

        found = devices("vulkan")
        layers = enumerated(lib.vkEnumerateInstanceLayerProperties, "VkLayerProperties")
    except IreeError as error:
        pytest.skip(f"no Vulkan: {error}")
    if not found:
        pytest.skip("no Vulkan device on this machine")
    if "VK_LAYER_KHRONOS_validation" not in {text(layer.layerName) for layer in layers}:
        pytest.skip("the Vulkan validation layers are not installed")


@pytest.mark.usefixtures("validated_device")
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS]
)
def test_a_model_runs_on_vulkan_as_in_onnxruntime(name: str, model_file: Callable[[str], Path]) -> None:
    program = Path(__file__).with_name("vulkan_model.py")
    done = subprocess.run(
        [sys.executable, str(program), name, str(model_file(name))],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    if "IREE-VK-027" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])  # larger than a buffer of this device may be
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    print(report)
    assert report["messages"] == []
    assert report["invalid"] == []
    assert report["error"] <= TOLERANCE
