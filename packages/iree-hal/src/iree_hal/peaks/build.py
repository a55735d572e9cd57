"""``python -m iree_hal.peaks.build``: compile the probes for every machine (needs llvmlite)."""

from __future__ import annotations

from pathlib import Path

from iree_hal.executor.build import compile_text
from iree_hal.executor.source import MACHINES, expand
from iree_hal.peaks.kernels import module_text

OBJECTS = Path(__file__).parent / "objects"


def build() -> dict[str, bytes]:
    """The probes' object per machine."""
    return {machine: compile_text(expand(module_text(machine)), machine) for machine in MACHINES}


def main() -> None:
    OBJECTS.mkdir(exist_ok=True)
    for machine, data in build().items():
        (OBJECTS / f"{machine}.o").write_bytes(data)
        print(f"{machine}: {len(data)} bytes")


if __name__ == "__main__":
    main()
