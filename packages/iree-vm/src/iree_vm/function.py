"""A callable per function: input checks and the function's own code in one generated Python function.

The source is the translation of the export (``bytecode/translate.py``) with the common case of each input
tested in place before it: a numpy array of the right dtype, contiguous and aligned. Everything else,
``out=``, ``donate=`` and every failure go to ``Binding``, which this module also holds: it converts, runs
the same bytecode and explains what went wrong in terms of the caller's model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType, element_type
from iree_base.errors import IreeError
from iree_hal import BufferView, Fence, HalError, KernelError
from iree_hal.abi import ERROR_INDEX, ERROR_SHAPE
from iree_hal.errors import TIMEOUT
from iree_vm.artifact.debug_info import DebugInfo
from iree_vm.artifact.manifest import Dim, FunctionSpec
from iree_vm.bytecode.program import ASYNC_SUFFIX, IMPORT_BIT, Function
from iree_vm.bytecode.translate import FunctionEmitter
from iree_vm.bytecode.types import Register
from iree_vm.bytecode.verifier import written
from iree_vm.errors import VmError
from iree_vm.inputs import Input, check_inputs
from iree_vm.module import BytecodeModule, translate_limit

Array = np.ndarray[Any, np.dtype[Any]]
_IN_PLACE = 0x101  # numpy's flags C_CONTIGUOUS and ALIGNED

KERNEL_ADVICE = {
    ERROR_INDEX: (
        "an index lies outside of the dimension that it selects from",
        "check the inputs that this node takes its indices from",
    ),
    ERROR_SHAPE: ("sizes that must be equal differ", "check the shapes of the inputs that this node uses"),
}
"""Kind of a kernel's error -> cause and next step, where the compiler left no better words."""


class FunctionSignature:
    """Inputs and outputs of a function, and the ranges of its dimensions."""

    def __init__(self, spec: FunctionSpec, dims: Mapping[str, Dim]) -> None:
        self.name = spec.name
        self.inputs = spec.inputs
        self.outputs = spec.outputs
        used = {d for t in (*spec.inputs, *spec.outputs) for d in t.shape if isinstance(d, str)}
        self.dims = {name: dim for name, dim in dims.items() if name in used}

    def __str__(self) -> str:
        inputs, outputs = ", ".join(map(str, self.inputs)), ", ".join(map(str, self.outputs))
        return f"{self.name}({inputs}) -> ({outputs})"

    def __repr__(self) -> str:
        return f"<signature {self}>"


class Pending:
    """An asynchronous call: ``fence`` is reached when its results are there."""

    def __init__(
        self, finish: Callable[[], Any], fence: Fence, explain: Callable[[BaseException], BaseException]
    ) -> None:
        self._finish: Callable[[], Any] | None = finish
        self._results: Any = None
        self._explain = explain
        self._lock = threading.Lock()
        self.fence = fence

    def done(self) -> bool:
        """Whether the results are there. Raises the call's failure."""
        try:
            return self.fence.query()
        except IreeError as error:
            raise self._explain(error) from None

    def result(self, timeout: float | None = None) -> Any:
        """Wait and give the array or tuple. Raises the call's failure, or VmError 32 after ``timeout`` s."""
        try:
            self.fence.wait(timeout)
        except HalError as error:
            if error.number == TIMEOUT:
                raise VmError(32, f"after {timeout} s") from None
            raise self._explain(error) from None
        except IreeError as error:
            raise self._explain(error) from None
        with self._lock:
            if self._finish is not None:
                self._results, self._finish = self._finish(), None
            return self._results


