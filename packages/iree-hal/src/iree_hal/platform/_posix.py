"""Memory mapping and libc, shared by the platforms that have POSIX calls."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from typing import Any

from iree_hal.errors import OS_CALL, OUT_OF_MEMORY, HalError

_ACCESS = {"r": mmap.PROT_READ, "rw": mmap.PROT_READ | mmap.PROT_WRITE, "rx": mmap.PROT_READ | mmap.PROT_EXEC}


@functools.cache
def libc() -> Any:
    """The C library of this process, with typed signatures for what is called here."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    )
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library


def address_of(name: str) -> int:
    """The address of a C library function."""
    return ctypes.cast(getattr(libc(), name), ctypes.c_void_p).value or 0


def map_memory(n_bytes: int) -> int:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = libc().mmap(None, n_bytes, _ACCESS["rw"], flags, -1, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise HalError(OUT_OF_MEMORY, f"mmap of {n_bytes} bytes", cause=os.strerror(ctypes.get_errno()))
    return int(address)


def unmap_memory(address: int, n_bytes: int) -> None:
    libc().munmap(address, n_bytes)


def protect_memory(address: int, n_bytes: int, access: str) -> None:
    # Both Linux and Darwin bring the instruction cache up to date when pages become executable.
    if libc().mprotect(address, n_bytes, _ACCESS[access]):
        raise HalError(
            OS_CALL,
            f"mprotect to '{access}'",
            cause=os.strerror(ctypes.get_errno()),
            hint="allow executable memory for this process (SELinux execmem, hardened runtime)",
        )


def library_functions() -> dict[str, int]:
    return {name: address_of(name) for name in ("memcpy", "memset", "memmove")}
