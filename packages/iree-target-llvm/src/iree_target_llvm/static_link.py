"""Objects -> a static executable, in pure Python: how tests run kernels of another machine under qemu.

The executable holds the inputs, calls every workgroup, writes the written bindings to its standard output
and exits with 0, or with 1 and the kernel's code on the output.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_core_ir.target import ExportObject
from iree_hal import abi
from iree_hal.elf.load import layout, relocate
from iree_hal.elf.parse import ElfObject, parse

BASE = 0x400000
PAGE = 1 << 16
MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243}


def _words(*words: int) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


SYSTEM_CALLS: dict[str, tuple[int, int, bytes]] = {
    "aarch64": (64, 93, _words(0xAA0003E8, 0xAA0103E0, 0xAA0203E1, 0xAA0303E2, 0xD4000001, 0xD65F03C0)),
    "riscv64": (64, 93, _words(0x50893, 0x58513, 0x60593, 0x68613, 0x73, 0x8067)),
    "x86_64": (1, 60, bytes.fromhex("4889f84889f74889d64889ca0f05c3")),
}  # fmt: skip
"""Number of write, number of exit, machine code of ``syscall3(number, a, b, c)``."""


def startup_text(
    architecture: str,
    export: ExportObject,
    arrays: Sequence[np.ndarray[Any, Any]],
    constants: Sequence[int],
    counts: tuple[int, int, int],
) -> str:
    """LLVM text of the program around one kernel."""
    write, leave, _ = SYSTEM_CALLS[architecture]
    lines: list[str] = []
    for i, array in enumerate(arrays):
        data = array.tobytes() or b"\0"
        text = "".join(f"\\{byte:02X}" for byte in data)
        lines.append(f'@array{i} = internal global [{len(data)} x i8] c"{text}", align 64')
    pointers = ", ".join(f"ptr @array{i}" for i in range(len(arrays)))
    lengths = ", ".join(f"i64 {a.nbytes}" for a in arrays)
    numbers = (abi.ABI_VERSION, *counts, len(constants), len(arrays))
    dispatch = ", ".join(f"i32 {n}" for n in numbers)
    dispatch += ", ptr @constants, ptr @pointers, ptr @lengths, ptr null"
    workgroup = f"i32 0, i32 0, i32 0, i32 0, ptr @scratch, i64 {export.scratch_bytes}"
    words = ", ".join(f"i32 {w}" for w in constants) or "i32 0"
    lines += [
        f"@pointers = internal global [{len(arrays)} x ptr] [{pointers}], align 64",
        f"@lengths = internal global [{len(arrays)} x i64] [{lengths}], align 64",
        f"@constants = internal global [{max(1, len(constants))} x i32] [{words}], align 64",
        f"@scratch = internal global [{export.scratch_bytes + 64} x i8] zeroinitializer, align 64",
        "@code = internal global i32 0",
        abi.llvm_types(),
        f"@dispatch = internal global %Dispatch {{ {dispatch} }}",
        f"@workgroup = internal global %Workgroup {{ {workgroup} }}",
        f'declare i32 @"{export.name}"(ptr, ptr)',
        "declare i64 @syscall3(i64, i64, i64, i64)",
        _MEMORY_FUNCTIONS,
        "define void @_start() {",
        "entry:",
        "  br label %group",
        "group:",
        "  %i = phi i32 [ 0, %entry ], [ %next, %fine ]",
        f"  %x = urem i32 %i, {counts[0]}",
        f"  %r = udiv i32 %i, {counts[0]}",
        f"  %y = urem i32 %r, {counts[1]}",
        f"  %z = udiv i32 %r, {counts[1]}",
        "  store i32 %x, ptr @workgroup",
        f"  store i32 %y, ptr getelementptr (i8, ptr @workgroup, i64 {abi.WORKGROUP.offset('id_y')})",
        f"  store i32 %z, ptr getelementptr (i8, ptr @workgroup, i64 {abi.WORKGROUP.offset('id_z')})",
        f'  %code = call i32 @"{export.name}"(ptr @dispatch, ptr @workgroup)',
        "  %bad = icmp ne i32 %code, 0",
        "  br i1 %bad, label %failed, label %fine",
        "failed:",
        "  store i32 %code, ptr @code",
        f"  %w = call i64 @syscall3(i64 {write}, i64 1, i64 ptrtoint (ptr @code to i64), i64 4)",
        f"  %f = call i64 @syscall3(i64 {leave}, i64 1, i64 0, i64 0)",
        "  unreachable",
        "fine:",
        "  %next = add i32 %i, 1",
        f"  %more = icmp ult i32 %next, {counts[0] * counts[1] * counts[2]}",
        "  br i1 %more, label %group, label %done",
        "done:",
    ]
    for i, (array, access) in enumerate(zip(arrays, export.bindings, strict=True)):
        if access != "read" and array.nbytes:
            pointer = f"i64 ptrtoint (ptr @array{i} to i64)"
            lines.append(f"  %o{i} = call i64 @syscall3(i64 {write}, i64 1, {pointer}, i64 {array.nbytes})")
    lines += [f"  %e = call i64 @syscall3(i64 {leave}, i64 0, i64 0, i64 0)", "  unreachable", "}"]
    return "\n".join(lines) + "\n"


_MEMORY_FUNCTIONS = """
define ptr @memset(ptr %p, i32 %v, i64 %n) {
entry:
  %b = trunc i32 %v to i8
  %none = icmp eq i64 %n, 0
  br i1 %none, label %done, label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %q = getelementptr i8, ptr %p, i64 %i
  store volatile i8 %b, ptr %q
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret ptr %p
}
define ptr @memcpy(ptr %p, ptr %s, i64 %n) {
entry:
  %none = icmp eq i64 %n, 0
  br i1 %none, label %done, label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %q = getelementptr i8, ptr %p, i64 %i
  %r = getelementptr i8, ptr %s, i64 %i
  %v = load volatile i8, ptr %r
  store volatile i8 %v, ptr %q
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret ptr %p
}
"""


def link(kernel: bytes, startup: bytes, name: str, architecture: str) -> bytes:
    """The executable of a kernel object and its startup object."""
    segment = bytearray()
    symbols: dict[str, int] = {}
    system = SYSTEM_CALLS[architecture][2]
    symbols["syscall3"] = BASE + PAGE
    segment += system.ljust(PAGE, b"\0")
    # The startup provides memset and memcpy to the kernel, the kernel itself to the startup: placed first,
    # relocated second.
    parsed = [parse(kernel), parse(startup)]
    places = []
    for elf in parsed:
        plan = layout(elf)
        base = BASE + PAGE + len(segment)
        places.append((elf, plan, base, len(segment)))
        segment += bytes(-(-max(plan.n_bytes, 1) // PAGE) * PAGE)
        symbols.update(_defined(elf, plan.offsets, base))
    for elf, plan, base, start in places:
        relocate(elf, plan, memoryview(segment)[start : start + plan.n_bytes], base, symbols)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH", 2, MACHINES[architecture], 1, symbols["_start"], 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    size = PAGE + len(segment)
    header += struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, size, PAGE)
    assert name in symbols
    return header.ljust(PAGE, b"\0") + bytes(segment)


def _defined(elf: ElfObject, offsets: Mapping[int, int], base: int) -> dict[str, int]:
    return {
        s.name: base + offsets[s.section] + s.value for s in elf.symbols if s.name and s.section in offsets
    }
