"""Weights are pages of the artefact's file: processes that use one model share one copy of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from iree_vm import ArtifactWriter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SIZE = 32 << 20
READER = """
import sys
import numpy as np
import iree_vm
artifact = iree_vm.Artifact.open(sys.argv[1])
total = int(np.frombuffer(artifact.constant(0), np.uint8)[::64].sum())
print("read", flush=True)
sys.stdin.readline()
kept = {}
inside = False
for line in open("/proc/self/smaps"):
    name, _, rest = line.partition(":")
    if "-" in line.split()[0]:
        inside = line.rstrip().endswith(sys.argv[1])
    elif inside and name in ("Rss", "Pss", "Private_Dirty"):
        kept[name] = kept.get(name, 0) + int(rest.split()[0])
print(kept["Rss"], kept["Pss"], kept["Private_Dirty"], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "weights.vmfb"
    with ArtifactWriter(path, "weights", producer={"test": "1"}) as writer:
        writer.add_constant(np.random.default_rng(0).bytes(SIZE))
        writer.add_variant("local", target="copy", driver="local-sync", executables=())
        writer.set_bytecode(_nothing())
        writer.finish()
    return path


def _nothing() -> bytes:
    from iree_vm.host_program import HostProgram

    return HostProgram("nothing", dims={}).serialize()


def test_two_processes_hold_one_copy(artifact: Path) -> None:
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(artifact)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "read\n"
        for reader in readers:
            assert reader.stdin is not None and reader.stdout is not None
            reader.stdin.write("\n")
            reader.stdin.flush()
            resident, share, dirty = (1024 * int(word) for word in reader.stdout.readline().split())
            assert resident >= 0.95 * SIZE
            assert share <= 0.55 * resident  # the test's own process may hold pages too, which only lowers it
            assert dirty == 0
    finally:
        for reader in readers:
            reader.communicate("\n")
    assert [reader.returncode for reader in readers] == [0, 0]
