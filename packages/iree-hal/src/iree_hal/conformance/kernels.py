"""The kernels that executing conformance tests dispatch: their description, meaning and local objects.

A backend of another format provides an executable with the same exports in the same order
(:data:`EXPORTS`); what each must do is the text in :data:`MEANINGS`.
"""

from __future__ import annotations

from importlib.resources import files

from iree_hal import platform
from iree_hal.executable import ExecutableSpec, ExportSpec

SCRATCH_BYTES = 256

_F32 = (4, 4, 4)
EXPORTS: tuple[ExportSpec, ...] = (
    ExportSpec("add", n_constants=1, bindings=("read", "read", "write"), alignments=_F32),
    ExportSpec("scale", n_constants=1, bindings=("read", "write"), alignments=_F32[:2]),
    ExportSpec("store_constants", n_constants=2, bindings=("write",), alignments=(4,)),
    ExportSpec("store_lengths", bindings=("write", "read"), alignments=(8, 1)),
    ExportSpec("store_ids", bindings=("write",), alignments=(4,)),
    ExportSpec("count", bindings=("readwrite",), alignments=(4,)),
    ExportSpec("check_index", n_constants=1),
    ExportSpec("use_scratch", scratch_bytes=SCRATCH_BYTES, bindings=("write",), alignments=(4,)),
    ExportSpec("spin", n_constants=1),
    ExportSpec("poke", n_constants=1, bindings=("write",)),
    ExportSpec("worker_ids", bindings=("write",), alignments=(4,)),
)

MEANINGS: dict[str, str] = {
    "add": "c[i] = a[i] + b[i] in f32 for the 64 elements from 64 x, of constants[0] in all",
    "scale": "b[x] = a[x] * (constants[0] as f32)",
    "store_constants": "out[i] = constants[i] as u32, for all i",
    "store_lengths": "out[0] = length of binding 0, out[1] = length of binding 1, as u64",
    "store_ids": "out[z][y][x] = (x, y, z) as u32",
    "count": "out[x] += 1 atomically, as u32",
    "check_index": "fail with kind 1 at assertion 5 when x >= constants[0]",
    "use_scratch": "fill the scratch with x + i as u32, then out[x] = its sum",
    "spin": "loop constants[0] times",
    "poke": "the byte at constants[0] (signed) from the binding's start becomes 7",
    "worker_ids": "out[x] = worker id as u32",
}

ORDINALS: dict[str, int] = {export.name: i for i, export in enumerate(EXPORTS)}
CHECK_INDEX_CODE = 5 << 16 | 1


def local_executable() -> ExecutableSpec:
    """The kernels as an object of this machine, for devices that run native code in this process."""
    machine = platform.machine()
    data = (files("iree_hal.conformance") / "objects" / f"{machine}.o").read_bytes()
    return ExecutableSpec(f"elf-{machine}", data, EXPORTS, name="conformance")
