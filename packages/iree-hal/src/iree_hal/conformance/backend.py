"""How a driver joins the suite, and the helpers its tests share."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from iree_base.records import field, record
from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer
from iree_hal.conformance import kernels
from iree_hal.device import Device
from iree_hal.driver import create_device
from iree_hal.executable import Executable, ExecutableSpec
from iree_hal.recording import BindingRef, Recording, RecordingBuilder

TIMEOUT = 60.0
"""Seconds after which work that should be done is taken for lost."""


@record(frozen=True)
class Backend:
    """``driver`` and ``options`` of create_device; ``executable`` gives the kernels in a format it loads.

    ``never`` and ``not_yet`` map names of tests, or of nouns for all of their tests, to reasons.
    ``most_workgroups`` bounds the grids of tests that need many, for devices that take long for each.
    ``label`` names the column of the table.
    """

    driver: str
    options: dict[str, Any] = field(default_factory=dict)
    executable: Callable[[], ExecutableSpec] = kernels.local_executable
    never: dict[str, str] = field(default_factory=dict)
    not_yet: dict[str, str] = field(default_factory=dict)
    most_workgroups: int = 1 << 31
    label: str = ""


class Context:
    """What a test gets: a device with the suite's kernels loaded, and shorthands around them."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.device: Device = create_device(backend.driver, **backend.options)
        self.executable: Executable = self.device.load_executable(backend.executable())

    def another(self) -> Context:
        """The same on a device of its own."""
        return Context(self.backend)

    def command_buffer(self, recording: Recording, *functions: Callable[..., None]) -> CommandBuffer:
        return self.device.create_command_buffer(recording, [self.executable], functions)

    def run(self, recording: Recording, bindings: Sequence[Any] = (), params: Sequence[int] = ()) -> None:
        """Execute ``recording`` once, synchronously."""
        self.device.execute(self.command_buffer(recording), bindings, params)

    def workgroups(self, wanted: int) -> int:
        """``wanted``, or fewer on a backend that is slow at them."""
        return min(wanted, self.backend.most_workgroups)

    def buffer(self, array: Any) -> Buffer:
        """A buffer of the device that holds the bytes of ``array``."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        buffer = self.device.allocator.allocate(data.nbytes)
        buffer.map("w")[:] = data.data
        return buffer

    def alignment(self, export: str, binding: int = 0) -> int:
        """Bytes that the binding of an export must be aligned to."""
        return self.executable.exports[kernels.ORDINALS[export]].alignments[binding]


class Recorder(RecordingBuilder):
    """A builder that takes numbers where parameter slots are wanted, and whole bindings."""

    def ref(self, slot: int, length: int, offset: int = 0) -> BindingRef:
        """Bytes ``[offset, offset + length)`` of ``slot``."""
        return BindingRef(slot, self.const(offset), self.const(length))

    def call(
        self,
        export: str,
        counts: tuple[int, int, int],
        bindings: Sequence[BindingRef] = (),
        constants: Sequence[int] = (),
    ) -> None:
        """Dispatch ``export`` with literal counts and 32-bit constants."""
        slots = tuple(self.const(n) for n in counts)
        words = [(self.const(c), "lo") for c in constants]
        self.dispatch(0, kernels.ORDINALS[export], (slots[0], slots[1], slots[2]), words, bindings)


def contents(buffer: Buffer, dtype: Any = np.uint8) -> npt.NDArray[Any]:
    """A copy of what a buffer holds, read through its mapping."""
    return np.frombuffer(bytes(buffer.map("r")), dtype)


def float_bits(value: float) -> int:
    """The 32 bits of a float as the integer that travels in a parameter."""
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def ramp(n: int) -> npt.NDArray[np.float32]:
    """0, 1, ..., n-1 in f32."""
    return np.arange(n, dtype=np.float32)


def words(n: int, seed: int = 0) -> npt.NDArray[np.uint32]:
    """``n`` random u32."""
    return np.random.default_rng(seed).integers(0, 1 << 32, n, np.uint32)


def add_recording(n: int) -> Recording:
    """Binding 3 = binding 1 + binding 2, ``n`` f32 each."""
    recorder = Recorder(4, 0)
    bindings = [recorder.ref(slot, 4 * n) for slot in (1, 2, 3)]
    recorder.call("add", (-(-n // 64), 1, 1), bindings, [n])
    return recorder.finish()


def scale_recording(n: int, factor: float) -> Recording:
    """Binding 2 = ``factor`` times binding 1, ``n`` f32 each."""
    recorder = Recorder(3, 0)
    recorder.call("scale", (n, 1, 1), [recorder.ref(1, 4 * n), recorder.ref(2, 4 * n)], [float_bits(factor)])
    return recorder.finish()


def count_recording(n: int) -> Recording:
    """Add 1 to each of ``n`` u32 of binding 1."""
    recorder = Recorder(2, 0)
    recorder.call("count", (n, 1, 1), [recorder.ref(1, 4 * n)])
    return recorder.finish()


def in_threads(*calls: Callable[[], object]) -> None:
    """Run all calls at once, each on a thread; what the first failing one raises is raised here."""
    errors: list[BaseException] = []

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
