"""The executor object of this machine, loaded once per process and never unmapped."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iree_hal import platform
from iree_hal.elf.load import load
from iree_hal.errors import BAD_OBJECT, UNSUPPORTED_PLATFORM, HalError
from iree_hal.executor import structs

CALIBRATION_NS = 2_000_000


class Native:
    """The functions of the executor; the files in ``ll/`` say what they do. Made by :func:`native`."""

    def __init__(self) -> None:
        machine = platform.machine()
        resource = Path(__file__).parent / "objects" / f"{machine}.o"
        if not resource.is_file():
            raise HalError(
                UNSUPPORTED_PLATFORM,
                f"no executor for {machine}",
                hint="use a device that needs no native code: iree devices",
            )
        imports = platform.current().library_functions()
        symbols = load(resource.read_bytes(), imports, keep=True).symbols
        pointer = ctypes.c_void_p

        def function(name: str, result: type[Any] | None, *arguments: type[Any]) -> Callable[..., Any]:
            prototype = ctypes.CFUNCTYPE(result, *arguments)
            return prototype(symbols[name])

        version = function("iree_layout_version", ctypes.c_uint32)()
        if version != structs.layout_version():
            raise HalError(
                BAD_OBJECT,
                f"executor for layout {version:#x}, this package has {structs.layout_version():#x}",
                hint="reinstall iree-hal, or run python -m iree_hal.executor.build",
            )
        self.run = function("iree_run", ctypes.c_int32, pointer)
        self.evaluate = function("iree_evaluate", None, pointer)
        self.worker = function("iree_worker", None, pointer, ctypes.c_uint32)
        self.lease = function("iree_lease", ctypes.c_uint32, pointer)
        self.release = function("iree_release", None, pointer)
        self.shutdown = function("iree_shutdown", None, pointer)
        self.ticks = function("iree_ticks", ctypes.c_uint64)
        self._start = (self.ticks(), time.perf_counter_ns())

    @functools.cached_property
    def ticks_per_ms(self) -> int:
        """Ticks of the executor's clock in a millisecond, measured since the object was loaded."""
        wait = CALIBRATION_NS - (time.perf_counter_ns() - self._start[1])
        if wait > 0:
            time.sleep(wait * 1e-9)
        ticks, ns = self.ticks() - self._start[0], time.perf_counter_ns() - self._start[1]
        return max(1, int(ticks) * 1_000_000 // ns)


@functools.cache
def native() -> Native:
    """The executor of this process. Raises HalError UNSUPPORTED_PLATFORM."""
    return Native()
