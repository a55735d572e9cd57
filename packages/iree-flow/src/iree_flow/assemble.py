"""The last step: bytecode, executables, constants and debug information -> the artefact."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.types import FunctionType, TensorType
from iree_flow import lower_vm
from iree_flow.dialects import stream
from iree_flow.errors import FlowError
from iree_flow.session import Session
from iree_flow.symbolic_dims import argument_dim_names, argument_names, result_dim_names, result_names
from iree_hal.compiler import dialect as hal
from iree_vm.artifact import (
    Artifact,
    ArtifactWriter,
    DebugInfo,
    DispatchInfo,
    ExportEntry,
    FunctionSpec,
    TensorSpec,
)

PRODUCERS = ("iree-base", "iree-core-ir", "iree-codegen", "iree-flow", "iree-hal", "iree-vm")


def assemble(module: ModuleOp, session: Session) -> Artifact:
    """Write the module of phase ``hal`` as an artefact in a temporary file."""
    functions = [
        op
        for op in module.regions[0].block
        if isinstance(op, FuncOp) and op.regions[0].blocks and _is_public(op)
    ]
    if not functions:
        raise FlowError(6, session.name)
    specs = {function.sym_name.value: _function_spec(function) for function in functions}
    program = lower_vm.lower(module, session.name, specs)
    with ArtifactWriter(None, session.name, producer=_producers()) as writer:
        for spec in specs.values():
            writer.add_function(spec)
        for dim, limits in lower_vm.dim_ranges(specs).items():
            writer.add_dim(dim, limits)
        infos = _executables(module, session, writer)
        for op in module.regions[0].block:
            if isinstance(op, stream.ConstantSegment):
                writer.add_constant(_segment(op, session.constants), size=op.size.value)
        writer.set_debug(DebugInfo.of(infos))
        writer.set_bytecode(program.serialize())
        return writer.finish(session.report)


def _is_public(op: FuncOp) -> bool:
    visibility: Any = op.attributes.get("sym_visibility")
    return visibility is None or visibility.value != "private"


def _producers() -> dict[str, str]:
    found = {}
    for name in PRODUCERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


ELEMENT_TYPE = "iree.element_type"
"""Argument and result attribute of frontends: ``ui8`` for a tensor of unsigned integers."""


def _function_spec(function: FuncOp) -> FunctionSpec:
    """The signature as the user wrote it; anonymous dynamic dims get a name of their own."""
    signature: Any = function.attributes["hal.signature"]
    type: FunctionType = signature.value
    counter = iter(range(1 << 30))
    dims = list(argument_dim_names(function).values())
    inputs = [
        _tensor(name, t, d, counter, function.arg_attr(i, ELEMENT_TYPE))
        for i, (name, t, d) in enumerate(zip(argument_names(function), type.inputs, dims, strict=True))
    ]
    results = zip(result_names(function), type.results, result_dim_names(function), strict=True)
    outputs = [
        _tensor(name, t, d, counter, function.result_attr(i, ELEMENT_TYPE))
        for i, (name, t, d) in enumerate(results)
    ]
    name: Any = function.attributes["sym_name"]
    return FunctionSpec(name.value, tuple(inputs), tuple(outputs), name.value)


def _tensor(name: str, type: Any, dims: Any, counter: Iterator[int], element: Any) -> TensorSpec:
    """``element``: the attribute that names the element type where the IR's is signless, or None."""
    if not isinstance(type, TensorType):
        return TensorSpec(name, str(type), ())
    shape: list[int | str] = []
    for axis, size in enumerate(type.shape):
        given = dims[axis] if axis < len(dims) else ""
        shape.append(size if size >= 0 else given or f"dim_{next(counter)}")
    return TensorSpec(name, str(type.element_type) if element is None else element.value, tuple(shape))


def _executables(module: ModuleOp, session: Session, writer: ArtifactWriter) -> list[DispatchInfo]:
    """Add every executable and the one variant."""
    infos: list[DispatchInfo] = []
    numbers: list[int] = []
    features: dict[str, None] = {}
    for op in module.regions[0].block:
        if not isinstance(op, hal.ExecutableBinary):
            continue
        exports = []
        for export in op.exports:
            name = export.sym_name.value
            exports.append(
                ExportEntry(
                    name,
                    export.scratch_bytes.value,
                    export.n_constants.value,
                    _strings(export.bindings),
                    tuple(export.alignments.values),
                )
            )
            infos.append(
                DispatchInfo(name, _strings(export.sources), export.strategy.value, export.why.value)
            )
        needed = _strings(op.features)
        features.update(dict.fromkeys(needed))
        data: Any = op.data
        blob = session.constants.array(data.key).tobytes()
        numbers.append(
            writer.add_executable(op.sym_name.value, op.format.value, blob, exports, features=needed)
        )
    target = session.target
    writer.add_variant(target.name, target.name, target.driver, numbers, features=sorted(features))
    return infos


def _strings(items: Any) -> tuple[str, ...]:
    return tuple(item.value for item in items)


def _segment(op: stream.ConstantSegment, store: ConstantStore) -> Any:
    """A callable that yields the segment's bytes, padding included."""

    def chunks() -> Iterator[memoryview]:
        position = 0
        for value, offset in zip(op.values, op.offsets, strict=True):
            if offset > position:
                yield memoryview(bytes(offset - position))
                position = offset
            for chunk in store.chunks(value.key):  # type: ignore[attr-defined]
                position += chunk.nbytes
                yield chunk
        if op.size.value > position:
            yield memoryview(bytes(op.size.value - position))

    return chunks
