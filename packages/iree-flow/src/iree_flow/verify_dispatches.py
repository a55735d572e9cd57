"""Every distinct dispatch on fresh random inputs: its linalg form, its kernel IR and its native code agree.

``recorded_calls`` runs a module of phase ``dispatch-creation`` in the interpreter and notes what each
executable is called with, so that extents fit together; ``verify_call`` draws other numbers of the same
kind and runs

- the dispatch function in the interpreter (what the dispatch means),
- kernel IR in the interpreter, first as the strategy made it, then legalized, for the first, the last and
  some seeded workgroups between them, where the target can show it (``Target.kernel_form``),
- the compiled object on the target's device, whole, with redzones and shuffled tiles.

Sampled workgroups are compared on the bytes that they wrote. Interpreting kernel IR takes seconds a dispatch,
so it can be left to dispatches whose native code differs, where it tells on which side the fault is.
``saved_dispatch.py`` writes a check as a test.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

import iree_hal
from iree_base.element_types import element_type
from iree_base.errors import IreeError
from iree_base.records import field, record
from iree_codegen.dispatch import READ, READWRITE, Dispatch
from iree_codegen.interpret_kernel import KernelInterpreter, sample
from iree_codegen.legalize.kernel import legalize
from iree_core_ir.constant_transforms import inverse_function, transform_function
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dispatch_function import argument_attributes
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import FloatType, IndexType, TensorType
from iree_core_ir.target import DispatchRequest, ExecutableObject
from iree_core_ir.text.printer import print_op
from iree_flow.chosen_description import executable_format
from iree_flow.dialects import flow
from iree_flow.executables import sources
from iree_flow.lone_dispatch import add_workspace
from iree_flow.session import Session

Array = np.ndarray[Any, Any]

TOLERANCES = {"f64": 1e-12, "f32": 2e-5, "f16": 2e-2, "bf16": 1e-1}
"""Largest ``|a - b|`` by element type, relative to the element or to how much the whole result varies.

Forms differ in the order of their sums and in their functions (a few units in the last place).
"""

LOOSER = {"high": 10.0, "medium": 1000.0}
"""By the ``matmul_precision`` of the target: how much more its f32 kernels may differ from f32's meaning."""

Kernels = Literal["always", "differing"]
"""Whose kernel IR is interpreted: of every dispatch, or of those whose native code differs."""

OPERATIONS = 200_000
"""Ops of one workgroup that are interpreted unless all are asked for: a second or two."""


@record
class DispatchCall:
    """A dispatch and the arguments of one call of its function: logical arrays and scalars."""

    module: Op
    function: FuncOp
    arguments: list[Any]
    packed_types: dict[int, TensorType]
    """Argument number -> the type that a constant has in memory, where a target had it packed."""
    sources: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        name: Any = self.function.attributes["sym_name"]
        return str(name.value)


