"""How a driver joins the suite, and the helpers its tests share."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from iree_hal.command_buffer import CommandBuffer
from iree_hal.conformance import kernels
from iree_hal.device import Device
from iree_hal.driver import create_device
from iree_hal.executable import Executable, ExecutableSpec
from iree_hal.recording import BindingRef, Recording, RecordingBuilder


@dataclass(frozen=True)
class Backend:
    """``driver`` and ``options`` of create_device; ``executable`` gives the kernels in a format it loads.

    ``never`` and ``not_yet`` map test names to reasons.
    """

    driver: str
    options: dict[str, Any] = field(default_factory=dict)
    executable: Callable[[], ExecutableSpec] = kernels.local_executable
    never: dict[str, str] = field(default_factory=dict)
    not_yet: dict[str, str] = field(default_factory=dict)


class Context:
    """What a test gets: a device with the suite's kernels loaded, and shorthands around them."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.device: Device = create_device(backend.driver, **backend.options)
        self.executable: Executable = self.device.load_executable(backend.executable())

    def command_buffer(self, recording: Recording, *functions: Callable[..., None]) -> CommandBuffer:
        return self.device.create_command_buffer(recording, [self.executable], functions)

    def run(self, recording: Recording, bindings: Sequence[Any] = (), params: Sequence[int] = ()) -> None:
        """Execute ``recording`` once, synchronously."""
        self.device.execute(self.command_buffer(recording), bindings, params)


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


def float_bits(value: float) -> int:
    """The 32 bits of a float as the integer that travels in a parameter."""
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def ramp(n: int) -> npt.NDArray[np.float32]:
    """0, 1, ..., n-1 in f32."""
    return np.arange(n, dtype=np.float32)
