"""Platform facts: features, processors, memory."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

from iree_hal import platform
from iree_hal.errors import HalError
from iree_hal.executable_loader import check_features
from iree_hal.platform import windows

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's own files")


def test_machine_is_llvms_name() -> None:
    assert platform.machine() in ("x86_64", "aarch64", "riscv64")


def test_baseline_features_are_there() -> None:
    baseline = {"x86_64": {"sse2", "64bit"}, "aarch64": {"neon"}}
    assert baseline.get(platform.machine(), set()) <= platform.current().cpu_features()


@linux_only
def test_features_agree_with_llvm() -> None:
    llvm = pytest.importorskip("llvmlite.binding")
    interesting = {
        "avx",
        "avx2",
        "fma",
        "f16c",
        "bmi2",
        "lzcnt",
        "sse4.2",
        "avx512f",
        "avx512vl",
        "avx512vnni",
    }
    interesting |= {
        "avx512bf16",
        "amx-tile",
        "amx-int8",
        "amx-bf16",
        "popcnt",
        "dotprod",
        "fullfp16",
        "sve",
        "i8mm",
    }
    host = {name for name, on in llvm.get_host_cpu_features().items() if on}
    ours = platform.current().cpu_features()
    # LLVM also looks at what the OS saves; the kernel hides what it does not.
    assert host & interesting == ours & interesting


@linux_only
def test_processors_follow_affinity() -> None:
    from iree_hal.platform import linux

    allowed = os.sched_getaffinity(0)
    assert 1 <= linux.cpu_count() <= len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert linux.cpu_count() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@linux_only
@pytest.mark.parametrize(("quota", "want"), [(0.5, 1), (1.0, 1), (1.2, 2), (1e9, None)])
def test_processors_follow_the_quota(monkeypatch: pytest.MonkeyPatch, quota: float, want: int | None) -> None:
    from iree_hal.platform import linux

    monkeypatch.setattr(linux, "_quota", lambda: quota)
    n = len(os.sched_getaffinity(0))
    assert linux.cpu_count() == (n if want is None else min(want, n))


def test_missing_features_are_named_together() -> None:
    check_features(("",), "model")
    check_features(("-avx512f",), "model")
    with pytest.raises(HalError, match=r"IREE-HAL-006.*flux, warp.*model"):
        check_features(("+warp", "flux"), "model")


def test_memory_can_be_mapped_and_protected() -> None:
    system = platform.current()
    address = system.map_memory(8192)
    ctypes.memset(address, 7, 8192)
    system.protect_memory(address, 4096, "r")
    assert ctypes.string_at(address, 1) == b"\x07"
    system.unmap_memory(address, 8192)


def test_absurd_mappings_are_a_coded_error() -> None:
    with pytest.raises(HalError, match="IREE-HAL-011"):
        platform.current().map_memory(1 << 62)


def test_wrong_protection_is_a_coded_error() -> None:
    with pytest.raises(HalError, match="IREE-HAL-020"):
        platform.current().protect_memory(1, 4096, "rx")


def test_windows_says_that_it_cannot() -> None:
    for call in (windows.wait_functions, windows.library_functions, lambda: windows.map_memory(1)):
        with pytest.raises(HalError, match=r"IREE-HAL-001.*iree devices"):
            call()
