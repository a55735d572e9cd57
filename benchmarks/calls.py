"""What a call costs: a tiny add through ``module.main`` beside onnxruntime's ``session.run`` in one process.

The model adds 1 to four floats, so nearly all of the time is the way in and out. Calls take turns in batches;
the figures are CPU time a call, the median of the batches.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import iree_flow
import iree_vm


def write_add(path: Path) -> Path:
    """``y = x + 1`` on four floats."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"], name="add")],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [numpy_helper.from_array(np.ones(4, np.float32), "one")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def measure(calls: dict[str, Callable[[], object]], batches: int, size: int) -> dict[str, float]:
    """Nanoseconds a call by name."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(batches):
        for name, call in calls.items():
            start = time.process_time_ns()
            for _ in range(size):
                call()
            times[name].append((time.process_time_ns() - start) / size)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--size", type=int, default=200, help="calls in a batch")
    parser.add_argument("--device", help="default: the artefact's driver")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        path = write_add(Path(folder) / "add.onnx")
        module = iree_vm.load(iree_flow.compile(path), device=options.device)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    x = np.arange(4, dtype=np.float32)
    assert (module.main(x) == x + 1).all()
    calls: dict[str, Callable[[], object]] = {
        "module.main": lambda: module.main(x),
        "session.run": lambda: session.run(None, {"x": x}),
    }
    found = measure(calls, options.batches, options.size)
    print("| call | us | to onnxruntime |\n|---|---:|---:|")
    for name, nanoseconds in found.items():
        print(f"| {name} | {nanoseconds / 1000:.2f} | {nanoseconds / found['session.run']:.2f} |")


if __name__ == "__main__":
    main()
