"""Executables of ``reference``: IR text -> functions that run over byte arrays.

A function is either a dispatch function on tensors, which does the work of the whole grid at once, or a
kernel (``iree.kernel``): bindings, constants, the ids of one workgroup and its scratch, called once a
workgroup with the ids in order, x fastest, or once per invocation where it has ``iree.workgroup_size``. Both
may stand in one module.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_base.errors import IreeError
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dispatch_function import run_on_memory
from iree_core_ir.errors import CoreIrError, FailedAssert
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.interpreters.gpu import run_workgroup
from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.types import FloatType, IndexType, MemRefType, TensorType
from iree_core_ir.text.parser import parse_module
from iree_hal import abi
from iree_hal.errors import EXECUTABLE_MISMATCH, MISSING_FEATURE, HalError, KernelError
from iree_hal.executable import Executable, ExecutableSpec, ExportSpec
from iree_hal.executable_loader import ExecutableLoader
from iree_hal.replay import Invocation
from iree_target_reference.errors import BAD_EXECUTABLE, CHECK_FAILED, ReferenceError
from iree_target_reference.target import FORMAT, scalar_words

KERNEL = "iree.kernel"
BINDINGS = "iree.bindings"
WORKGROUP_SIZE = "iree.workgroup_size"
SUBGROUP_SIZE = "iree.subgroup_size"
ERROR_KIND = "iree.error_kind"
POISON = 0xFF
"""Bytes of memory that nobody wrote: a NaN of every float type."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class ReferenceExecutable(Executable):
    """Parsed IR with an interpreter; ``functions`` in the order of ``exports``."""

    def __init__(self, spec: ExecutableSpec) -> None:
        super().__init__(spec)
        if spec.features:
            raise HalError(
                MISSING_FEATURE, ", ".join(spec.features), source=spec.name or None, cause="numpy has none"
            )
        try:
            text = bytes(spec.data).decode()
            module = parse_module(text, spec.name)
        except (UnicodeDecodeError, IreeError) as error:
            raise ReferenceError(BAD_EXECUTABLE, spec.name, cause=str(error).splitlines()[0]) from None
        self.interpreter = Interpreter(module)
        functions = {op.sym_name.value: op for op in module.regions[0].block if isinstance(op, FuncOp)}
        if not functions:
            raise ReferenceError(BAD_EXECUTABLE, spec.name, cause="it holds no function")
        self.functions = [_exported(functions, export, spec.name) for export in spec.exports]

    def run(self, call: Invocation) -> None:
        """Carry out one dispatch. Raises KernelError for a failed check of a kernel, ReferenceError
        CHECK_FAILED for one of a dispatch function.
        """
        function = self.functions[call.command.export]
        try:
            if KERNEL in function.attributes:
                self._run_kernel(function, call)
            else:
                scalars = scalar_values(function, call.constants)
                run_on_memory(self.interpreter.invoke, function, scalars, call.bindings)
        except FailedAssert as error:
            if KERNEL in function.attributes and error.op is not None:
                raise _kernel_error(function, error, call.command_index) from error
            raise self._failed(error) from error
        except CoreIrError as error:
            raise self._failed(error) from error

    def _failed(self, error: CoreIrError) -> ReferenceError:
        return ReferenceError(
            CHECK_FAILED, error.detail or error.summary, source=self.name or None, cause=error.cause
        )

    def _run_kernel(self, function: FuncOp, call: Invocation) -> None:
        export = self.exports[call.command.export]
        types = [arg.type for arg in function.regions[0].block.args]
        memory = [
            _view(data, type, access)
            for data, type, access in zip(call.bindings, types, export.bindings, strict=False)
        ]
        scalars = scalar_values(function, call.constants)
        block, subgroup = _block(function)
        for z, y, x in itertools.product(*(range(n) for n in reversed(call.counts))):
            scratch = np.full(export.scratch_bytes, POISON, np.uint8).view(np.int8)
            arguments = [*memory, *scalars, x, y, z, scratch]
            run_workgroup(
                self.interpreter,
                function,
                arguments,
                block_id=(x, y, z),
                grid_dim=call.counts,
                block_dim=block,
                subgroup_size=subgroup,
            )


class ReferenceLoader(ExecutableLoader):
    formats = (FORMAT,)

    def load(self, spec: ExecutableSpec) -> ReferenceExecutable:
        return ReferenceExecutable(spec)


def _exported(functions: dict[str, FuncOp], export: ExportSpec, name: str) -> FuncOp:
    found = functions.get(export.name)
    if found is None:
        raise HalError(
            EXECUTABLE_MISMATCH, f"the module has no function '{export.name}'", source=name or None
        )
    return found


def _block(function: FuncOp) -> tuple[tuple[int, int, int], int]:
    """(invocations of a workgroup in x, y, z, of a subgroup); one where a kernel runs once a workgroup."""
    size: Any = function.attributes.get(WORKGROUP_SIZE)
    if size is None:
        return (1, 1, 1), 1
    x, y, z = (int(n) for n in size.values)
    subgroup: Any = function.attributes[SUBGROUP_SIZE]
    return (x, y, z), int(subgroup.value)


def _view(data: Bytes, type: Any, access: str) -> Any:
    """The elements of a binding; what a kernel may only read cannot be written."""
    dtype = element_type(str(type.element_type)).dtype
    values = data[: data.nbytes // dtype.itemsize * dtype.itemsize].view(dtype)
    if access == "read":
        values = values.view()
        values.flags.writeable = False
    return values


def _kernel_error(function: FuncOp, error: FailedAssert, command_index: int) -> KernelError:
    """The error that native code reports by its return value: kind, and which assertion of the kernel."""
    asserts = [op for op in function.walk() if op.name == "cf.assert"]
    number = next(i for i, op in enumerate(asserts) if op is error.op)
    given = asserts[number].attributes.get(ERROR_KIND)
    kind = given.value if isinstance(given, IntegerAttr) else abi.ERROR_ASSERT
    name = function.sym_name.value
    return KernelError(abi.error_code(kind, number), name, kind, number, command_index)


def scalar_values(function: FuncOp, words: Sequence[int]) -> list[Any]:
    """The scalar arguments from the dispatch's 32-bit constants; a kernel's ids are none of them."""
    args = function.regions[0].block.args
    if KERNEL in function.attributes:
        args = args[:-4]
    values: list[Any] = []
    position = 0
    for arg in args:
        if isinstance(arg.type, TensorType | MemRefType):
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
        return np.frombuffer(raw[:width], element_type(str(type)).dtype)[0]
    if type.width == 1:
        return np.bool_(raw[0] & 1)
    return np.frombuffer(raw[:width], f"<i{width}")[0]
