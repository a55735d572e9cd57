"""A machine with iree-target-vulkan but without a Vulkan driver: what is missing is said, the rest works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiny

NO_DRIVER = {"VK_DRIVER_FILES": "/nonexistent", "VK_ICD_FILENAMES": "/nonexistent"}
Command = Callable[..., Any]


def test_devices_lists_the_driver_with_the_reason_and_the_fix(iree: Command) -> None:
    done = iree("devices", "--json", **NO_DRIVER)
    assert done.returncode == 0, done.stderr
    entries = {entry["driver"]: entry for entry in json.loads(done.stdout)["devices"]}
    assert entries["local-task"]["status"] == "ok"
    assert entries["vulkan"]["status"] == "unavailable"
    assert "Vulkan" in entries["vulkan"]["reason"]
    assert "install" in entries["vulkan"]["next"]


def test_the_doctor_names_cause_and_command(iree: Command) -> None:
    done = iree("plugins", "doctor", **NO_DRIVER)
    assert done.returncode == 1
    assert "driver 'vulkan' lacks" in done.stdout
    assert "  cause: " in done.stdout
    assert "apt-get install mesa-vulkan-drivers" in done.stdout
    assert "0 with problems" in done.stdout


def test_explain_says_it_too(iree: Command) -> None:
    done = iree("plugins", "explain", "vulkan", **NO_DRIVER)
    assert done.returncode == 0, done.stderr
    assert "no device vulkan: " in done.stdout
    assert "next      " in done.stdout


def test_compiling_needs_no_device_and_running_says_what_is_missing(iree: Command, tmp_path: Path) -> None:
    tiny.mlp(tmp_path / "mlp.onnx")
    done = iree("compile", "mlp.onnx", "--target", "vulkan-spirv", "-o", "gpu.vmfb", **NO_DRIVER)
    assert done.returncode == 0, done.stderr
    np.save(tmp_path / "x.npy", np.ones((2, 8), np.float32))
    done = iree("run", "gpu.vmfb", "--input", "x=@x.npy", **NO_DRIVER)
    assert done.returncode not in (0, 1)
    assert done.stderr.startswith("IREE-")
    assert done.stderr.count("\n") == 1
    assert "next: " in done.stderr


def test_an_artefact_for_both_runs_on_the_processor(iree: Command, tmp_path: Path) -> None:
    tiny.mlp(tmp_path / "mlp.onnx")
    targets = ("--target", "llvm-cpu", "--target", "vulkan-spirv")
    done = iree("compile", "mlp.onnx", *targets, "-o", "both.vmfb", **NO_DRIVER)
    assert done.returncode == 0, done.stderr
    np.save(tmp_path / "x.npy", np.ones((2, 8), np.float32))
    done = iree("run", "both.vmfb", "--input", "x=@x.npy", "--output", "@y.npy", **NO_DRIVER)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy").sum(axis=1), 1, rtol=1e-5)
