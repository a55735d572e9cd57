"""Loading: code runs, memory is never writable and executable, imports come from the table only."""

from __future__ import annotations

import ctypes
import gc
import mmap
from pathlib import Path

import pytest

from iree_hal import platform
from iree_hal.conformance.kernels import local_executable
from iree_hal.elf.load import Image, load
from iree_hal.elf.parse import parse
from iree_hal.errors import HalError
from iree_hal.platform._posix import libc

llvm = pytest.importorskip("llvmlite.binding")

SOURCE = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
@table = internal constant [4 x i32] [i32 10, i32 11, i32 12, i32 13], align 16
@names = internal constant [2 x ptr] [ptr @table, ptr @counter], align 8
@counter = internal global i32 7, align 4
@zeros = internal global [100 x i64] zeroinitializer, align 64

define i32 @lookup(i64 %i) {
  %p = getelementptr [4 x i32], ptr @table, i64 0, i64 %i
  %v = load i32, ptr %p
  ret i32 %v
}
define i32 @count() {
  %v = load i32, ptr @counter
  %n = add i32 %v, 1
  store i32 %n, ptr @counter
  ret i32 %n
}
define i64 @indirect(i64 %i) {
  %pp = getelementptr [2 x ptr], ptr @names, i64 0, i64 %i
  %p = load volatile ptr, ptr %pp
  %a = ptrtoint ptr %p to i64
  %low = and i64 %a, 63
  %q = getelementptr i64, ptr @zeros, i64 %low
  %z = load volatile i64, ptr %q
  %v = load i32, ptr %p
  %w = zext i32 %v to i64
  %s = add i64 %w, %z
  ret i64 %s
}
define void @clear(ptr %p, i64 %n) {
  call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 %n, i1 0)
  ret void
}
"""


def _compile(text: str, machine: str | None = None) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = f"{machine or platform.machine()}-unknown-linux-gnu"
    features = "+m,+a,+f,+d" if machine == "riscv64" else ""
    target = llvm.Target.from_triple(triple).create_target_machine(
        features=features, opt=2, reloc="pic", codemodel="small"
    )
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = triple, str(target.target_data)
    return bytes(target.emit_object(module))


def _imports() -> dict[str, int]:
    return platform.current().library_functions()


def _function(image: Image, name: str, result: type, *arguments: type) -> object:
    return ctypes.CFUNCTYPE(result, *arguments)(image.symbols[name])


def test_code_reads_and_writes_its_sections() -> None:
    image = load(_compile(SOURCE), _imports())
    lookup = _function(image, "lookup", ctypes.c_int, ctypes.c_int64)
    count = _function(image, "count", ctypes.c_int)
    indirect = _function(image, "indirect", ctypes.c_int64, ctypes.c_int64)
    assert [lookup(i) for i in range(4)] == [10, 11, 12, 13]  # type: ignore[operator]
    assert [count(), count()] == [8, 9]  # type: ignore[operator]
    assert [indirect(0), indirect(1)] == [10, 9]  # type: ignore[operator]


def test_imports_far_away_are_called_through_stubs() -> None:
    # A function at an address of its own that stores 42 through its first argument.
    code = {
        "x86_64": bytes.fromhex("c6072ac3"),  # mov byte [rdi], 42; ret
        "aarch64": bytes.fromhex("4905805209000039c0035fd6"),  # mov w9, 42; strb; ret
    }.get(platform.machine())
    if code is None:
        pytest.skip("no code for this machine")
    far = libc().mmap(1 << 42, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    ctypes.memmove(far, code, len(code))
    platform.current().protect_memory(far, 4096, "rx")
    image = load(_compile(SOURCE), {**_imports(), "memset": far})
    assert abs(far - image.base) > 1 << 31, "the test needs a far import"
    clear = _function(image, "clear", None, ctypes.c_void_p, ctypes.c_size_t)  # type: ignore[arg-type]
    data = ctypes.create_string_buffer(b"x" * 10)
    clear(ctypes.addressof(data), 9)  # type: ignore[operator]
    assert data.raw == bytes([42]) + b"x" * 9 + b"\0"
    platform.current().unmap_memory(far, 4096)


def test_near_imports_are_called() -> None:
    image = load(_compile(SOURCE), _imports())
    clear = _function(image, "clear", None, ctypes.c_void_p, ctypes.c_size_t)  # type: ignore[arg-type]
    data = ctypes.create_string_buffer(b"x" * 100)
    clear(ctypes.addressof(data), 99)  # type: ignore[operator]
    assert data.raw == bytes(99) + b"x" + b"\0"


def test_two_images_have_their_own_data() -> None:
    first, second = (load(_compile(SOURCE), _imports()) for _ in range(2))
    count = _function(first, "count", ctypes.c_int)
    count()  # type: ignore[operator]
    assert _function(second, "count", ctypes.c_int)() == 8  # type: ignore[operator]


def test_no_memory_is_writable_and_executable() -> None:
    image = load(_compile(SOURCE), _imports())
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    found = set()
    for line in maps.read_text().splitlines():
        span, access = line.split()[:2]
        start, end = (int(x, 16) for x in span.split("-"))
        if start < image.base + image.n_bytes and end > image.base:
            found.add(access[:3])
    assert found >= {"r-x", "r--", "rw-"}
    assert "rwx" not in found


def test_memory_is_given_back_with_the_image() -> None:
    image = load(_compile(SOURCE), _imports())
    base = image.base
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    assert f"{base:x}-" in maps.read_text()
    del image
    gc.collect()
    assert not any(line.startswith(f"{base:x}-") and "r-x" in line for line in maps.read_text().splitlines())


def test_unknown_imports_are_named() -> None:
    data = _compile(
        "declare i32 @puts(ptr)\ndefine i32 @f(ptr %p) { %r = call i32 @puts(ptr %p) ret i32 %r }"
    )
    with pytest.raises(HalError, match=r"IREE-HAL-004.*'puts'.*memcpy"):
        load(data, _imports())


def test_thread_local_data_is_refused() -> None:
    data = _compile("@t = thread_local global i32 1\ndefine ptr @f() { ret ptr @t }")
    with pytest.raises(HalError, match=r"IREE-HAL-00[234]"):
        load(data, _imports())


def test_other_machines_are_refused() -> None:
    other = "aarch64" if platform.machine() != "aarch64" else "x86_64"
    with pytest.raises(HalError, match=rf"IREE-HAL-002.*{other}"):
        load(_compile(SOURCE, other), _imports())


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_every_machines_relocations_are_known(machine: str) -> None:
    from iree_hal.elf.load import layout, relocate

    elf = parse(_compile(SOURCE, machine))
    plan = layout(elf)
    assert {r.type for r in elf.relocations}
    relocate(elf, plan, memoryview(bytearray(plan.n_bytes)), 1 << 32, {"memset": 1 << 45})


def test_exports_are_code() -> None:
    image = load(bytes(local_executable().data), _imports())
    assert all(image.is_code(image.symbols[e.name]) for e in local_executable().exports)
    assert not image.is_code(image.base - 1)
