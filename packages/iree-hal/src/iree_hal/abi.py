"""The dispatch ABI: what every compiled kernel is called with, from one table.

``i32 kernel(const Dispatch*, const Workgroup*)``, C calling convention, 64-bit little endian. A kernel
returns 0, or a positive code: low 16 bits the kind (:data:`ERROR_KINDS`), high 16 bits the number of the
failed assertion inside the kernel. Compilers take the LLVM text from here, foreign kernels the C header,
the runtime the ctypes structs, so the four cannot differ.
"""

from __future__ import annotations

from iree_hal.layout import Field, Struct

ABI_VERSION = 1

DISPATCH = Struct(
    "Dispatch",
    "What one dispatch gives to all of its workgroups; read-only for kernels.",
    (
        Field("abi_version", "u32", "ABI_VERSION of the runtime"),
        Field("count_x", "u32", "workgroups in x, the fastest dimension"),
        Field("count_y", "u32", "workgroups in y"),
        Field("count_z", "u32", "workgroups in z"),
        Field("n_constants", "u32", "number of 32-bit constants"),
        Field("n_bindings", "u32", "number of bindings"),
        Field("constants", "ptr", "dims and scalars; i64 and f64 are lo/hi pairs", "const uint32_t*"),
        Field("bindings", "ptr", "address per binding, its byte offset included", "void* const*"),
        Field("lengths", "ptr", "bytes per binding", "const uint64_t*"),
        Field("imports", "ptr", "functions the executable asked for, or null", "void* const*"),
    ),
)

WORKGROUP = Struct(
    "Workgroup",
    "What one workgroup is told about itself.",
    (
        Field("id_x", "u32", "0 <= id_x < count_x"),
        Field("id_y", "u32", "0 <= id_y < count_y"),
        Field("id_z", "u32", "0 <= id_z < count_z"),
        Field("worker_id", "u32", "which thread runs it; 0 is the caller"),
        Field("scratch", "ptr", "memory of this worker, 64-byte aligned, undefined contents", "void*"),
        Field("scratch_bytes", "u64", "bytes at scratch, at least what the export asked for"),
    ),
)

STRUCTS: tuple[Struct, ...] = (DISPATCH, WORKGROUP)

Dispatch = DISPATCH.ctype
Workgroup = WORKGROUP.ctype

ERROR_INDEX, ERROR_SHAPE, ERROR_ASSERT = 1, 2, 3
ERROR_KINDS: dict[int, str] = {
    ERROR_INDEX: "index out of range",
    ERROR_SHAPE: "shape mismatch",
    ERROR_ASSERT: "assertion failed",
}


def error_code(kind: int, assert_index: int = 0) -> int:
    """The value a kernel returns for ``kind`` (1..65535) at assertion ``assert_index`` (0..32767)."""
    return assert_index << 16 | kind


def split_error(code: int) -> tuple[int, int]:
    """``code`` -> (kind, assertion index)."""
    return code & 0xFFFF, (code >> 16) & 0xFFFF


def llvm_types() -> str:
    """The LLVM type definitions ``%Dispatch`` and ``%Workgroup``."""
    return "\n".join(s.llvm for s in STRUCTS) + "\n"


def c_header() -> str:
    """A C header with both structs, the kernel type and the error kinds."""
    kinds = "\n".join(
        f"#define IREE_ERROR_{text.upper().replace(' ', '_')} {number}"
        for number, text in ERROR_KINDS.items()
    )
    body = "\n\n".join(s.c for s in STRUCTS)
    return (
        "#ifndef IREE_HAL_DISPATCH_ABI_H\n#define IREE_HAL_DISPATCH_ABI_H\n#include <stdint.h>\n\n"
        f"#define IREE_HAL_ABI_VERSION {ABI_VERSION}\n{kinds}\n\n{body}\n\n"
        "typedef int32_t (*iree_kernel_t)(const Dispatch*, const Workgroup*);\n\n#endif\n"
    )


def markdown() -> str:
    """The documentation page of the two structs."""
    return "\n\n".join(s.markdown for s in STRUCTS) + "\n"
