"""What the runtime needs from an operating system: memory, wait and wake, processor facts.

``current()`` is the module for this process: :mod:`linux`, :mod:`darwin` or :mod:`windows`. Each has the
functions of :class:`Platform`; one that cannot be had raises HalError UNSUPPORTED_PLATFORM.
"""

from __future__ import annotations

import functools
import importlib
import platform as _platform
import sys
from typing import NamedTuple, Protocol, cast

from iree_hal.errors import UNSUPPORTED_PLATFORM, HalError

WAIT_FUTEX, WAIT_ULOCK = 1, 2
"""Calling conventions of :attr:`WaitFunctions.wait` that the native executor knows."""

_MACHINES = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "riscv64": "riscv64",
}


class WaitFunctions(NamedTuple):
    """Addresses of the OS functions that block on and wake a 32-bit word.

    ``convention`` says how they are called: WAIT_FUTEX ``syscall(number, word, op, value, timespec*)``
    for both; WAIT_ULOCK ``__ulock_wait(op, word, value, microseconds)`` and ``__ulock_wake(op, word, 0)``.
    """

    convention: int
    number: int
    wait: int
    wake: int
    yield_: int


class Platform(Protocol):
    """The functions of a platform module."""

    def map_memory(self, n_bytes: int) -> int:
        """Address of fresh zeroed, readable and writable pages. Raises HalError OUT_OF_MEMORY."""

    def unmap_memory(self, address: int, n_bytes: int) -> None:
        """Give pages of :meth:`map_memory` back."""

    def protect_memory(self, address: int, n_bytes: int, access: str) -> None:
        """Set pages to ``r``, ``rw`` or ``rx`` and make new code visible to the processor."""

    def wait_functions(self) -> WaitFunctions: ...

    def library_functions(self) -> dict[str, int]:
        """Addresses of memcpy, memset and memmove."""

    def cpu_features(self) -> frozenset[str]:
        """Features of all processors of this machine under LLVM's names."""

    def cpu_count(self) -> int:
        """Processors this process may use: affinity and container quota, at least 1."""

    def enable_features(self, features: frozenset[str]) -> None:
        """Ask the OS for features it grants per process (AMX). Raises HalError MISSING_FEATURE."""


@functools.cache
def current() -> Platform:
    """The platform module of this process. Raises HalError UNSUPPORTED_PLATFORM."""
    name = {"linux": "linux", "darwin": "darwin", "win32": "windows"}.get(sys.platform)
    if name is None:
        raise HalError(
            UNSUPPORTED_PLATFORM,
            sys.platform,
            hint="use a device that needs no native code: iree devices",
        )
    return cast(Platform, importlib.import_module(f"iree_hal.platform.{name}"))


def machine() -> str:
    """The processor family under its LLVM name: x86_64, aarch64, riscv64, or the OS's own word."""
    name = _platform.machine().lower()
    return _MACHINES.get(name, name)
