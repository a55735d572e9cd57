"""Driver ``reference``: parses executables back to IR and interprets each dispatch with numpy."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_base.errors import IreeError
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dispatch_function import run_on_memory
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.types import FloatType, IndexType, TensorType
from iree_core_ir.text.parser import parse_module
from iree_hal.allocator import Allocator
from iree_hal.command_buffer import CommandBuffer
from iree_hal.device import Device, check_counts
from iree_hal.device_info import INTERPRETER, DeviceInfo
from iree_hal.driver import Driver
from iree_hal.executable import Executable, ExecutableSpec
from iree_hal.executable_loader import ExecutableLoader
from iree_hal.queue import InlineQueue
from iree_hal.recording import ARENA_BYTES
from iree_hal.replay import Invocation, replay
from iree_target_reference.errors import BAD_EXECUTABLE, CHECK_FAILED, ReferenceError
from iree_target_reference.target import FORMAT, scalar_words

POISON = 0xFF
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class ReferenceExecutable(Executable):
    """Parsed IR with an interpreter."""

    def __init__(self, spec: ExecutableSpec) -> None:
        super().__init__(spec)
        try:
            text = bytes(spec.data).decode()
            module = parse_module(text, spec.name)
        except (UnicodeDecodeError, IreeError) as error:
            raise ReferenceError(BAD_EXECUTABLE, spec.name, cause=str(error).splitlines()[0]) from None
        self.interpreter = Interpreter(module)
        functions = {op.sym_name.value: op for op in module.regions[0].block if isinstance(op, FuncOp)}
        missing = [e.name for e in spec.exports if e.name not in functions]
        if missing:
            raise ReferenceError(BAD_EXECUTABLE, spec.name, cause=f"no function '{missing[0]}'")
        self.functions = [functions[e.name] for e in spec.exports]


class ReferenceLoader(ExecutableLoader):
    formats = (FORMAT,)

    def load(self, spec: ExecutableSpec) -> ReferenceExecutable:
        return ReferenceExecutable(spec)


class ReferenceDevice(Device):
    """Runs on the caller, one command after the other; the arena starts poisoned."""

    def __init__(self) -> None:
        super().__init__("reference", Allocator(), (ReferenceLoader(),), InlineQueue())

    def execute(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int] = ()
    ) -> None:
        recording = command_buffer.recording
        check_counts(recording, bindings, params)
        slot = recording.outputs.get(ARENA_BYTES)
        size = recording.evaluate(params)[slot] if slot is not None else 0
        table = [np.full(max(size, 0), POISON, np.uint8), *[_bytes(b) for b in bindings]]
        replay(recording, table, params, _runner(command_buffer.executables), command_buffer.host_functions)


def _bytes(binding: Any) -> Bytes:
    array: Any = binding if isinstance(binding, np.ndarray) else binding.array
    view: Bytes = array.reshape(-1).view(np.uint8)
    return view


def _runner(executables: Sequence[Any]) -> Callable[[Invocation], None]:
    def run(call: Invocation) -> None:
        executable: ReferenceExecutable = executables[call.command.executable]
        function = executable.functions[call.command.export]
        scalars = scalar_values(function, call.constants)
        try:
            run_on_memory(executable.interpreter.invoke, function, scalars, call.bindings)
        except CoreIrError as error:
            raise ReferenceError(
                CHECK_FAILED, error.detail or error.summary, source=executable.name, cause=error.cause
            ) from error

    return run


def scalar_values(function: FuncOp, words: Sequence[int]) -> list[Any]:
    """The scalar arguments from the dispatch's 32-bit constants."""
    values: list[Any] = []
    position = 0
    for arg in function.regions[0].block.args:
        if isinstance(arg.type, TensorType):
            continue
        count = scalar_words(arg.type)
        raw = struct.pack(f"<{count}I", *words[position : position + count])
        position += count
        values.append(_scalar(raw, arg.type))
    return values


def _scalar(raw: bytes, type: Any) -> Any:
    if isinstance(type, IndexType):
        return int.from_bytes(raw, "little", signed=True)
    width = max(1, type.width // 8)
    if isinstance(type, FloatType):
        from iree_base.element_types import element_type

        return np.frombuffer(raw[:width], element_type(str(type)).dtype)[0]
    if type.width == 1:
        return np.bool_(raw[0] & 1)
    return np.frombuffer(raw[:width], f"<i{width}")[0]


class ReferenceDriver(Driver):
    name = "reference"

    def devices(self) -> tuple[DeviceInfo, ...]:
        return (DeviceInfo(self.name, "numpy interpreter", {"formats": [FORMAT]}, INTERPRETER),)

    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        self.only(selector)
        return ReferenceDevice()


DRIVER = ReferenceDriver()
