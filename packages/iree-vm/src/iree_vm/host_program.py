"""The host side of a compiled model: from recordings and function specifications to bytecode.

What every artefact's program has in common is written here once: globals that hold the device, executables,
constant segments and command buffers, filled by ``__init``; and for each function the checks of its inputs,
its results' memory, and the exports ``f`` and ``f$async``.

::

    program = HostProgram("model", dims={"batch": Dim(min=1)})
    commands = program.recording("main", recording.serialize(), executables=(0,))
    weights = program.constant(0)
    f = program.function(FunctionSpec("main", inputs, outputs))
    y = f.result(0)
    f.execute(commands, params=[f.dim("batch")], bindings=[f.inputs[0], y, f.load(weights)])
    f.return_(y)
    data = program.serialize()

An export ``f`` takes the inputs' buffer views, then one storage per output (a view to write to, or null);
``f$async`` takes a wait and a signal fence after them. Both give the outputs' views. The body is written
once, in ``f$async``; ``f`` calls it with null fences, which means: synchronously.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from iree_vm.artifact.manifest import Dim, FunctionSpec
from iree_vm.bytecode.builder import FunctionBuilder, ModuleBuilder
from iree_vm.bytecode.program import ASYNC_SUFFIX, INITIALIZER, Program
from iree_vm.bytecode.types import Register, Signature
from iree_vm.element_codes import code
from iree_vm.errors import VmError

Size = Register | int | str
"""A dimension of a result: a register, a number, or the name of a dimension of the inputs."""


class HostProgram:
    """Builds the module; ``module`` and ``init`` (the initializer's builder) are open for anything else."""

    def __init__(self, name: str, *, version: int = 0, dims: Mapping[str, Dim] | None = None) -> None:
        self.module = ModuleBuilder(name, version)
        self.dims = dict(dims or {})
        self.init = self.module.function(INITIALIZER, "()")
        self._made: dict[tuple[str, object], str] = {}
        self._initialized: dict[str, Register] = {}
        self._functions: list[HostFunction] = []

    def _global(self, kind: str, key: object, value: Register) -> str:
        name = f"{kind}{key}"
        self.module.global_(name, "ref")
        self.init.store(name, value)
        self._made[kind, key] = name
        self._initialized[name] = value
        return name

    def device(self, index: int = 0) -> str:
        """The global that holds a device."""
        return self._made.get(("device", index)) or self._global(
            "device", index, self.init.call("hal.device.get", self.init.const_i64(index))
        )

    def executable(self, index: int, device: int = 0) -> str:
        """The global that holds executable ``index`` of the variant, loaded onto the device."""
        known = self._made.get(("executable", index))
        if known:
            return known
        target = self._initialized[self.device(device)]
        value = self.init.call("hal.executable.load", target, self.init.const_i64(index))
        return self._global("executable", index, value)

    def constant(self, index: int, device: int = 0) -> str:
        """The global that holds constant segment ``index`` as a buffer."""
        known = self._made.get(("constant", index))
        if known:
            return known
        target = self._initialized[self.device(device)]
        value = self.init.call("hal.constants.map", target, self.init.const_i64(index))
        return self._global("constant", index, value)

    def recording(self, name: str, data: bytes, executables: Sequence[int] = (), device: int = 0) -> str:
        """The global that holds the command buffer of a serialized recording.

        ``executables`` are indices into the variant's executables, in the order the recording numbers them.
        """
        self.module.rodata(f"recording.{name}", data)
        target = self._initialized[self.device(device)]
        loaded = [self._initialized[self.executable(index, device)] for index in executables]
        value = self.init.call(
            "hal.command_buffer.load", target, self.init.rodata(f"recording.{name}"), loaded
        )
        return self._global("commands.", name, value)

    def state(self, name: str, nbytes: int, device: int = 0) -> str:
        """A mutable global that holds a zeroed buffer of ``nbytes``: state that lives between calls."""
        target = self._initialized[self.device(device)]
        self.module.global_(f"state.{name}", "ref", mutable=True)
        null, size, zero = self.init.null(), self.init.const_i64(nbytes), self.init.const_i64(0)
        buffer = self.init.call("hal.device.queue.alloca", target, null, null, size)
        one = self.init.const_i32(1)
        self.init.call("hal.device.queue.fill", target, null, null, buffer, zero, size, zero, one)
        self.init.store(f"state.{name}", buffer)
        return f"state.{name}"

    def function(self, spec: FunctionSpec) -> HostFunction:
        """Begin an exported function; its input checks are emitted, the body is up to the caller."""
        function = HostFunction(self, spec)
        self._functions.append(function)
        return function

    def text(self, value: str) -> str:
        """A rodata entry with this text (shared between equal texts)."""
        known = self._made.get(("text", value))
        if known is None:
            known = self._made["text", value] = f"text.{sum(k == 'text' for k, _ in self._made)}"
            self.module.rodata(known, value.encode(), 1)
        return known

    def finish(self) -> Program:
        """The verified program. Raises VmError 3 where a body breaks a rule."""
        self.device()
        self.init.return_()
        return self.module.finish()

    def serialize(self) -> bytes:
        """The program's bytes, for ``ArtifactWriter.set_bytecode``."""
        from iree_vm.bytecode import encoding

        return encoding.encode(self.finish())


class HostFunction:
    """One function's body. ``builder`` is its ``FunctionBuilder``, for control flow and arithmetic.

    ``views`` are the inputs as buffer views, ``inputs`` the buffers behind them, ``storages`` what the caller
    gave for the outputs, ``wait`` and ``signal`` the fences (null when the call is synchronous).
    """

    def __init__(self, program: HostProgram, spec: FunctionSpec) -> None:
        self.program = program
        self.spec = spec
        n_inputs, n_outputs = len(spec.inputs), len(spec.outputs)
        name = spec.calls or spec.name
        body = Signature(("ref",) * (n_inputs + n_outputs + 2), ("ref",) * n_outputs)
        self.builder: FunctionBuilder = program.module.function(name + ASYNC_SUFFIX, body)
        arguments = self.builder.arguments
        self.views = arguments[:n_inputs]
        self.storages = arguments[n_inputs : n_inputs + n_outputs]
        self.wait, self.signal = arguments[-2:]
        self._dims: dict[str, Register] = {}
        self._device = program.device()
        program.module.export(name + ASYNC_SUFFIX)
        self._emit_synchronous(name, n_inputs + n_outputs, n_outputs)
        self._check_inputs()
        self.inputs = tuple(self.builder.call("hal.buffer_view.buffer", view) for view in self.views)

    def _emit_synchronous(self, name: str, n_arguments: int, n_results: int) -> None:
        wrapper = self.program.module.function(name, Signature(("ref",) * n_arguments, ("ref",) * n_results))
        null = wrapper.null()
        results = wrapper.call(name + ASYNC_SUFFIX, *wrapper.arguments, null, null)
        values = () if results is None else (results,) if isinstance(results, Register) else results
        wrapper.return_(*values)
        self.program.module.export(name)

    def _check_inputs(self) -> None:
        f = self.builder
        for spec, view in zip(self.spec.inputs, self.views, strict=True):
            sizes = [
                f.const_i64(d) if isinstance(d, int) else self._dims.get(d, None) or f.const_i64(-1)
                for d in spec.shape
            ]
            message = f.rodata(self.program.text(spec.name))
            f.call("hal.buffer_view.assert", view, message, f.const_i32(code(spec.dtype)), sizes)
            for axis, dim in enumerate(spec.shape):
                if isinstance(dim, str) and dim not in self._dims:
                    self._dims[dim] = f.call("hal.buffer_view.dim", view, f.const_i64(axis))
                    self._check_dim(dim)
                elif isinstance(dim, str) and dim in spec.shape[:axis]:
                    again = f.call("hal.buffer_view.dim", view, f.const_i64(axis))
                    self._check_equal(dim, again)

    def _check_dim(self, name: str) -> None:
        f = self.builder
        limits = self.program.dims.get(name, Dim())
        if limits != Dim():
            high = -1 if limits.max is None else limits.max
            numbers = [f.const_i64(v) for v in (limits.min, high, limits.divisor)]
            f.call("hal.dim.assert", f.rodata(self.program.text(name)), self._dims[name], *numbers)

    def _check_equal(self, name: str, again: Register) -> None:
        f = self.builder
        differs = f.op("cmp.ne.i64", self._dims[name], again)
        f.cond_fail(differs, f"dimension '{name}' has two sizes in one input")

    def dim(self, name: str) -> Register:
        """The size of a named dimension of the inputs, as i64. Raises VmError 16 for an unknown one."""
        try:
            return self._dims[name]
        except KeyError:
            raise VmError(16, f"dimension '{name}' is not of an input of @{self.spec.name}") from None

    def size(self, value: Size) -> Register:
        """A dimension as an i64 register."""
        if isinstance(value, Register):
            return value
        return self.dim(value) if isinstance(value, str) else self.builder.const_i64(value)

    def load(self, name: str) -> Register:
        """The value of a global (device, executable, constant, commands, state)."""
        return self.builder.load(name)

    def device(self) -> Register:
        return self.load(self._device)

    def result(self, index: int, shape: Sequence[Size] | None = None) -> Register:
        """Memory for output ``index``: the view to return, which can be bound as it is.

        ``shape`` is needed when the output has dimensions that are none of the inputs'.
        """
        spec = self.spec.outputs[index]
        f = self.builder
        sizes = [self.size(d) for d in (spec.shape if shape is None else shape)]
        message = f.rodata(self.program.text(spec.name))
        element = f.const_i32(code(spec.dtype))
        result = f.call("hal.result.alloca", self.device(), self.storages[index], message, element, sizes)
        assert isinstance(result, Register)
        return result

    def execute(
        self,
        commands: str,
        *,
        bindings: Sequence[Register],
        params: Sequence[Size] = (),
        wait: Register | None = None,
        signal: Register | None = None,
    ) -> None:
        """Run a command buffer global; ``bindings`` are rows 1.. of its table, ``params`` its inputs.

        The fences default to the function's own: right when this is the only device work. Work in several
        steps takes ``step()`` fences in between.
        """
        bound = [self.builder.call("hal.buffer_view.buffer", b) for b in bindings]
        self.builder.call(
            "hal.device.queue.execute",
            self.device(),
            self.wait if wait is None else wait,
            self.signal if signal is None else signal,
            self.load(commands),
            [self.size(p) for p in params],
            bound,
        )

    def step(self) -> Register:
        """A fence between two steps: signalled by one, waited for by the next; null in a synchronous call."""
        fence = self.builder.call("hal.fence.chain", self.signal)
        assert isinstance(fence, Register)
        return fence

    def await_(self, fence: Register) -> None:
        """Stop until a fence is reached, for example before a scalar is read back."""
        self.builder.call("hal.fence.await", fence)

    def done(self, wait: Register | None = None) -> None:
        """Signal the function's fence without device work (for functions that run none)."""
        waited = self.wait if wait is None else wait
        self.builder.call("hal.device.queue.barrier", self.device(), waited, self.signal)

    def return_(self, *views: Register) -> None:
        """Leave with the outputs' views."""
        self.builder.return_(*views)


__all__ = ["ASYNC_SUFFIX", "HostFunction", "HostProgram", "Size"]
