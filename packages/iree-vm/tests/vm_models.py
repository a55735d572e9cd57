"""Small artefacts over the kernels that iree-hal ships for its conformance suite."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from iree_hal import BindingRef, RecordingBuilder
from iree_hal.conformance.kernels import ORDINALS, local_executable
from iree_vm.artifact import (
    Artifact,
    ArtifactWriter,
    AssertInfo,
    DebugInfo,
    Dim,
    DispatchInfo,
    ExportEntry,
    FunctionSpec,
    TensorSpec,
)
from iree_vm.bytecode.types import Register
from iree_vm.host_program import HostFunction, HostProgram

F32 = 4


def kernels(writer: ArtifactWriter, features: Sequence[str] = ()) -> int:
    """Add the kernels' object as an executable."""
    spec = local_executable()
    exports = [
        ExportEntry(e.name, e.scratch_bytes, e.n_constants, e.bindings, e.alignments) for e in spec.exports
    ]
    return writer.add_executable("kernels", spec.format, bytes(spec.data), exports, features=features)


def add_recording() -> bytes:
    """binding 3 = binding 1 + binding 2, f32, element count in parameter 0."""
    r = RecordingBuilder(n_bindings=4, n_inputs=1)
    n = 0
    one, zero = r.const(1), r.const(0)
    nbytes = r.op("mul", n, r.const(F32))
    groups = r.op("ceildiv", n, r.const(64))
    refs = [BindingRef(slot, zero, nbytes) for slot in (1, 2, 3)]
    r.dispatch(0, ORDINALS["add"], (groups, one, one), [(n, "lo")], refs)
    return r.finish().serialize()


def index_recording() -> bytes:
    """Fails at assertion 1 when parameter 0 exceeds parameter 1."""
    r = RecordingBuilder(n_bindings=1, n_inputs=2)
    one = r.const(1)
    r.dispatch(0, ORDINALS["check_index"], (0, one, one), [(1, "lo")], [])
    return r.finish().serialize()


def spin_recording() -> bytes:
    """Keeps one thread busy: parameter 0 workgroups of parameter 1 loops."""
    r = RecordingBuilder(n_bindings=1, n_inputs=2)
    one = r.const(1)
    r.dispatch(0, ORDINALS["spin"], (0, one, one), [(1, "lo")], [])
    return r.finish().serialize()


def tensor(name: str, *shape: int | str, dtype: str = "f32", tied: int | None = None) -> TensorSpec:
    return TensorSpec(name, dtype, shape, tied)


def write(
    path: str | os.PathLike[str] | None,
    build: Callable[[HostProgram], None],
    functions: Sequence[FunctionSpec],
    *,
    dims: dict[str, Dim] | None = None,
    constants: Sequence[bytes] = (),
    features: Sequence[str] = (),
    driver: str = "local-task",
    name: str = "model",
    version: int = 0,
) -> Artifact:
    """An artefact of the kernels and of what ``build`` adds to the program."""
    program = HostProgram(name, version=version, dims=dims)
    build(program)
    with ArtifactWriter(path, name, producer={"tests": "1"}) as writer:
        for function in functions:
            writer.add_function(function)
        for dim, limits in (dims or {}).items():
            writer.add_dim(dim, limits)
        executable = kernels(writer, features)
        writer.add_variant("default", "llvm-cpu", driver, [executable])
        for constant in constants:
            writer.add_constant(constant)
        writer.set_bytecode(program.serialize())
        writer.set_debug(
            DebugInfo.of(
                [
                    DispatchInfo("add", ("/model/Add",), "plain", "it is elementwise"),
                    DispatchInfo(
                        "check_index",
                        ("/model/Gather",),
                        asserts=tuple(
                            AssertInfo(f"/model/Gather_{i}", f"index of input {i}") for i in range(2)
                        ),
                    ),
                ]
            )
        )
        return writer.finish(report="written by a test")


def add_function(program: HostProgram, spec: FunctionSpec, n: Callable[[HostFunction], Register]) -> None:
    """y = a + b for inputs 0 and 1, of ``n`` elements."""
    commands = program.recording(f"{spec.name}.add", add_recording(), executables=(0,))
    f = program.function(spec)
    y = f.result(0)
    f.execute(commands, params=[n(f)], bindings=[*f.inputs[:2], y])
    f.return_(y)


def add_model(path: str | os.PathLike[str] | None = None, size: int = 16, **options: object) -> Artifact:
    """main(a, b) -> y: f32[size], added."""
    spec = FunctionSpec("main", (tensor("a", size), tensor("b", size)), (tensor("y", size),))
    return write(path, lambda p: add_function(p, spec, lambda f: f.size(size)), [spec], **options)  # type: ignore[arg-type]


def dynamic_model(path: str | os.PathLike[str] | None = None) -> Artifact:
    """main(a, b) -> y: f32[batch, 3], added; batch is even and at most 8."""
    spec = FunctionSpec(
        "main",
        (tensor("a", "batch", 3), tensor("b", "batch", 3)),
        (tensor("y", "batch", 3),),
    )

    def n(f: HostFunction) -> Register:
        count = f.builder.op("mul.i64", f.dim("batch"), f.builder.const_i64(3))
        assert isinstance(count, Register)
        return count

    return write(path, lambda p: add_function(p, spec, n), [spec], dims={"batch": Dim(2, 8, 2)})


def random(*shape: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
