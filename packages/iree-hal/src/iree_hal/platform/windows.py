"""Windows: the executor and kernels use the System V calling convention, which this process does not.

Every function that would lead to native code raises HalError UNSUPPORTED_PLATFORM; buffers, recordings,
the driver ``null`` and interpreting drivers work.
"""

from __future__ import annotations

import os
from typing import NoReturn

from iree_hal.errors import UNSUPPORTED_PLATFORM, HalError
from iree_hal.platform import WaitFunctions


def _unsupported() -> NoReturn:
    raise HalError(
        UNSUPPORTED_PLATFORM,
        "windows",
        cause="native executables follow the System V calling convention",
        hint="run under WSL, or use a device that needs no native code: iree devices",
    )


def map_memory(n_bytes: int) -> int:
    _unsupported()


def unmap_memory(address: int, n_bytes: int) -> None:
    _unsupported()


def protect_memory(address: int, n_bytes: int, access: str) -> None:
    _unsupported()


def wait_functions() -> WaitFunctions:
    _unsupported()


def library_functions() -> dict[str, int]:
    _unsupported()


def cpu_features() -> frozenset[str]:
    return frozenset()


def cpu_count() -> int:
    return max(1, os.cpu_count() or 1)


def enable_features(features: frozenset[str]) -> None:
    """Nothing is granted per process here."""
