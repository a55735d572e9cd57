"""Devices: where executables run. This class is the contract; drivers subclass it.

A device loads executables, makes command buffers and runs them: :meth:`Device.execute` at once and on the
caller, the ``queue_*`` operations when their wait fence is reached. Any thread may call any method. Objects
of one device are used with that device only.
"""

from __future__ import annotations

import itertools
import operator
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from iree_hal.allocator import Allocator
from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer, HostFunction
from iree_hal.errors import ACCESS, BAD_ARGUMENTS, NO_LOADER, OUT_OF_RANGE, UNSUPPORTED, HalError
from iree_hal.executable import Executable, ExecutableSpec
from iree_hal.executable_loader import ExecutableLoader
from iree_hal.fence import Fences, as_fence
from iree_hal.profile import Profile
from iree_hal.queue import InlineQueue, ThreadQueue
from iree_hal.recording import Recording
from iree_hal.semaphore import Semaphore

_numbers = itertools.count()


class Device(ABC):
    """``id`` is unique in the process, ``driver_name`` names the driver, ``queue_affinity`` is a bit mask of
    its queues (one).
    """

    queue_affinity = 1

    def __init__(
        self,
        driver_name: str,
        allocator: Allocator,
        loaders: Sequence[ExecutableLoader],
        queue: InlineQueue | ThreadQueue,
    ) -> None:
        self.driver_name = driver_name
        self.id = f"{driver_name}:{next(_numbers)}"
        self.allocator = allocator
        self._loaders = tuple(loaders)
        self._queue = queue
        self._profile: Profile | None = None
        self._profile_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Device {self.id}>"

    # ------------------------------------------------------------------ executables

    def loaders(self, formats: Iterable[str]) -> tuple[str, ...]:
        """Those of ``formats`` that this device can load, in the given order."""
        return tuple(f for f in formats if any(loader.supports(f) for loader in self._loaders))

    @property
    def formats(self) -> tuple[str, ...]:
        """All executable formats that this device can load."""
        known = dict.fromkeys(f for loader in self._loaders for f in loader.formats)
        return self.loaders(known)

    def load_executable(self, spec: ExecutableSpec) -> Executable:
        """Load with the first loader that supports ``spec.format``; the caller owns the result.

        Raises HalError NO_LOADER, and what :meth:`ExecutableLoader.load` raises.
        """
        for loader in self._loaders:
            if loader.supports(spec.format):
                return loader.load(spec)
        raise HalError(
            NO_LOADER,
            f"'{spec.format}' on {self.driver_name}",
            source=spec.name or None,
            cause="it runs " + (", ".join(self.formats) or "nothing"),
            hint="compile for this machine, or install the package with the loader",
        )

    def missing_features(self, features: Sequence[str]) -> list[str]:
        """Those of ``features`` that executables for this device may require and that it lacks, in order.

        A device that knows no features has none.
        """
        return list(features)

    def import_constants(self, memory: Any) -> Buffer:
        """A read-only buffer with the bytes of ``memory`` (buffer protocol; never changes afterwards) that
        command buffers of this device can bind. Here it borrows them; a device with memory of its own
        copies them there, once. Raises HalError OUT_OF_MEMORY.
        """
        return Buffer.wrap(memory, readonly=True)

    # ------------------------------------------------------------------ commands

    def create_command_buffer(
        self,
        recording: Recording,
        executables: Sequence[Executable],
        host_functions: Sequence[HostFunction] = (),
    ) -> CommandBuffer:
        """Join ``recording`` with the executables its dispatches number; the result keeps them loaded.

        Raises HalError EXECUTABLE_MISMATCH.
        """
        return CommandBuffer(recording, executables, host_functions)

    @abstractmethod
    def execute(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int] = ()
    ) -> None:
        """Run to the end on the calling thread (and workers).

        ``bindings`` are the table rows 1..n-1 (row 0, the arena, is the device's): Buffers or C-contiguous
        numpy arrays, borrowed until the call returns; only rows that a command writes are written.
        ``params`` are the int64 inputs of the recording. Ctrl-C stops a long run; outputs are then
        undefined, as after any error. Raises KernelError, HalError BAD_ARGUMENTS (number, layout,
        alignment), ACCESS (read-only row written), OUT_OF_RANGE, PROGRAM, OUT_OF_MEMORY, REDZONE.
        """

    def profiling(
        self, per_dispatch: bool = True, *, cpu_time: bool = False
    ) -> AbstractContextManager[Profile]:
        """Time every execution on this device inside the ``with`` block by the device's own clock, or with
        ``cpu_time`` by that of the calling thread, for devices that do all work on it (see
        :class:`~iree_hal.profile.Profile`). One profile at a time. Raises HalError UNSUPPORTED.
        """
        raise HalError(UNSUPPORTED, f"profiling by the device's clock on {self.driver_name}")

    @contextmanager
    def _profiling(self, per_dispatch: bool, cpu_time: bool = False) -> Iterator[Profile]:
        """For devices that profile: a new ``_profile`` for the block, once no other is there."""
        with self._profile_lock:
            self._profile = profile = Profile(per_dispatch, cpu_time)
            try:
                yield profile
            finally:
                self._profile = None

    # ------------------------------------------------------------------ queue operations

    def create_semaphore(self, value: int = 0) -> Semaphore:
        """A timeline semaphore at ``value``."""
        return Semaphore(value)

    def queue_alloca(self, nbytes: int, *, wait: Fences = (), signal: Fences = ()) -> Buffer:
        """A buffer of ``nbytes``, usable once ``signal`` is reached. Raises HalError OUT_OF_MEMORY."""
        buffer = self.allocator.allocate(nbytes)
        self._queue.submit(_nothing, as_fence(wait), as_fence(signal))
        return buffer

    def queue_dealloca(self, buffer: Buffer, *, wait: Fences = (), signal: Fences = ()) -> None:
        """Release ``buffer`` once ``wait`` is reached; nobody may use it afterwards."""
        self._queue.submit(lambda: self.allocator.release(buffer), as_fence(wait), as_fence(signal))

    def queue_execute(
        self,
        command_buffer: CommandBuffer,
        bindings: Sequence[Any],
        params: Sequence[int] = (),
        *,
        wait: Fences = (),
        signal: Fences = (),
    ) -> None:
        """:meth:`execute` once ``wait`` is reached. Bindings are borrowed until ``signal`` is reached or
        failed; errors of the run go there, wrong counts of arguments are raised here.
        """
        recording = command_buffer.recording
        check_counts(recording, bindings, params)
        held, values = tuple(bindings), tuple(params)
        self._queue.submit(
            lambda: self.execute(command_buffer, held, values), as_fence(wait), as_fence(signal)
        )

    def queue_copy(
        self,
        source: Buffer,
        source_offset: int,
        target: Buffer,
        target_offset: int,
        length: int,
        *,
        wait: Fences = (),
        signal: Fences = (),
    ) -> None:
        """Copy ``length`` bytes. Raises HalError OUT_OF_RANGE, ACCESS now, not later."""
        source.check_range(source_offset, length)
        _check_written(target, target_offset, length)
        if source is target and abs(source_offset - target_offset) < length:
            raise HalError(OUT_OF_RANGE, "source and target of a copy overlap")

        def operation() -> None:
            self._copy(source, source_offset, target, target_offset, length)

        self._queue.submit(operation, as_fence(wait), as_fence(signal))

    def queue_fill(
        self,
        target: Buffer,
        offset: int,
        length: int,
        pattern: bytes,
        *,
        wait: Fences = (),
        signal: Fences = (),
    ) -> None:
        """Repeat ``pattern`` (1, 2 or 4 bytes). Raises HalError OUT_OF_RANGE, ACCESS, BAD_ARGUMENTS now."""
        _check_written(target, offset, length)
        if len(pattern) not in (1, 2, 4):
            raise HalError(BAD_ARGUMENTS, f"a fill pattern of {len(pattern)} bytes", hint="use 1, 2 or 4")
        data = bytes(pattern)
        self._queue.submit(lambda: self._fill(target, offset, length, data), as_fence(wait), as_fence(signal))

    def queue_host_call(
        self, function: Callable[[], object], *, wait: Fences = (), signal: Fences = ()
    ) -> None:
        """Call ``function()`` on a thread of the device's choice; what it raises fails ``signal``."""

        def operation() -> None:
            function()

        self._queue.submit(operation, as_fence(wait), as_fence(signal))

    def _copy(
        self, source: Buffer, source_offset: int, target: Buffer, target_offset: int, length: int
    ) -> None:
        target.array[target_offset : target_offset + length] = source.array[
            source_offset : source_offset + length
        ]

    def _fill(self, target: Buffer, offset: int, length: int, pattern: bytes) -> None:
        view = target.map("w", offset, length)
        whole, rest = divmod(length, len(pattern))
        view[:] = pattern * whole + pattern[:rest]


def _nothing() -> None:
    """The work of an operation that only orders others."""


def _check_written(target: Buffer, offset: int, length: int) -> None:
    target.check_range(offset, length)
    if target.readonly:
        raise HalError(ACCESS, "writing a read-only buffer")


def check_counts(recording: Recording, bindings: Sequence[Any], params: Sequence[int]) -> None:
    """Raises HalError BAD_ARGUMENTS unless the numbers of bindings and parameters fit, and parameters are
    int64.
    """
    if len(bindings) != recording.n_bindings - 1:
        raise HalError(
            BAD_ARGUMENTS,
            f"{len(bindings)} bindings, expected {recording.n_bindings - 1} (the arena is not one)",
        )
    if len(params) != recording.n_inputs:
        raise HalError(BAD_ARGUMENTS, f"{len(params)} parameters, expected {recording.n_inputs}")
    for number, value in enumerate(params):
        try:
            fits = -(1 << 63) <= operator.index(value) < 1 << 63
        except TypeError:
            fits = False
        if not fits:
            raise HalError(BAD_ARGUMENTS, f"parameter {number} is {value!r}", hint="give a 64-bit integer")
