"""Linux: mmap and mprotect, futex, /proc and cgroup facts."""

from __future__ import annotations

import ctypes
import functools
import math
import os
from pathlib import Path

from iree_hal.errors import MISSING_FEATURE, UNSUPPORTED_PLATFORM, HalError
from iree_hal.platform import WAIT_FUTEX, WaitFunctions, machine
from iree_hal.platform._posix import address_of, libc, library_functions, map_memory, unmap_memory
from iree_hal.platform._posix import protect_memory as _protect

_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
_RISCV_FLUSH_ICACHE = 259

# LLVM feature -> word in /proc/cpuinfo, where the two differ by more than '.' and '-' for '_'.
_CPUINFO_WORDS = {
    "sse3": "pni",
    "bmi": "bmi1",
    "lzcnt": "abm",
    "cx16": "cx16",
    "sahf": "lahf_lm",
    "crc32": "sse4_2",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "avx512bitalg": "avx512_bitalg",
    "avx512vbmi2": "avx512_vbmi2",
    "avxvnni": "avx_vnni",
    "vpclmulqdq": "vpclmulqdq",
    "pclmul": "pclmulqdq",
    "rdrnd": "rdrand",
    "sha": "sha_ni",
    "neon": "asimd",
    "fp-armv8": "fp",
    "fullfp16": "asimdhp",
    "dotprod": "asimddp",
    "fp16fml": "asimdfhm",
    "lse": "atomics",
    "rdm": "asimdrdm",
    "crc": "crc32",
}
_AMX_PERMISSION = (158, 0x1023, 18)
"""arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA) on x86-64."""


def wait_functions() -> WaitFunctions:
    """The futex system call. Raises HalError UNSUPPORTED_PLATFORM on a machine without a known number."""
    number = _FUTEX.get(machine())
    if number is None:
        raise HalError(
            UNSUPPORTED_PLATFORM,
            f"linux on {machine()}",
            hint="use a device that needs no native code: iree devices",
        )
    call = address_of("syscall")
    return WaitFunctions(WAIT_FUTEX, number, call, call, address_of("sched_yield"))


def protect_memory(address: int, n_bytes: int, access: str) -> None:
    _protect(address, n_bytes, access)
    if access == "rx" and machine() == "riscv64":
        libc().syscall(_RISCV_FLUSH_ICACHE, ctypes.c_void_p(address), ctypes.c_void_p(address + n_bytes), 0)


@functools.cache
def _cpuinfo_words() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    words: set[str] | None = None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            here = set(value.split())
            words = here if words is None else words & here
        elif key.strip() == "isa":  # riscv64: rv64imafdcv_zicsr_...
            single, *extended = value.strip().removeprefix("rv64").split("_")
            here = {*single, *extended}
            words = here if words is None else words & here
    return frozenset(words or ())


@functools.cache
def cpu_features() -> frozenset[str]:
    """LLVM's feature names that hold on every processor of this machine."""
    words = _cpuinfo_words()
    features = {name for name, word in _CPUINFO_WORDS.items() if word in words}
    for word in words:
        features |= {word, word.replace("_", "-"), word.replace("_", ".")}
    if machine() == "x86_64":
        features |= {"sse", "sse2", "cmov", "cx8", "fxsr", "mmx", "x87", "64bit"}
    return frozenset(features)


def _quota() -> float:
    """Processors granted by the control group, infinite without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        if quota != "max":
            return int(quota) / int(period)
    except (OSError, ValueError):
        try:
            base = Path("/sys/fs/cgroup/cpu")
            quota_us = int((base / "cpu.cfs_quota_us").read_text())
            if quota_us > 0:
                return quota_us / int((base / "cpu.cfs_period_us").read_text())
        except (OSError, ValueError, ZeroDivisionError):
            pass
    return math.inf


def cpu_count() -> int:
    return max(1, min(len(os.sched_getaffinity(0)), math.ceil(min(_quota(), 1 << 16))))


def enable_features(features: frozenset[str]) -> None:
    """Ask the kernel for the AMX tile state when a feature needs it; granted once per process."""
    if any(f.startswith("amx") for f in features):
        number, request, component = _AMX_PERMISSION
        if libc().syscall(number, request, component):
            raise HalError(
                MISSING_FEATURE,
                "amx-tile",
                cause="the kernel refused the AMX tile state",
                hint="compile without amx features",
            )


__all__ = [
    "cpu_count",
    "cpu_features",
    "enable_features",
    "library_functions",
    "map_memory",
    "protect_memory",
    "unmap_memory",
    "wait_functions",
]