class Binding:
    """One function of one load: conversion, the general path, and explanations of failures."""

    def __init__(
        self,
        module: BytecodeModule,
        spec: FunctionSpec,
        dims: Mapping[str, Dim],
        debug: Callable[[], DebugInfo],
    ) -> None:
        self.module = module
        self.spec = spec
        self.dims = dims
        self._debug = debug
        self.inputs = tuple(Input(spec, i) for i in range(len(spec.inputs)))
        self.input_names = tuple(t.name for t in spec.inputs)
        self.outputs = {t.name: (i, element_type(t.dtype)) for i, t in enumerate(spec.outputs)}
        self.signature = FunctionSignature(spec, dims)
        self._check_export(spec.calls, len(spec.inputs) + len(spec.outputs))
        self.has_async = spec.calls + ASYNC_SUFFIX in module.exports
        if self.has_async:
            self._check_export(spec.calls + ASYNC_SUFFIX, len(spec.inputs) + len(spec.outputs) + 2)

    def _check_export(self, name: str, n_arguments: int) -> None:
        signature = self.module.signatures.get(name)
        wanted = (("ref",) * n_arguments, ("ref",) * len(self.spec.outputs))
        if signature is None or (signature.arguments, signature.results) != wanted:
            raise VmError(
                56,
                f"function '{self.spec.name}' and the bytecode's export @{name} disagree",
                cause=f"the export is {signature or 'missing'}",
                hint="compile the model again",
            )

    # the general path

    def call(self, values: Sequence[Any], donate: Any, out: Any) -> Any:
        """Call with anything that is allowed. Raises VmError 14, 20-30."""
        arguments, storages, copies = self._prepare(values, donate, out)
        try:
            results = self._run(self.spec.calls, (*arguments, *storages))
        except Exception as error:
            raise self.explain(error, arguments) from error.__cause__
        return self._finish(results, arguments, storages, copies)

    def call_async(self, values: Sequence[Any], wait: Any, signal: Any, donate: Any, out: Any) -> Pending:
        """Begin a call; its device work starts when ``wait`` is reached and reaches ``signal``."""
        if wait is not None and not isinstance(wait, Fence):
            wait = Fence(wait)
        fence = Fence.create() if signal is None else signal
        arguments, storages, copies = self._prepare(values, donate, out)

        def explain(error: BaseException) -> BaseException:
            return self.explain(error, arguments)

        export = self.spec.calls + (ASYNC_SUFFIX if self.has_async else "")
        try:
            if self.module.needs_lock(export):
                with self.module.lock.ordered(wait, fence) as after:
                    results = self._submit(export, (*arguments, *storages), after, fence)
            else:
                results = self._submit(export, (*arguments, *storages), wait, fence)
        except Exception as error:
            explained = self.explain(error, arguments)
            fence.fail(explained)
            raise explained from error.__cause__
        return Pending(lambda: self._finish(results, arguments, storages, copies), fence, explain)

    def _submit(self, export: str, arguments: tuple[Any, ...], wait: Fence | None, signal: Fence) -> Any:
        function = self.module.raw(export)
        if self.has_async:
            return function(*arguments, wait, signal)
        if wait is not None:
            wait.wait()
        results = function(*arguments)
        signal.signal()
        return results

    def _run(self, export: str, arguments: Sequence[Any]) -> Any:
        function = self.module.raw(export)
        if self.module.needs_lock(export):
            with self.module.lock:
                return function(*arguments)
        return function(*arguments)

    def _prepare(
        self, values: Sequence[Any], donate: Any, out: Any
    ) -> tuple[list[Any], list[Any], dict[int, Array]]:
        """Converted inputs, storage per output, and where results must be copied to afterwards."""
        if self.module.closed:
            raise VmError(14, f"'{self.module.name}'", hint="load it again")
        if len(values) != len(self.inputs):
            names = ", ".join(self.input_names) or "none"
            raise VmError(
                20,
                f"{self.spec.name} takes {len(self.inputs)} ({names}), got {len(values)}",
                hint=str(self.signature),
            )
        arguments = [convert(value) for convert, value in zip(self.inputs, values, strict=True)]
        storages: list[Any] = [None] * len(self.spec.outputs)
        copies: dict[int, Array] = {}
        self._donated(arguments, values, self._donate_indices(donate), storages)
        for index, element, target in self._targets(out):
            usable = (
                target.flags.c_contiguous
                and target.flags.aligned
                and not any(isinstance(a, np.ndarray) and np.may_share_memory(a, target) for a in arguments)
                and not any(s is not None and np.may_share_memory(s, target) for s in storages)
            )
            if usable and element.bits >= 8:
                storages[index] = target
            else:
                storages[index], copies[index] = None, target
        return arguments, storages, copies

    def _donate_indices(self, donate: Any) -> set[int]:
        names = self.input_names
        found = set()
        for item in (donate,) if isinstance(donate, str | int) else donate:
            if isinstance(item, str) and item in names:
                found.add(names.index(item))
            elif isinstance(item, int) and 0 <= item < len(names):
                found.add(item)
            else:
                raise VmError(26, f"no input {item!r}", hint="name inputs: " + ", ".join(names))
        return found

    def _donated(
        self, arguments: list[Any], values: Sequence[Any], donated: set[int], storages: list[Any]
    ) -> None:
        """A donated input's memory becomes that of the output tied to it, where it was passed in place."""
        for index, output in enumerate(self.spec.outputs):
            if output.tied not in donated:
                continue
            array = arguments[output.tied]
            tied = self.spec.inputs[output.tied]
            same = (tied.dtype, tied.shape) == (output.dtype, output.shape)
            if same and array is values[output.tied] and array.flags.writeable:
                storages[index] = array

    def _targets(self, out: Any) -> list[tuple[int, ElementType, Array]]:
        """``out=`` as (output index, element type, array)."""
        if out is None:
            return []
        if not isinstance(out, Mapping):
            raise VmError(25, f"it is {type(out).__name__}", hint="pass out={name: array}")
        found = []
        for name, array in out.items():
            if name not in self.outputs:
                raise VmError(25, f"no output '{name}'", hint="name outputs: " + ", ".join(self.outputs))
            index, element = self.outputs[name]
            if not isinstance(array, np.ndarray) or array.dtype != element.dtype or not array.flags.writeable:
                raise VmError(25, f"'{name}' must be a writable numpy array of {element.name}")
            found.append((index, element, array))
        return found

    def _many(self, results: Any) -> tuple[Any, ...]:
        count = len(self.spec.outputs)
        return () if not count else (results,) if count == 1 else results

    @staticmethod
    def _one(results: tuple[Any, ...]) -> Any:
        return results[0] if len(results) == 1 else results

    @staticmethod
    def _to_numpy(result: Any) -> Any:
        return result.to_numpy() if isinstance(result, BufferView) else result

    def _finish(
        self, results: Any, arguments: Sequence[Any], storages: Sequence[Any], copies: Mapping[int, Array]
    ) -> Any:
        finished = []
        for index, result in enumerate(self._many(results)):
            if result is None:
                raise VmError(8, f"output '{self.spec.outputs[index].name}' of {self.spec.name} is null")
            value = self._to_numpy(result)
            if index in copies:
                target = copies[index]
                if target.shape != value.shape:
                    name = self.spec.outputs[index].name
                    raise VmError(25, f"'{name}' is {target.shape}, the result is {value.shape}")
                target[...] = value
                value = target
            elif value is not storages[index]:
                value = own(value, arguments)
            finished.append(value)
        return self._one(tuple(finished))

    # failures

    def explain(self, error: BaseException, arguments: Sequence[Any]) -> BaseException:
        """The error to raise for ``error``: coded, in terms of the model."""
        if isinstance(error, KernelError):
            info = self._debug().dispatches.get(error.export_name)
            source = info.source(error.assert_index) if info else None
            message = (
                info.asserts[error.assert_index].message
                if info and 0 <= error.assert_index < len(info.asserts)
                else None
            )
            cause, hint = KERNEL_ADVICE.get(error.kind, (error.cause, error.hint))
            return VmError(
                30,
                error.detail,
                source=source or error.source,
                cause=message or cause,
                hint=error.hint or hint,
            )
        if isinstance(error, VmError) and error.number in (8, 9, 10, 22, 23, 27):
            try:
                check_inputs(self.spec, self.dims, arguments)
            except VmError as better:
                return better
        if isinstance(error, IreeError):
            return error
        try:
            translate_limit(error)
        except VmError as coded:
            return coded