@record
class DispatchCheck:
    """What was compared for one dispatch. ``errors``: (form, form) -> largest error over the tolerance."""

    name: str
    strategy: str = ""
    workgroups: tuple[int, int, int] = (0, 0, 0)
    sampled: int = 0
    """Workgroups run as kernel IR."""
    stopped: bool = False
    """Some of them were stopped on the way; what they had written by then was compared."""
    compared: dict[str, int] = field(default_factory=dict)
    """Form -> elements that were compared with the linalg form's."""
    errors: dict[tuple[str, str], float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    text: str = ""
    arguments: list[Any] = field(default_factory=list)
    packed_types: dict[int, TensorType] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    """The user's nodes that it computes."""
    data: bytes = b""
    """The object that ran."""

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def worst(self) -> float:
        """The largest error over the tolerance of all comparisons."""
        return max(self.errors.values(), default=0.0)


class _Recorder(Interpreter):
    """Notes the first call of every function of an executable."""

    def __init__(self, module: Op, constants: Any) -> None:
        super().__init__(module, constants)
        self.first: dict[Op, list[Any]] = {}

    def invoke(self, function: Any, arguments: Sequence[Any]) -> tuple[Any, ...]:
        if isinstance(function, FuncOp) and function not in self.first:
            self.first[function] = list(arguments)
        return super().invoke(function, arguments)


def recorded_calls(
    module: ModuleOp, session: Session, inputs: Sequence[Array], function: str = "main"
) -> list[DispatchCall]:
    """One call of every executable that ``function`` reaches on ``inputs``, in the order of declaration."""
    recorder = _Recorder(module, session.constants)
    recorder.call(function, *inputs)
    callers = {op.entry_point.root: op for op in module.walk() if isinstance(op, flow.Dispatch)}
    calls = []
    for executable in module.regions[0].block:
        if not isinstance(executable, flow.Executable):
            continue
        body = executable.function
        arguments = recorder.first.get(body)
        if arguments is None:
            continue
        name: Any = executable.attributes["sym_name"]
        caller = callers[name.value]
        packed = {
            i: caller.arguments[i].type
            for i, facts in enumerate(argument_attributes(body))
            if facts.get("iree.packed") is not None
        }
        calls.append(DispatchCall(executable.module, body, arguments, packed, sources(executable.location)))
    return calls


def verify_dispatches(
    module: ModuleOp,
    session: Session,
    inputs: Sequence[Array],
    *,
    function: str = "main",
    seed: int = 0,
    middle: int = 3,
    operations: int | None = OPERATIONS,
    device: Any = None,
    kernels: Kernels = "always",
) -> Iterator[DispatchCheck]:
    """Check every dispatch of ``function`` (a module of phase ``dispatch-creation``), one after the other.

    ``middle`` workgroups between the first and the last are run as kernel IR, each for at most
    ``operations`` ops (None: to its end); ``kernels``: of every dispatch, or of those whose native code
    differs. ``device``: where native code runs, by default a verifying device of the target's driver.
    """
    if device is None:
        device = iree_hal.create_device(session.target.driver, threads=1, verify=True)
    for call in recorded_calls(module, session, inputs, function):
        yield verify_call(
            call, session, device, seed=seed, middle=middle, operations=operations, kernels=kernels
        )


def verify_call(
    call: DispatchCall,
    session: Session,
    device: Any,
    *,
    seed: int = 0,
    middle: int = 3,
    operations: int | None = OPERATIONS,
    kernels: Kernels = "always",
    redraw: bool = True,
) -> DispatchCheck:
    """Run the forms of one dispatch and compare them; without ``redraw`` on the call's own arguments."""
    generator = np.random.default_rng([seed, zlib.crc32(call.name.encode())])
    text = print_op(call.module, locations=True)
    check = DispatchCheck(call.name, text=text, packed_types=call.packed_types, sources=call.sources)
    dispatch = Dispatch(call.function)
    values = _Values(call, dispatch, generator, redraw)
    check.arguments = values.logical
    try:
        expected = values.interpret()
        compiled = session.target.compile_dispatch(
            DispatchRequest(call.name, print_op(call.module, locations=False), session.description, {})
        )
        check.strategy = str(compiled.report.get("strategy", ""))
        check.data = compiled.data
        native = values.run_native(compiled, executable_format(session.target, session.description), device)
        check.workgroups = values.workgroup_count(compiled)
        slack = LOOSER.get(getattr(session.description, "matmul_precision", ""), 1.0)
        _compare(check, "linalg", "native", expected, native, slack)
        kernel_form = getattr(session.target, "kernel_form", None)
        if kernel_form is not None and (kernels == "always" or not check.ok):
            kernel = kernel_form(call.function, session.description)
            ids = sample(check.workgroups, middle, seed)
            for form in ("kernel", "legalized kernel"):
                if form != "kernel":
                    before = print_op(kernel.module)
                    legalize(kernel.module, session.description)
                    if print_op(kernel.module) == before:
                        break
                found = values.run_workgroups(kernel, ids, check, form, operations)
                _compare(check, "linalg", form, expected, found, slack)
                _compare(check, form, "native", native, found)
    except (IreeError, ValueError) as error:
        check.failures.append(f"{call.name}: {type(error).__name__}: {error}")
    return check


class _Values:
    """The arguments of one check, as the interpreter takes them and as they lie in memory."""

    def __init__(
        self, call: DispatchCall, dispatch: Dispatch, generator: np.random.Generator, redraw: bool
    ) -> None:
        self.call = call
        self.dispatch = dispatch
        self.scalars = {s.argument: call.arguments[s.argument] for s in dispatch.scalars}
        self.logical = list(call.arguments)
        """What the interpreter's function gets; destinations that are only written hold garbage."""
        self.memory: dict[int, Array] = {}
        """The same by argument number as it lies in memory, as a pattern to copy from."""
        for binding in dispatch.bindings:
            i = binding.argument
            given = np.asarray(call.arguments[i])
            if binding.access in (READ, READWRITE):
                self.logical[i] = self.memory[i] = fresh(given, generator) if redraw else given
            else:
                self.memory[i] = garbage(given.shape, given.dtype, generator)
            if binding.packed is not None:
                self.memory[i] = self._packed(binding.packed, i)

    def _packed(self, text: str, i: int) -> Array:
        """A constant as the target wants it; unpacking it must give it back.

        A layout that keeps fewer bits must do so from the second time on; everything is compared with what
        it keeps.
        """
        layout = json.loads(text)
        type = self.call.packed_types[i]
        dtype = element_type(str(type.element_type)).dtype

        def packed(logical: Array) -> Array:
            transform = transform_function(layout["kind"])
            return np.ascontiguousarray(transform([logical], layout["parameters"], type.shape, dtype))

        def unpacked(array: Array) -> Array:
            return inverse_function(layout["kind"])(array, layout["parameters"], self.logical[i].shape)

        array = packed(self.logical[i])
        back = unpacked(array)
        if not np.array_equal(back, self.logical[i]):
            if not np.array_equal(unpacked(packed(back)), back):
                raise ValueError(
                    f"layout {layout['kind']} of argument {i} does not unpack to what was packed"
                )
            self.logical[i] = back
        return array

    def copies(self) -> dict[int, Array]:
        return {i: array.copy() for i, array in self.memory.items()}

    def results(self, arrays: Mapping[int, Array]) -> list[Array]:
        return [arrays[binding.argument] for _, binding in self.dispatch.results]

    def interpret(self) -> list[Array]:
        with np.errstate(all="ignore"):
            found = Interpreter(self.call.module).invoke(self.call.function, self.logical)
        return [np.asarray(array) for array in found]

    def workgroup_count(self, compiled: ExecutableObject) -> tuple[int, int, int]:
        from iree_codegen import dims as dim_ops

        numbers = self._dims()
        x, y, z = (
            dim_ops.evaluate(dim_ops.from_list(e), numbers) for e in compiled.exports[0].workgroup_count
        )
        return x, y, z

    def _dims(self) -> dict[int, int]:
        """Number of an index among the scalars -> value."""
        return {
            ordinal: int(self.scalars[s.argument])
            for ordinal, s in enumerate(self.dispatch.scalars)
            if isinstance(s.value.type, IndexType)
        }

    def run_native(self, compiled: ExecutableObject, format: str, device: Any) -> list[Array]:
        """The whole dispatch through a recording of its own on ``device``."""
        export = compiled.exports[0]
        spec = iree_hal.ExecutableSpec(
            format,
            compiled.data,
            (
                iree_hal.ExportSpec(
                    export.name,
                    export.scratch_bytes,
                    export.n_constants,
                    tuple(export.bindings),
                    tuple(export.alignments),
                ),
            ),
            tuple(compiled.features),
            export.name,
        )
        executable = device.load_executable(spec)
        arrays = self.copies()
        builder = iree_hal.RecordingBuilder(1 + len(self.dispatch.bindings), 0)
        zero = builder.const(0)
        workspace = add_workspace(builder, export, self._dims())
        words: list[tuple[int, str]] = []
        for scalar in self.dispatch.scalars:
            bits = _bits(self.scalars[scalar.argument], scalar.value.type)
            halves = ("lo", "hi") if scalar.words == 2 else ("lo",)
            words += [(builder.const(bits), half) for half in halves]
        bindings = [
            iree_hal.BindingRef(slot, zero, builder.const(arrays[binding.argument].nbytes))
            for slot, binding in enumerate(self.dispatch.bindings, 1)
        ]
        x, y, z = (builder.const(n) for n in self.workgroup_count(compiled))
        builder.dispatch(0, 0, (x, y, z), words, [*bindings, *workspace])
        commands = device.create_command_buffer(builder.finish(), [executable])
        device.execute(commands, [arrays[b.argument].reshape(-1) for b in self.dispatch.bindings], ())
        return self.results(arrays)

    def run_workgroups(
        self, kernel: Any, ids: Any, check: DispatchCheck, form: str, operations: int | None
    ) -> list[Any]:
        """Results with only the elements that workgroups ``ids`` wrote; masked arrays.

        No two workgroups may write one element.
        """
        interpreter = KernelInterpreter(kernel, self.dispatch)
        masked: Any = np.ma.masked_all
        total: list[Any] = [masked(a.shape, a.dtype) for a in self.results(self.memory)]
        whole_groups = 0
        for number, id in enumerate(ids):
            if number > 1 and check.stopped:
                break  # first and last will do for a kernel that is too long to interpret
            arrays = self.copies()
            if interpreter.run(arrays, self.scalars, id, operations):
                whole_groups += 1
            else:
                check.stopped = True
            check.sampled = max(check.sampled, number + 1)
            for whole, now, before in zip(
                total, self.results(arrays), self.results(self.memory), strict=True
            ):
                written = _raw(now) != _raw(before)
                if (written & ~np.ma.getmaskarray(whole)).any():
                    check.failures.append(f"{self.call.name}: {form}: {id} writes what another writes")
                whole[written] = now[written]
        everything = whole_groups == int(np.prod(check.workgroups))
        for whole, (_, binding) in zip(total, self.dispatch.results, strict=True):
            missing = int(np.ma.getmaskarray(whole).sum())
            # A boolean that is written may equal the garbage before it.
            if everything and missing and binding.access == "write" and whole.dtype != np.bool_:
                check.failures.append(f"{self.call.name}: {form}: {missing} elements are never written")
        return total


def _raw(array: Array) -> Array:
    """The bit patterns of elements."""
    return array.view(np.dtype(f"u{array.itemsize}")) if array.itemsize in (1, 2, 4, 8) else array


def _bits(value: Any, type: Any) -> int:
    """A scalar argument as the parameter block carries it: floats by their bit pattern."""
    if isinstance(type, FloatType):
        raw = np.asarray(value).astype(element_type(type.name).dtype).tobytes()
        return int.from_bytes(raw, "little")
    return int(value)


def fresh(like: Array, generator: np.random.Generator) -> Array:
    """Other numbers of the kind of ``like``: normal with its mean and spread, as positive as it is, with its
    infinities in place; integers and booleans are drawn from those there.
    """
    if like.size == 0:
        return like.copy()
    if like.dtype.kind in "iub":
        drawn: Array = generator.choice(like.reshape(-1), like.shape)
        return drawn
    wide = like.astype(np.float64)
    finite = np.isfinite(wide)
    known = wide[finite] if finite.any() else np.zeros(1)
    mean, spread = known.mean(), known.std() or abs(known.mean()) / 2 or 1.0
    drawn = generator.standard_normal(like.shape) * spread + mean
    if known.min() >= 0:
        drawn = np.abs(drawn)
    with np.errstate(over="ignore"):
        found: Array = np.where(finite, drawn, wide).astype(like.dtype)
    # Masks hold the largest finite value; what is drawn around it may lie beyond.
    beyond = finite & ~np.isfinite(found.astype(np.float64))
    found[beyond] = like[beyond]
    return found


def garbage(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Memory nobody has written yet: NaNs with random payloads, random integers."""
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return generator.integers(0, 2, tuple(shape)).astype(np.bool_)
    count = int(np.prod(shape, dtype=np.int64))
    raw = generator.integers(0, 256, (count, dtype.itemsize), np.uint8)
    if dtype.kind not in "iub":
        raw[:, -1] = 0xFF  # sign and high exponent bits of every IEEE-like format
        if dtype.itemsize > 1:
            raw[:, -2] |= 0xF8
    found: Array = raw.reshape(-1).view(dtype).reshape(tuple(shape))
    return found


def _compare(
    check: DispatchCheck,
    left: str,
    right: str,
    expected: Sequence[Any],
    found: Sequence[Any],
    slack: float = 1.0,
) -> None:
    """Note the largest error of ``found`` over the tolerance (times ``slack``); over 1 is a failure."""
    for number, (a, b) in enumerate(zip(expected, found, strict=True)):
        worst = error_over_tolerance(np.asarray(a), b) / slack
        pair = (left, right)
        check.errors[pair] = max(check.errors.get(pair, 0.0), worst)
        if left == "linalg":
            check.compared[right] = check.compared.get(right, 0) + int(np.ma.count(b))
        if worst > 1:
            check.failures.append(
                f"{check.name}: result {number}: {left} and {right} differ by {worst:.3g} times the tolerance"
            )


def error_over_tolerance(expected: Array, found: Any) -> float:
    """The largest ``|a - b|`` over what is allowed there; infinite for another shape, dtype, NaN or infinity.

    Elements masked in ``found`` are left out.
    """
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    there = ~np.ma.getmaskarray(found)
    a, b = expected[there], np.asarray(found)[there]
    if a.size == 0:
        return 0.0
    if a.dtype.kind in "iub":
        return 0.0 if np.array_equal(a, b) else float("inf")
    from iree_base.element_types import from_dtype

    tolerance = TOLERANCES.get(from_dtype(expected.dtype).name, 0.5)
    whole = expected.astype(np.float64)
    whole = whole[np.isfinite(whole)]
    scale = float(np.abs(whole - whole.mean()).max(initial=0.0)) if whole.size else 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    a, b = a[finite], b[finite]
    allowed = tolerance * np.maximum(np.abs(a), scale)
    with np.errstate(all="ignore"):
        ratio = np.where(a == b, 0.0, np.abs(a - b) / allowed)
    return float(ratio.max(initial=0.0))


__all__ = [
    "DispatchCall",
    "DispatchCheck",
    "Kernels",
    "error_over_tolerance",
    "fresh",
    "garbage",
    "recorded_calls",
    "verify_call",
    "verify_dispatches",
]
