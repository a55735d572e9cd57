"""Milliseconds to discover plugins in a fresh process, with 20 more of them than are installed.

Each dummy is a distribution of its own in a temporary folder, with one module that provides one name, as a
real plugin has it. The figures are CPU times, each the median of several processes: from before ``import
iree_hal`` to the answer, and the part of it that goes to importing ``importlib.metadata`` and pluggy, which
every program with plugins pays.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = """
import pluggy
impl = pluggy.HookimplMarker("iree.runtime")
api = (1, 0)

@impl
def iree_drivers():
    return {{"dummy-{number}": lambda: None}}
"""

MEASURE = """
import time
start = time.process_time()
import importlib.metadata, pluggy
imported = time.process_time()
import iree_hal
names = iree_hal.drivers()
done = time.process_time()
assert sum(name.startswith("dummy-") for name in names) == {count}, names
print(1000 * (done - start), 1000 * (imported - start))
assert "numpy" not in __import__("sys").modules
"""


def write_plugins(folder: Path, count: int) -> None:
    """``count`` installed distributions, each with one runtime plugin."""
    for number in range(count):
        (folder / f"dummy_plugin_{number}.py").write_text(MODULE.format(number=number))
        info = folder / f"dummy_plugin_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dummy-plugin-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[iree.runtime]\ndummy-{number} = dummy_plugin_{number}\n")


def measure(count: int, repeat: int) -> tuple[float, float]:
    """Medians in milliseconds: all of it, and what the metadata library and pluggy take."""
    with tempfile.TemporaryDirectory() as name:
        write_plugins(Path(name), count)
        environment = {**os.environ, "PYTHONPATH": name}
        command = [sys.executable, "-c", MEASURE.format(count=count)]
        pairs = []
        for _ in range(repeat + 1):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            pairs.append([float(word) for word in done.stdout.split()])
    whole, libraries = zip(*pairs[1:], strict=True)  # the first process writes the bytecode caches
    return statistics.median(whole), statistics.median(libraries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    print("| plugins added | all ms | of that importlib.metadata and pluggy ms |\n|---:|---:|---:|")
    for count in (0, options.plugins):
        whole, libraries = measure(count, options.repeat)
        print(f"| {count} | {whole:.1f} | {libraries:.1f} |")


if __name__ == "__main__":
    main()
