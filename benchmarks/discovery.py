"""Milliseconds to discover plugins in a fresh process, with 20 more of them than are installed.

Each dummy is a distribution of its own in a temporary folder, with one module that provides one name, as a
real plugin has it. The figure is the CPU time from before ``import iree_hal`` to the answer, and the part of
it that discovery alone takes, each the median of several processes.
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
import iree_hal
imported = time.process_time()
names = iree_hal.drivers()
done = time.process_time()
assert sum(name.startswith("dummy-") for name in names) == {count}, names
print(1000 * (done - start), 1000 * (done - imported))
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
    """Medians in milliseconds: import and discovery together, discovery alone."""
    with tempfile.TemporaryDirectory() as name:
        write_plugins(Path(name), count)
        environment = {**os.environ, "PYTHONPATH": name}
        command = [sys.executable, "-c", MEASURE.format(count=count)]
        pairs = []
        for _ in range(repeat + 1):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            pairs.append([float(word) for word in done.stdout.split()])
    both, alone = zip(*pairs[1:], strict=True)  # the first process writes the bytecode caches
    return statistics.median(both), statistics.median(alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    print("| plugins added | import and discovery ms | discovery alone ms |\n|---:|---:|---:|")
    for count in (0, options.plugins):
        both, alone = measure(count, options.repeat)
        print(f"| {count} | {both:.1f} | {alone:.1f} |")


if __name__ == "__main__":
    main()
