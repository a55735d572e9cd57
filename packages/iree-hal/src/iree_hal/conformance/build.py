"""``python -m iree_hal.conformance.build``: compile the kernels for every machine (needs llvmlite)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from iree_hal.conformance.kernels import CONSTANT_COUNTS
from iree_hal.executor.build import compile_text
from iree_hal.executor.source import MACHINES, expand

OBJECTS = Path(__file__).parent / "objects"


def build() -> dict[str, bytes]:
    """The kernels' object per machine."""
    template = (files("iree_hal.conformance") / "kernels.ll").read_text(encoding="utf-8")
    start = template.index("define i32 @constants_N")
    end = template.index("define", start + 1)
    family = "".join(template[start:end].replace("constants_N", f"constants_{n}") for n in CONSTANT_COUNTS)
    text = expand(template[:start] + family + template[end:])
    return {machine: compile_text(text, machine) for machine in MACHINES}


def main() -> None:
    OBJECTS.mkdir(exist_ok=True)
    for machine, data in build().items():
        (OBJECTS / f"{machine}.o").write_bytes(data)
        print(f"{machine}: {len(data)} bytes")


if __name__ == "__main__":
    main()
