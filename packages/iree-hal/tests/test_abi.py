"""The dispatch ABI: one table, four languages, one layout."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from iree_hal import abi
from iree_hal.executor import structs
from iree_hal.layout import SCALARS, Struct


@pytest.mark.parametrize("struct", structs.STRUCTS, ids=lambda s: s.name)
def test_ctypes_layout_is_the_tables(struct: Struct) -> None:
    assert ctypes.sizeof(struct.ctype) == struct.size
    for field in struct.fields:
        member = getattr(struct.ctype, field.name)
        assert (member.offset, member.size) == (struct.offset(field.name), SCALARS[field.type].bytes)


@pytest.mark.parametrize("struct", abi.STRUCTS, ids=lambda s: s.name)
@pytest.mark.parametrize("triple", ["x86_64-linux-gnu", "aarch64-linux-gnu", "riscv64-linux-gnu"])
def test_llvm_layout_is_the_tables(struct: Struct, triple: str) -> None:
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_all_targets()
    machine = llvm.Target.from_triple(triple).create_target_machine()
    text = abi.llvm_types() + f"@x = external global %{struct.name}\n"
    module = llvm.parse_assembly(text)
    kind = module.get_global_variable("x").global_value_type
    assert machine.target_data.get_abi_size(kind) == struct.size
    for index, field in enumerate(struct.fields):
        assert machine.target_data.get_element_offset(kind, index) == struct.offset(field.name)


def test_c_header_layout_is_the_tables(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    checks = [
        f'_Static_assert(offsetof({s.name}, {f.name}) == {s.offset(f.name)}, "{f.name}");'
        for s in abi.STRUCTS
        for f in s.fields
    ] + [f'_Static_assert(sizeof({s.name}) == {s.size}, "{s.name}");' for s in abi.STRUCTS]
    source = tmp_path / "check.c"
    source.write_text("\n".join(["#include <stddef.h>", abi.c_header(), *checks, "iree_kernel_t kernel;"]))
    subprocess.run([compiler, "-Wall", "-Werror", "-c", str(source), "-o", str(tmp_path / "o")], check=True)


def test_documentation_lists_every_field() -> None:
    page = abi.markdown()
    assert all(f"`{field.name}`" in page for struct in abi.STRUCTS for field in struct.fields)


@pytest.mark.parametrize("kind", [1, 2, 3, 65535])
@pytest.mark.parametrize("assert_index", [0, 1, 32767])
def test_error_codes_split_again(kind: int, assert_index: int) -> None:
    code = abi.error_code(kind, assert_index)
    assert 0 < code < 1 << 31
    assert abi.split_error(code) == (kind, assert_index)


def test_fields_of_different_writers_have_their_own_cache_line() -> None:
    lines = [structs.POOL.offset(name) // 64 for name in ("ticket", "pending", "frame", "lease", "sleepers")]
    assert len(set(lines)) == len(lines)
