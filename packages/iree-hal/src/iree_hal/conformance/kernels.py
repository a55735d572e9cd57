"""The kernels that executing conformance tests dispatch: descriptions, meanings, and three forms of them.

A backend gives an executable with exports of these names, in this order (:data:`EXPORTS`), with these
numbers of constants and bindings; what each must compute is the text in :data:`MEANINGS`. It may ask for
larger alignments. Sources to start from:

- :func:`local_executable`: an object of this machine, for devices with the dispatch ABI (``kernels.ll``);
- :func:`kernel_functions`: kernel IR, one function a kernel, one call a workgroup (``kernels.mlir``). With
  ``iree.workgroup_size = array<i64: 1, 1, 1>`` added they are kernels of one invocation a workgroup.
- :func:`ir_executable`: the same text as an executable of format ``iree-ir``.

``x``, ``y``, ``z`` are the workgroup's ids; all numbers are little-endian, indices count elements.
"""

from __future__ import annotations

import re
from importlib.resources import files

from iree_hal import platform
from iree_hal.executable import ExecutableSpec, ExportSpec

SCRATCH_BYTES = 256
CONSTANT_COUNTS = (0, 1, 16, 17, 40)
"""Words of constants of the kernels ``constants_<n>``: none, and around the 64 bytes of push constants."""

_F32 = (4, 4, 4)
EXPORTS: tuple[ExportSpec, ...] = (
    ExportSpec("add", n_constants=1, bindings=("read", "read", "write"), alignments=_F32),
    ExportSpec("scale", n_constants=1, bindings=("read", "write"), alignments=_F32[:2]),
    ExportSpec("store_constants", n_constants=2, bindings=("write",), alignments=(4,)),
    ExportSpec("store_ids", n_constants=2, bindings=("write",), alignments=(4,)),
    ExportSpec("count", bindings=("readwrite",), alignments=(4,)),
    ExportSpec("check_index", n_constants=1),
    ExportSpec("use_scratch", scratch_bytes=SCRATCH_BYTES, bindings=("write",), alignments=(4,)),
    ExportSpec("spin", n_constants=1),
    ExportSpec("sum_of_8", bindings=(*("read",) * 8, "write"), alignments=(4,) * 9),
    ExportSpec("reverse", n_constants=1, bindings=("read", "write"), alignments=(4, 4)),
    *(
        ExportSpec(f"constants_{n}", n_constants=n, bindings=("write",), alignments=(4,))
        for n in CONSTANT_COUNTS
    ),
)
"""What every backend provides."""

NATIVE_EXPORTS: tuple[ExportSpec, ...] = (
    ExportSpec("store_lengths", bindings=("write", "read"), alignments=(8, 1)),
    ExportSpec("poke", n_constants=1, bindings=("write",)),
    ExportSpec("worker_ids", bindings=("write",), alignments=(4,)),
)
"""What the object has besides: facts of the dispatch ABI, and a kernel that misbehaves."""

MEANINGS: dict[str, str] = {
    "add": "c[i] = a[i] + b[i] in f32 for i from 64 x up to min(64 x + 64, constants[0])",
    "scale": "b[x] = a[x] * f, all f32; the bits of f are constants[0]",
    "store_constants": "out[0] = constants[0] and out[1] = constants[1], as u32",
    "store_ids": "(x, y, z) as three u32 from out[3 (x + cx (y + cy z))]; cx, cy are constants[0], [1]",
    "count": "out[x] += 1 as u32 (atomically where that can be had)",
    "check_index": "assertion 0 always holds; assertion 1, of kind 1, fails when x >= constants[0] (u32)",
    "use_scratch": "write x + i as u32 to all 64 words i of the scratch, then out[x] = their sum, read back",
    "spin": "loop constants[0] times",
    "sum_of_8": "out[x] = the sum of element x of bindings 0 to 7, as u32; out is binding 8",
    "reverse": "out[x] = in[n - 1 - x] + 1, as u32; n is constants[0]",
    **{
        f"constants_{n}": f"out[i] = constants[i] for i < {n}, then out[{n}] = {n}, as u32"
        for n in CONSTANT_COUNTS
    },
    "store_lengths": "out[0] = bytes of binding 0, out[1] = bytes of binding 1, as u64",
    "poke": "the byte at constants[0] (signed) from the binding's start becomes 7",
    "worker_ids": "out[x] = worker id as u32",
}

ORDINALS: dict[str, int] = {export.name: i for i, export in enumerate((*EXPORTS, *NATIVE_EXPORTS))}
CHECK_INDEX_KIND, CHECK_INDEX_ASSERT = 1, 1
CHECK_INDEX_CODE = CHECK_INDEX_ASSERT << 16 | CHECK_INDEX_KIND


def local_executable() -> ExecutableSpec:
    """The kernels as an object of this machine, for devices that run native code in this process."""
    machine = platform.machine()
    data = (files("iree_hal.conformance") / "objects" / f"{machine}.o").read_bytes()
    return ExecutableSpec(f"elf-{machine}", data, (*EXPORTS, *NATIVE_EXPORTS), name="conformance")


def kernel_functions() -> dict[str, str]:
    """Kernel IR per export of :data:`EXPORTS`, in that order: the text of one ``func.func``."""
    text = (files("iree_hal.conformance") / "kernels.mlir").read_text(encoding="utf-8")
    written = {
        m[2]: m[1] for m in re.finditer(r"^(func\.func @(\w+)\(.*?^})", text, re.MULTILINE | re.DOTALL)
    }
    return {e.name: written.get(e.name) or _constants_kernel(e.n_constants) for e in EXPORTS}


def ir_executable() -> ExecutableSpec:
    """The kernels as IR text, for devices that interpret it."""
    text = "\n\n".join(kernel_functions().values())
    return ExecutableSpec("iree-ir", text.encode(), EXPORTS, name="conformance")


def _constants_kernel(n: int) -> str:
    words = "".join(f"%c{i}: i32, " for i in range(n))
    body = "".join(
        f"  %i{i} = arith.constant {i} : index\n  memref.store %c{i}, %out[%i{i}] : memref<?xi32>\n"
        for i in range(n)
    )
    return (
        f"func.func @constants_{n}(%out: memref<?xi32>, {words}"
        "%x: index, %y: index, %z: index, %scratch: memref<?xi8>)\n"
        "    attributes {iree.kernel, iree.bindings = 1 : i64} {\n"
        f"{body}  %at = arith.constant {n} : index\n  %n = arith.constant {n} : i32\n"
        "  memref.store %n, %out[%at] : memref<?xi32>\n  return\n}"
    )
