"""Recordings: the immutable form of a command buffer that compilers write and devices load.

A recording has a **binding table** of ``n_bindings`` slots (slot 0 is the arena), a **parameter block** of
int64 slots (the first ``n_inputs`` come from the caller, the others from constants and a straight-line
integer program) and **commands** whose counts, constants, offsets and lengths are parameter slots. So one
recording serves every shape. Commands between two barriers are independent and form one *wave*.

:class:`RecordingBuilder` makes one; :meth:`Recording.serialize` and :meth:`Recording.deserialize` move it
through the artefact. Everything is range-checked on the way in, so later stages index without looking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from iree_base.records import field, record
from iree_hal import param_ops
from iree_hal.errors import BAD_RECORDING, HalError

ARENA_SLOT = 0
ARENA_BYTES = "arena_bytes"
"""The exported parameter that says how many bytes the arena of slot 0 needs."""


@record(frozen=True, slots=True)
class BindingRef:
    """A range of a binding: table slot, and the parameter slots of its byte offset and byte length."""

    slot: int
    offset: int
    length: int


@record(frozen=True, slots=True)
class Definition:
    """How a parameter slot gets its value: ``op`` over two earlier slots, or (``const``) ``value``."""

    op: str
    a: int = 0
    b: int = 0
    value: int = 0


@record(frozen=True, slots=True)
class Dispatch:
    """Run an export over a grid; ``workgroups`` and ``constants`` are parameter slots."""

    executable: int
    export: int
    workgroups: tuple[int, int, int]
    constants: tuple[tuple[int, str], ...]
    bindings: tuple[BindingRef, ...]


@record(frozen=True, slots=True)
class Fill:
    """Repeat ``pattern`` (1, 2 or 4 bytes) over ``target``."""

    target: BindingRef
    pattern: bytes


@record(frozen=True, slots=True)
class Copy:
    """Copy ``source`` to ``target``: equal lengths, no overlap."""

    source: BindingRef
    target: BindingRef


@record(frozen=True, slots=True)
class HostCall:
    """Call host function ``index`` with the values of parameter slots ``arguments``; a wave of its own."""

    index: int
    arguments: tuple[int, ...]


@record(frozen=True, slots=True)
class Barrier:
    """Everything before is complete and visible to everything after."""


Command = Dispatch | Fill | Copy | HostCall | Barrier


@record(frozen=True)
class Recording:
    """An immutable, validated recording; shareable between threads, devices and command buffers.

    ``definitions[i]`` defines parameter slot ``n_inputs + i``; ``outputs`` names the slots a host may ask
    for before running (``arena_bytes``, result sizes and dims).
    """

    n_bindings: int
    n_inputs: int
    definitions: tuple[Definition, ...]
    commands: tuple[Command, ...]
    outputs: dict[str, int] = field(default_factory=dict)

    @property
    def n_params(self) -> int:
        return self.n_inputs + len(self.definitions)

    @property
    def n_executables(self) -> int:
        """One more than the largest executable a dispatch names."""
        return max((c.executable + 1 for c in self.commands if isinstance(c, Dispatch)), default=0)

    @property
    def n_host_calls(self) -> int:
        """One more than the largest host function a host call names."""
        return max((c.index + 1 for c in self.commands if isinstance(c, HostCall)), default=0)

    def waves(self) -> list[list[int]]:
        """Indices of the commands between barriers, empty ones left out; a host call is alone in its wave."""
        result: list[list[int]] = [[]]
        for index, command in enumerate(self.commands):
            if isinstance(command, Barrier):
                result.append([])
            elif isinstance(command, HostCall):
                result += [[index], []]
            else:
                result[-1].append(index)
        return [wave for wave in result if wave]

    def evaluate(self, inputs: Sequence[int]) -> list[int]:
        """All parameter values for ``inputs``; the meaning the native program is tested against."""
        if len(inputs) != self.n_inputs:
            raise HalError(BAD_RECORDING, f"{len(inputs)} parameters given, {self.n_inputs} expected")
        values = [param_ops.wrap(int(v)) for v in inputs]
        for d in self.definitions:
            values.append(d.value if d.op == "const" else param_ops.evaluate(d.op, values[d.a], values[d.b]))
        return values

    def serialize(self) -> bytes:
        """The binary form; equal recordings give equal bytes."""
        from iree_hal.recording_format import serialize

        return serialize(self)

    @staticmethod
    def deserialize(buffer: bytes | bytearray | memoryview) -> Recording:
        """The recording in ``buffer``. Raises HalError BAD_RECORDING for what no builder produces."""
        from iree_hal.recording_format import deserialize

        return deserialize(buffer)

    def validate(self) -> None:
        """Check every slot, index and count. Raises HalError BAD_RECORDING naming the first wrong one."""
        _Validator(self).run()


class _Validator:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.where = ""

    def fail(self, text: str) -> None:
        raise HalError(BAD_RECORDING, f"{self.where}{text}")

    def param(self, slot: int, limit: int, what: str) -> None:
        if not 0 <= slot < limit:
            self.fail(f"{what} names parameter {slot} of {limit}")

    def ref(self, ref: BindingRef, what: str) -> None:
        if not 0 <= ref.slot < self.recording.n_bindings:
            self.fail(f"{what} names binding slot {ref.slot} of {self.recording.n_bindings}")
        self.param(ref.offset, self.recording.n_params, f"{what} offset")
        self.param(ref.length, self.recording.n_params, f"{what} length")

    def run(self) -> None:
        recording = self.recording
        if recording.n_bindings < 1 or recording.n_inputs < 0:
            self.fail(f"{recording.n_bindings} bindings and {recording.n_inputs} inputs")
        for index, d in enumerate(recording.definitions):
            self.where = f"definition {index}: "
            if d.op == "const":
                if not param_ops.INT64_MIN <= d.value < 1 << 63:
                    self.fail(f"constant {d.value} does not fit 64 bits")
            elif d.op not in param_ops.PARAM_OPS:
                self.fail(f"unknown operation '{d.op}'")
            else:
                self.param(d.a, recording.n_inputs + index, "operand a")
                self.param(d.b, recording.n_inputs + index, "operand b")
        for index, command in enumerate(recording.commands):
            self.where = f"command {index}: "
            self.command(command)
        self.where = ""
        for name, slot in recording.outputs.items():
            self.param(slot, recording.n_params, f"output '{name}'")

    def command(self, command: Command) -> None:
        limit = self.recording.n_params
        if isinstance(command, Dispatch):
            if not 0 <= command.executable < 1 << 16 or not 0 <= command.export < 1 << 16:
                self.fail(f"executable {command.executable}, export {command.export}")
            for axis, slot in zip("xyz", command.workgroups, strict=True):
                self.param(slot, limit, f"workgroup count {axis}")
            for number, (slot, half) in enumerate(command.constants):
                self.param(slot, limit, f"constant {number}")
                if half not in ("lo", "hi"):
                    self.fail(f"constant {number} takes the half '{half}'")
            for number, ref in enumerate(command.bindings):
                self.ref(ref, f"binding {number}")
        elif isinstance(command, Fill):
            self.ref(command.target, "target")
            if len(command.pattern) not in (1, 2, 4):
                self.fail(f"fill pattern of {len(command.pattern)} bytes; 1, 2 or 4 are allowed")
        elif isinstance(command, Copy):
            self.ref(command.source, "source")
            self.ref(command.target, "target")
        elif isinstance(command, HostCall):
            if not 0 <= command.index < 1 << 16:
                self.fail(f"host function {command.index}")
            for number, slot in enumerate(command.arguments):
                self.param(slot, limit, f"argument {number}")


class RecordingBuilder:
    """Writes a recording command by command. Not thread-safe; :meth:`finish` may be called once.

    ``n_bindings`` counts the table slots including slot 0, the arena. Parameter slots ``0..n_inputs-1``
    are filled by the caller (dims, scalars; floats as their bit pattern); others come from :meth:`const`,
    :meth:`op` and :meth:`align`.
    """

    def __init__(self, n_bindings: int, n_inputs: int) -> None:
        self._n_bindings = n_bindings
        self._n_inputs = n_inputs
        self._definitions: list[Definition] = []
        self._known: dict[Definition, int] = {}
        self._commands: list[Command] = []
        self._outputs: dict[str, int] = {}

    def _define(self, definition: Definition) -> int:
        slot = self._known.get(definition)
        if slot is None:
            slot = self._n_inputs + len(self._definitions)
            self._definitions.append(definition)
            self._known[definition] = slot
        return slot

    def const(self, v: int) -> int:
        """The slot of constant ``v`` (signed or unsigned 64 bits); equal constants share one."""
        return self._define(Definition("const", value=param_ops.wrap(v)))

    def _constant(self, slot: int) -> int | None:
        if slot < self._n_inputs or slot - self._n_inputs >= len(self._definitions):
            return None
        definition = self._definitions[slot - self._n_inputs]
        return definition.value if definition.op == "const" else None

    def op(self, kind: str, a: int, b: int) -> int:
        """The slot of ``kind(a, b)``: add sub mul floordiv ceildiv mod min max eq lt."""
        if kind not in param_ops.PARAM_OPS:
            raise HalError(
                BAD_RECORDING, f"operation '{kind}'", hint="one of " + " ".join(param_ops.PARAM_OPS)
            )
        left, right = self._constant(a), self._constant(b)
        if left is not None and right is not None:
            return self.const(param_ops.evaluate(kind, left, right))
        return self._define(Definition(kind, a, b))

    def align(self, a: int, to: int) -> int:
        """The slot of parameter ``a`` rounded up to a multiple of the number ``to``."""
        step = self.const(to)
        return self.op("mul", self.op("ceildiv", a, step), step)

    def dispatch(
        self,
        executable: int,
        export: int,
        workgroups: tuple[int, int, int],
        constants: Iterable[tuple[int, Literal["lo", "hi"] | str]],
        bindings: Iterable[BindingRef],
    ) -> None:
        """Record a dispatch; a count of 0 in any dimension skips it at run time."""
        self._commands.append(
            Dispatch(executable, export, workgroups, tuple((s, h) for s, h in constants), tuple(bindings))
        )

    def fill(self, target: BindingRef, pattern: bytes) -> None:
        """Record a fill of ``target`` with a repeated pattern of 1, 2 or 4 bytes."""
        self._commands.append(Fill(target, bytes(pattern)))

    def copy(self, source: BindingRef, target: BindingRef) -> None:
        """Record a copy; lengths must be equal and ranges disjoint when it runs."""
        self._commands.append(Copy(source, target))

    def host_call(self, index: int, arguments: Iterable[int] = ()) -> None:
        """Record a call of host function ``index``; it is alone in its wave."""
        self._commands.append(HostCall(index, tuple(arguments)))

    def barrier(self) -> None:
        """End the wave; a second barrier in a row is dropped."""
        if self._commands and not isinstance(self._commands[-1], Barrier):
            self._commands.append(Barrier())

    def export_param(self, name: str, slot: int) -> None:
        """Let the host ask for ``slot`` by ``name`` before it runs the recording."""
        if self._outputs.get(name, slot) != slot:
            raise HalError(BAD_RECORDING, f"output '{name}' is defined twice")
        self._outputs[name] = slot

    def finish(self) -> Recording:
        """The validated recording. Raises HalError BAD_RECORDING."""
        recording = Recording(
            self._n_bindings,
            self._n_inputs,
            tuple(self._definitions),
            tuple(self._commands),
            dict(self._outputs),
        )
        recording.validate()
        return recording
