"""macOS: mmap and mprotect, ulock, sysctl facts.

Written from the documented interfaces. A process under the hardened runtime needs the entitlement for
unsigned executable memory; without it :func:`protect_memory` fails with its coded error.
"""

from __future__ import annotations

import ctypes
import functools
import os

from iree_hal.platform import WAIT_ULOCK, WaitFunctions
from iree_hal.platform._posix import (
    address_of,
    libc,
    library_functions,
    map_memory,
    protect_memory,
    unmap_memory,
)

_ARM_FEATURES = {
    "neon": "hw.optional.AdvSIMD",
    "fullfp16": "hw.optional.arm.FEAT_FP16",
    "dotprod": "hw.optional.arm.FEAT_DotProd",
    "bf16": "hw.optional.arm.FEAT_BF16",
    "i8mm": "hw.optional.arm.FEAT_I8MM",
    "lse": "hw.optional.arm.FEAT_LSE",
}


def wait_functions() -> WaitFunctions:
    return WaitFunctions(
        WAIT_ULOCK, 0, address_of("__ulock_wait"), address_of("__ulock_wake"), address_of("sched_yield")
    )


def _sysctl(name: str) -> bytes:
    size = ctypes.c_size_t(0)
    if libc().sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0):
        return b""
    data = ctypes.create_string_buffer(size.value)
    if libc().sysctlbyname(name.encode(), data, ctypes.byref(size), None, 0):
        return b""
    return data.raw[: size.value]


@functools.cache
def cpu_features() -> frozenset[str]:
    words = (_sysctl("machdep.cpu.features") + b" " + _sysctl("machdep.cpu.leaf7_features")).decode().lower()
    features = set(words.replace("\0", " ").replace("avx1.0", "avx").split())
    features |= {name for name, key in _ARM_FEATURES.items() if any(_sysctl(key))}
    return frozenset(features)


def cpu_count() -> int:
    return max(1, os.cpu_count() or 1)


def enable_features(features: frozenset[str]) -> None:
    """Nothing is granted per process here."""


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
