"""A device for the targets of the tests: it interprets each dispatch, and insists on what its target asked for.

Memory is poisoned before it is written; a binding that does not begin at a multiple of ``alignment`` is an
error; constants are copied once, as a device with memory of its own does it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dispatch_function import run_on_memory
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.types import FloatType, IndexType, TensorType
from iree_core_ir.text.parser import parse_module
from iree_hal import Allocator, Buffer, CommandBuffer, Device, Executable, ExecutableLoader, ExecutableSpec
from iree_hal.device import check_counts
from iree_hal.queue import InlineQueue
from iree_hal.recording import ARENA_BYTES
from iree_hal.replay import Invocation, replay

POISON = 0xFF


class FixtureExecutable(Executable):
    def __init__(self, spec: ExecutableSpec) -> None:
        super().__init__(spec)
        self.interpreter = Interpreter(parse_module(bytes(spec.data).decode(), spec.name))
        found = [op for op in self.interpreter.module.regions[0].block if isinstance(op, FuncOp)]
        self.functions = {op.sym_name.value: op for op in found}


class FixtureLoader(ExecutableLoader):
    formats = ("fixture-ir",)

    def load(self, spec: ExecutableSpec) -> Executable:
        return FixtureExecutable(spec)


class FixtureDevice(Device):
    """``features`` it has, ``alignment`` of bindings it needs."""

    def __init__(self, features: Sequence[str] = (), alignment: int = 1) -> None:
        super().__init__("fixture", Allocator(), (FixtureLoader(),), InlineQueue())
        self.features = features
        self.alignment = alignment
        self.uploaded = 0
        """Bytes of constants."""
        self.dispatched = 0

    def missing_features(self, features: Sequence[str]) -> list[str]:
        return [name for name in features if name not in self.features]

    def import_constants(self, memory: Any) -> Buffer:
        copy = np.frombuffer(memory, np.uint8).copy()
        self.uploaded += copy.nbytes
        return Buffer.wrap(copy, readonly=True)

    def execute(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int] = ()
    ) -> None:
        recording = command_buffer.recording
        check_counts(recording, bindings, params)
        slot = recording.outputs.get(ARENA_BYTES)
        values = recording.evaluate(params)
        table = [np.full(0 if slot is None else values[slot], POISON, np.uint8)]
        for binding in bindings:
            array = binding if isinstance(binding, np.ndarray) else binding.array
            table.append(array.reshape(-1).view(np.uint8))

        def dispatch(call: Invocation) -> None:
            self.dispatched += 1
            for reference in call.command.bindings:
                assert values[reference.offset] % self.alignment == 0, "a binding at an odd place"
            executable: Any = command_buffer.executables[call.command.executable]
            function = executable.functions[executable.exports[call.command.export].name]
            scalars = scalar_values(function, call.constants)
            run_on_memory(executable.interpreter.invoke, function, scalars, call.bindings)

        replay(recording, table, params, dispatch, command_buffer.host_functions)


def scalar_values(function: FuncOp, words: Sequence[int]) -> list[Any]:
    """The scalar arguments of a dispatch from its 32-bit words."""
    values: list[Any] = []
    rest = iter(words)
    for arg in function.regions[0].block.args:
        type: Any = arg.type
        if isinstance(type, TensorType):
            continue
        wide = isinstance(type, IndexType) or type.width == 64
        raw = struct.pack("<2I", next(rest), next(rest)) if wide else struct.pack("<I", next(rest))
        if isinstance(type, IndexType):
            values.append(int.from_bytes(raw, "little", signed=True))
        elif isinstance(type, FloatType) or type.width > 1:
            dtype = element_type(str(type)).dtype
            values.append(np.frombuffer(raw[: dtype.itemsize], dtype)[0])
        else:
            values.append(np.bool_(raw[0] & 1))
    return values
