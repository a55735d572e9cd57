"""The executor of another machine: a frame made here runs there under qemu and gives the same bytes.

The plan, the frame and the data are made at fixed addresses, then written with the machine's executor and
kernels into one static program that runs the frame and prints the memory of its results.
"""

from __future__ import annotations

import ctypes
import mmap
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iree_hal import storage
from iree_hal.buffer import Buffer
from iree_hal.conformance import build as kernels
from iree_hal.conformance.backend import Recorder, float_bits, ramp
from iree_hal.conformance.kernels import EXPORTS, NATIVE_EXPORTS, ORDINALS
from iree_hal.elf.load import PAGE, layout, relocate
from iree_hal.elf.parse import MACHINES, ElfObject, parse
from iree_hal.executable import ExecutableSpec, NativeExecutable
from iree_hal.executor import build, structs
from iree_hal.executor import frame as frame_module
from iree_hal.executor import plan as plan_module
from iree_hal.executor.frame import Frame
from iree_hal.executor.plan import Plan
from iree_hal.platform._posix import libc
from iree_hal.recording import BindingRef, Recording

llvm = pytest.importorskip("llvmlite.binding")

BASE, SIZE = 0x4000000000, 8 << 20
CODE = 0x10000000
WRITE, EXIT = 64, 93
# svc #0 with the number in x8: x0 is the number, x1-x3 the arguments.
SYSTEM_CALL = struct.pack("<6I", 0xAA0003E8, 0xAA0103E0, 0xAA0203E1, 0xAA0303E2, 0xD4000001, 0xD65F03C0)
START = """
declare i32 @iree_run(ptr)
declare i64 @system_call(i64, i64, i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @_start() nounwind {{
  %r = call i32 @iree_run(ptr inttoptr (i64 {frame} to ptr))
  %w = call i64 @system_call(i64 {write}, i64 1, i64 {data}, i64 {size})
  %z = zext i32 %r to i64
  %e = call i64 @system_call(i64 {exit}, i64 %z, i64 0, i64 0)
  unreachable
}}
define ptr @memcpy(ptr %to, ptr %from, i64 %n) nounwind {{
  %any = icmp ne i64 %n, 0
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [ 0, %0 ], [ %next, %loop ]
  %a = getelementptr i8, ptr %from, i64 %i
  %b = getelementptr i8, ptr %to, i64 %i
  %v = load volatile i8, ptr %a
  store volatile i8 %v, ptr %b
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret ptr %to
}}
"""


def _qemu(machine: str) -> str:
    found = shutil.which(f"qemu-{machine}") or shutil.which(f"qemu-{machine}-static")
    if found is None:
        pytest.skip(f"needs qemu-{machine}")
    return found


