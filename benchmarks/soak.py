"""A soak of the runtime: several threads load, call and unload modules for minutes, and nothing may grow.

    IREE_VULKAN_VALIDATION=1 python benchmarks/soak.py --target vulkan-spirv --driver vulkan --minutes 10

Every result is compared with numpy. Resident memory is sampled every second; a straight line is fitted to
the second half, when caches are full. The exit status is 1 when a result is wrong, when the line rises by
more than ``--slope`` kB a minute, when a validation layer said anything, or when the driver still holds
objects that no module needs.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import iree_flow
import iree_hal
import iree_vm

Array = np.ndarray[Any, Any]
PAGE = os.sysconf("SC_PAGE_SIZE")
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's: without it, memory that several threads freed in pieces looks like a leak for a long time."""

SOURCES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "scale": (
        """
func.func @main(%x: tensor<257x33xf32>) -> tensor<257x33xf32> {
  %c = arith.constant dense<3.0> : tensor<257x33xf32>
  %r = arith.mulf %x, %c : tensor<257x33xf32>
  return %r : tensor<257x33xf32>
}
""",
        lambda x: x * np.float32(3),
    ),
    "product": (
        """
func.func @main(%x: tensor<257x33xf32>) -> tensor<257x257xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<257x257xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<257x257xf32>) -> tensor<257x257xf32>
  %t0 = tensor.empty() : tensor<33x257xf32>
  %t = linalg.transpose ins(%x : tensor<257x33xf32>) outs(%t0 : tensor<33x257xf32>) permutation = [1, 0]
  %r = linalg.matmul ins(%x, %t : tensor<257x33xf32>, tensor<33x257xf32>)
    outs(%f : tensor<257x257xf32>) -> tensor<257x257xf32>
  return %r : tensor<257x257xf32>
}
""",
        lambda x: x @ x.T,
    ),
    "rows": (
        """
func.func @main(%x: tensor<257x33xf32>) -> tensor<257xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<257xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<257xf32>) -> tensor<257xf32>
  %r = linalg.reduce ins(%x : tensor<257x33xf32>) outs(%f : tensor<257xf32>) dimensions = [1]
    (%a: f32, %b: f32) { %s = arith.addf %a, %b : f32  linalg.yield %s : f32 }
  return %r : tensor<257xf32>
}
""",
        lambda x: x.sum(axis=1),
    ),
}


def resident() -> int:
    """Bytes of this process in memory, after the C library gave back the free memory it keeps."""
    if _trim is not None:
        _trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Soak:
    """``artifacts`` by name, shared by all threads; counters of what was done."""

    def __init__(self, target: str, driver: str, options: dict[str, str]) -> None:
        self.driver = driver
        self.artifacts = {
            name: iree_flow.compile(text, target=target, name=name, **options)
            for name, (text, _) in SOURCES.items()
        }
        self.loads = self.calls = 0
        self.wrong: list[str] = []
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.device = iree_hal.create_device(driver)
        """Used by every other load; the rest make a device of their own, which goes with the module."""

    def work(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        names = list(SOURCES)
        while not self.over.is_set() and not self.wrong:
            name = names[random.integers(len(names))]
            try:
                self.once(name, random)
            except Exception as error:
                self.wrong.append(f"{name}: {type(error).__name__}: {error}")

    def once(self, name: str, random: np.random.Generator) -> None:
        own = bool(random.integers(2))
        module = iree_vm.load(self.artifacts[name], device=self.driver if own else self.device)
        calls = int(random.integers(1, 20))
        for _ in range(calls):
            x = random.standard_normal((257, 33), dtype=np.float32)
            expected = SOURCES[name][1](x)
            if not np.allclose(module.main(x), expected, rtol=1e-4, atol=1e-4):
                self.wrong.append(f"{name}: a wrong result after {self.calls} calls")
        module.unload()
        with self.lock:
            self.loads += 1
            self.calls += calls


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", default="llvm-cpu")
    parser.add_argument("--driver", default="local-task")
    parser.add_argument("--profile", default="", help="--target-vulkan-profile")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--slope", type=float, default=200.0, help="kB a minute that are allowed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    options = {"target_vulkan_profile": arguments.profile} if arguments.profile else {}
    soak = Soak(arguments.target, arguments.driver, options)
    threads = [threading.Thread(target=soak.work, args=(i,), daemon=True) for i in range(arguments.threads)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    samples: list[tuple[float, int]] = []
    length = arguments.minutes * 60
    while time.monotonic() - started < length and not soak.wrong:
        time.sleep(1.0)
        samples.append((time.monotonic() - started, resident()))
    soak.over.set()
    for thread in threads:
        thread.join(60)
    stuck = sum(t.is_alive() for t in threads)
    kept = np.array([s for s in samples if s[0] > length / 2] or samples, np.float64)
    slope = float(np.polyfit(kept[:, 0] / 60, kept[:, 1] / 1024, 1)[0]) if len(kept) > 1 else 0.0
    messages = list(getattr(soak.device, "validation_messages", list)())
    gc.collect()
    held = dict(getattr(soak.device, "leaks", dict)())
    result = {
        "target": arguments.target,
        "driver": arguments.driver,
        "minutes": round((time.monotonic() - started) / 60, 2),
        "loads": soak.loads,
        "calls": soak.calls,
        "resident_first_kB": int(kept[0, 1] / 1024),
        "resident_last_kB": int(kept[-1, 1] / 1024),
        "slope_kB_per_minute": round(slope, 1),
        "resident_kB": [int(r / 1024) for _, r in samples[:: max(1, len(samples) // 20)]],
        "validation_messages": messages[:10],
        "held_objects": held,
        "stuck_threads": stuck,
        "wrong": soak.wrong,
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    failed = soak.wrong or messages or held or stuck or slope > arguments.slope
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
