"""Command buffers: a recording joined with the executables it dispatches; immutable and shareable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_hal.errors import BAD_ARGUMENTS, EXECUTABLE_MISMATCH, HalError
from iree_hal.executable import Executable
from iree_hal.executor.plan import match_export
from iree_hal.recording import Dispatch, Recording

HostFunction = Callable[..., None]
CACHED_EVALUATIONS = 64


class CommandBuffer:
    """Made by :meth:`iree_hal.device.Device.create_command_buffer` and run by the same device.

    Raises HalError EXECUTABLE_MISMATCH when a dispatch names a missing executable or export, or gives it
    another number of constants or bindings than it has.
    """

    def __init__(
        self,
        recording: Recording,
        executables: Sequence[Executable],
        host_functions: Sequence[HostFunction] = (),
    ) -> None:
        self.recording = recording
        self.executables = tuple(executables)
        self.host_functions = tuple(host_functions)
        if recording.n_host_calls > len(self.host_functions):
            raise HalError(
                EXECUTABLE_MISMATCH,
                f"the recording calls {recording.n_host_calls} host functions",
                cause=f"{len(self.host_functions)} are given",
            )
        for index, command in enumerate(recording.commands):
            if isinstance(command, Dispatch):
                match_export(command, self.executables, f"command {index}")
        self._output_names = tuple(recording.outputs)
        self._fixed: dict[str | int, int] = {}
        for number, (name, slot) in enumerate(recording.outputs.items()):
            if slot >= recording.n_inputs:
                definition = recording.definitions[slot - recording.n_inputs]
                if definition.op == "const":
                    self._fixed[name] = self._fixed[number] = definition.value
        self._evaluated: dict[tuple[int, ...], list[int]] = {}

    def param(self, output: str | int, inputs: Sequence[int] = ()) -> int:
        """The value of an exported parameter, by name or by its number in ``recording.outputs``, for
        ``inputs`` (int64). Raises HalError BAD_ARGUMENTS for an unknown one or a wrong number of inputs.
        """
        if len(inputs) != self.recording.n_inputs:
            raise HalError(BAD_ARGUMENTS, f"{len(inputs)} parameters, expected {self.recording.n_inputs}")
        value = self._fixed.get(output)
        if value is not None:
            return value
        try:
            name = self._output_names[output] if isinstance(output, int) else output
            slot = self.recording.outputs[name]
        except (KeyError, IndexError):
            raise HalError(
                BAD_ARGUMENTS,
                f"no parameter {output!r}",
                cause="exported are " + ", ".join(self._output_names),
            ) from None
        return self.evaluate(inputs)[slot]

    def evaluate(self, inputs: Sequence[int]) -> list[int]:
        """All parameter values for ``inputs``; recent ones are remembered."""
        key = tuple(inputs)
        values = self._evaluated.get(key)
        if values is None:
            values = self.recording.evaluate(key)
            if len(self._evaluated) >= CACHED_EVALUATIONS:
                self._evaluated.clear()
            self._evaluated[key] = values
        return values
