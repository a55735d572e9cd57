"""The device of ``null``: checks arguments like any device, then leaves every buffer as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_hal.allocator import Allocator
from iree_hal.command_buffer import CommandBuffer
from iree_hal.device import Device, check_counts
from iree_hal.executable import Executable, ExecutableSpec
from iree_hal.executable_loader import ExecutableLoader
from iree_hal.queue import InlineQueue


class NullLoader(ExecutableLoader):
    """Format ``null``: any bytes, no code."""

    formats = ("null",)

    def load(self, spec: ExecutableSpec) -> Executable:
        return Executable(spec)


class NullDevice(Device):
    """Dispatches, fills and copies of command buffers do nothing; host functions are called."""

    def __init__(self) -> None:
        super().__init__("null", Allocator(), (NullLoader(),), InlineQueue())

    def missing_features(self, features: Sequence[str]) -> list[str]:
        return []

    def execute(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int] = ()
    ) -> None:
        check_counts(command_buffer.recording, bindings, params)