def own(result: Any, arguments: Sequence[Any]) -> Any:
    """A result that nothing else refers to: copied if it is an input or a view of something."""
    if isinstance(result, np.ndarray) and (result.base is not None or any(result is a for a in arguments)):
        return result.copy()
    return result


def fresh_results(module: BytecodeModule, function: Function) -> bool:
    """Whether all results of a straight-line function are memory it allocated for them."""
    if len(function.blocks) != 1:
        return False
    made: dict[Register, bool] = {}
    for instruction in function.blocks[0].instructions:
        op, operands = instruction
        if op.name == "return":
            return all(made.get(r, False) for r in operands[0])
        fresh = False
        if op.name in ("call", "call.variadic"):
            callee = operands[1]
            if callee & IMPORT_BIT:
                fresh = module.program.callee_name(callee) == "hal.result.alloca"
            else:
                fresh = fresh_results(module, module.program.functions[callee])
        for register in written(instruction):
            made[register] = fresh
    return False


def generate(binding: Binding) -> Callable[..., Any]:
    """The function users call: ``f(*arrays, donate=(), out=None)``."""
    module, spec = binding.module, binding.spec
    unit = module.unit
    index = module.exports[spec.calls]
    function = module.program.functions[index]
    params = function.blocks[0].params
    arguments = [f"a{i}" for i in range(len(spec.inputs))]
    slow, explain = unit.bind(binding.call), unit.bind(binding.explain)
    name = spec.name
    lines = [
        f"def {name}(*_args, donate=(), out=None):",
        f"    if len(_args) != {len(arguments)} or donate != () or out is not None or _closed:",
        f"        return {slow}(_args, donate, out)",
    ]
    if arguments:
        lines.append(f"    {', '.join(arguments)}, = _args")
    ndarray = unit.bind(np.ndarray)
    for argument, convert in zip(arguments, binding.inputs, strict=True):
        converted = f"{argument} = {unit.bind(convert)}({argument})"
        if not convert.direct:
            lines.append(f"    {converted}")
            continue
        lines.append(
            f"    if type({argument}) is not {ndarray} or {argument}.dtype is not {unit.bind(convert.dtype)}"
            f" or {argument}.flags.num & {_IN_PLACE} != {_IN_PLACE}: {converted}"
        )
    lines.append("    try:")
    level = 2
    if index in module.exclusive:
        lines.append(f"        with {unit.bind(module.lock)}:")
        level = 3
    pad = "    " * level
    emitter = FunctionEmitter(unit, function)
    inputs = f"({''.join(a + ', ' for a in arguments)})"
    if any(i.element.bits < 8 for i in binding.inputs) or not fresh_results(module, function):
        nones = ["None"] * len(spec.outputs)
        call = f"_fn{index}({', '.join([*arguments, *nones])})"
        lines.append(
            f"{pad}return {unit.bind(binding._finish)}({call}, {inputs}, {tuple(None for _ in nones)}, {{}})"
        )
    else:
        for param, argument in zip(params, arguments, strict=False):
            emitter.names[param] = argument
        for param in params[len(arguments) :]:
            emitter.known[param] = "None"
        emitter.nothing = "()"
        body = emitter.body(level)
        lines += body
    lines += [
        "    except Exception as _error:",
        f"        raise {explain}(_error, {inputs}) from _error.__cause__",
    ]
    unit.lines[:] = lines
    unit.namespace["_closed"] = False
    generated: Any = unit.compile(f"<vm function {module.name}.{name}>")[name]
    unit.lines.clear()
    generated.signature = binding.signature
    generated.__doc__ = str(binding.signature)
    generated.__module__ = f"iree_vm.{module.name}"
    generated.__qualname__ = name
    function_object: Callable[..., Any] = generated
    return function_object


def generate_async(binding: Binding) -> Callable[..., Pending]:
    """The asynchronous twin: ``f_async(*arrays, wait=None, signal=None, donate=(), out=None)``."""

    def call(
        *arrays: Any, wait: Any = None, signal: Any = None, donate: Any = (), out: Any = None
    ) -> Pending:
        return binding.call_async(arrays, wait, signal, donate, out)

    call.__name__ = call.__qualname__ = f"{binding.spec.name}_async"
    call.__doc__ = f"{binding.signature}, asynchronously: gives a Pending"
    call.signature = binding.signature  # type: ignore[attr-defined]
    return call


__all__ = ["Binding", "FunctionSignature", "Pending", "generate", "generate_async", "own"]