class _Memory:
    """A block at a fixed address that hands out aligned arrays, used up from the start."""

    def __init__(self) -> None:
        libc()  # for the signatures
        at = libc().mmap(BASE, SIZE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if at != BASE:
            pytest.skip("the address is taken")
        self.block = np.ctypeslib.as_array((ctypes.c_uint8 * SIZE).from_address(BASE))
        self.used = 0

    def take(self, n_bytes: int, *, zeroed_bytes: int = 0, alignment: int = 64) -> Any:
        start = -(-self.used // alignment) * alignment
        self.used = start + n_bytes
        assert self.used <= SIZE
        return self.block[start : self.used]

    def close(self) -> None:
        libc().munmap(ctypes.c_void_p(BASE), SIZE)


def _link(objects: Sequence[ElfObject], imports: dict[str, int], base: int) -> tuple[bytes, dict[str, int]]:
    """The objects one after the other at ``base``; later ones may import from earlier ones."""
    image = bytearray()
    symbols = dict(imports)
    for elf in objects:
        plan = layout(elf)
        at = base + len(image)
        part = bytearray(plan.n_bytes)
        relocate(elf, plan, memoryview(part), at, symbols)
        symbols |= {
            s.name: at + plan.offsets[s.section] + s.value
            for s in elf.symbols
            if s.is_global and s.name and s.section in plan.offsets
        }
        image += part
    return bytes(image), symbols


def _program(machine: str, entry: int, segments: Sequence[tuple[int, bytes]]) -> bytes:
    """A static ET_EXEC file of readable, writable and executable segments."""
    number = next(n for n, name in MACHINES.items() if name == machine)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, number, 1, entry, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    offset, heads, body = PAGE, b"", bytearray()
    for address, data in segments:
        heads += struct.pack("<IIQQQQQQ", 1, 7, offset, address, address, len(data), len(data), PAGE)
        body += data.ljust(-(-len(data) // PAGE) * PAGE, b"\0")
        offset = PAGE + len(body)
    return (header + heads).ljust(PAGE, b"\0") + bytes(body)


def _recording() -> Recording:
    """Parameters, constants, the arena, scratch, a fill, a copy and a grid."""
    recorder = Recorder(3, 1)
    zero, one, four = recorder.const(0), recorder.const(1), recorder.const(4)
    nbytes = recorder.op("mul", 0, four)
    half = recorder.op("floordiv", recorder.op("sub", zero, 0), recorder.const(-2))
    source, arena, target = (BindingRef(slot, zero, nbytes) for slot in (1, 0, 2))
    recorder.export_param("arena_bytes", recorder.const(65536 * 3))
    recorder.dispatch(
        0, ORDINALS["scale"], (0, one, one), [(recorder.const(float_bits(2.0)), "lo")], [source, arena]
    )
    recorder.barrier()
    recorder.dispatch(
        0, 0, (recorder.op("ceildiv", 0, recorder.const(64)), one, one), [(0, "lo")], [arena, source, target]
    )
    recorder.fill(recorder.ref(2, 70_001, 20_000), b"\x01\x02\x03\x04")
    recorder.dispatch(0, ORDINALS["count"], (half, one, one), [], [recorder.ref(2, 4000, 12_000)])
    recorder.call("use_scratch", (50, 1, 1), [recorder.ref(2, 200, 4200)])
    recorder.barrier()
    recorder.copy(recorder.ref(2, 66_000, 20_000), recorder.ref(2, 66_000, 100_000))
    recorder.call("store_ids", (3, 4, 5), [recorder.ref(2, 720, 8000)], [3, 4])
    return recorder.finish()


def _run_there(qemu: str, machine: str, path: Path, monkeypatch: pytest.MonkeyPatch, n: int) -> Any:
    memory = _Memory()
    monkeypatch.setattr(plan_module, "aligned_bytes", memory.take)
    monkeypatch.setattr(frame_module, "aligned_bytes", memory.take)
    read = parse((build.OBJECTS / f"{machine}.o").read_bytes())
    code = parse((kernels.OBJECTS / f"{machine}.o").read_bytes())
    calls = CODE + (4 << 20)
    # The entry needs the frame's address, the frame the kernels': two links, the first without the entry.
    linked, symbols = _link([read, code], {"memcpy": 0}, CODE)
    exports = (*EXPORTS, *NATIVE_EXPORTS)
    spec = ExecutableSpec(f"elf-{machine}", b"", exports)
    executable = NativeExecutable(spec, tuple(symbols[e.name] for e in exports), None)
    plan = Plan(_recording(), [executable])
    frame = Frame(plan, 0, 1)
    frame.state.budget = 0
    x, out = memory.take(4 * n), memory.take(200_000)
    x[:] = ramp(n).view(np.uint8)
    frame.set_arena(Buffer(memory.take(65536 * 3)))
    frame.pack(frame.view, frame.inputs_at, x.ctypes.data, x.nbytes, out.ctypes.data, out.nbytes, n)
    text = START.format(
        frame=frame.pointer.value, data=out.ctypes.data, size=out.nbytes, write=WRITE, exit=EXIT
    )
    start = parse(build.compile_text(text, machine))
    after = CODE + (2 << 20)
    entry, found = _link([start], {"iree_run": symbols["iree_run"], "system_call": calls}, after)
    linked, symbols = _link([read, code], {"memcpy": found["memcpy"]}, CODE)
    segments = [
        (CODE, linked),
        (after, entry),
        (calls, SYSTEM_CALL),
        (BASE, bytes(memory.block[: memory.used])),
    ]
    program = path / "program"
    program.write_bytes(_program(machine, found["_start"], segments))
    program.chmod(0o755)
    memory.close()
    done = subprocess.run([qemu, str(program)], capture_output=True, timeout=120, check=False)
    assert done.returncode == structs.DONE, done.stderr
    return np.frombuffer(done.stdout, np.uint8)


@pytest.mark.parametrize("n", [1, 100, 999])
def test_aarch64_gives_the_same_bytes(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from iree_hal.conformance.backend import Backend, Context

    qemu = _qemu("aarch64")
    out = np.zeros(200_000, np.uint8)
    Context(Backend("local-sync")).run(_recording(), [ramp(n), out], [n])
    there = _run_there(qemu, "aarch64", tmp_path, monkeypatch, n)
    assert there.nbytes == out.nbytes
    assert np.array_equal(there, out)
    assert storage.aligned_bytes is not frame_module.aligned_bytes
