"""The last step: bytecode, executables, constants and debug information -> the artefact."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from iree_base.entry_points import version
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.builtin import ModuleOp
from iree_flow import lower_vm
from iree_flow.arena import ALIGNMENT
from iree_flow.dialects import stream
from iree_flow.errors import FlowError
from iree_flow.functions import function_spec, public_functions
from iree_flow.session import Session
from iree_flow.variants import SHARED, Part
from iree_hal.compiler import dialect as hal
from iree_vm.artifact import (
    Artifact,
    ArtifactWriter,
    DebugInfo,
    DispatchInfo,
    ExportEntry,
)

PRODUCERS = ("iree-base", "iree-core-ir", "iree-codegen", "iree-flow", "iree-hal", "iree-vm")


def assemble(parts: Sequence[Part], session: Session) -> Artifact:
    """Write the modules of phase ``hal`` as an artefact, a variant each: to the output asked for, else to a
    temporary file.

    A single variant has the common members; several have programs, debug information and folders of
    executables of their own. Raises FlowError 6.
    """
    specs = {spec.name: spec for spec in map(function_spec, public_functions(parts[0][0]))}
    if not specs:
        raise FlowError(6, session.name)
    with ArtifactWriter(session.options.output, session.name, producer=_producers()) as writer:
        for spec in specs.values():
            writer.add_function(spec)
        for dim, limits in lower_vm.dim_ranges(specs).items():
            writer.add_dim(dim, limits)
        shared: dict[str, int] = {}
        for module, view in parts:
            target = view.target
            folder = f"{view.current}/" if len(parts) > 1 else ""
            numbers, features, infos = _executables(module, view, writer, folder)
            constants = _constants(module, view, writer, shared)
            program = lower_vm.lower(module, session.name, specs).serialize()
            own: dict[str, Any] = {}
            if folder:
                own = {"bytecode": program, "debug": DebugInfo.of(infos)}
            else:
                writer.set_bytecode(program)
                writer.set_debug(DebugInfo.of(infos))
            writer.add_variant(
                view.current,
                target.name,
                target.driver,
                numbers,
                features=features,
                constants=constants,
                **own,
            )
        return writer.finish(session.report)


def _producers() -> dict[str, str]:
    return {name: version(name) or "unknown" for name in PRODUCERS}


def _executables(
    module: ModuleOp, session: Session, writer: ArtifactWriter, folder: str
) -> tuple[list[int], list[str], list[DispatchInfo]]:
    """Add every executable; gives their numbers, the features they need, and what to know of each."""
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
                DispatchInfo(
                    name,
                    _strings(export.sources),
                    export.strategy.value,
                    export.why.value,
                    work={} if export.work is None else json.loads(export.work.value),
                )
            )
        needed = _strings(op.features)
        features.update(dict.fromkeys(needed))
        data: Any = op.data
        blob = session.constants.array(data.key).tobytes()
        name = f"{folder}{op.sym_name.value}"
        numbers.append(writer.add_executable(name, op.format.value, blob, exports, features=needed))
    return numbers, sorted(features), infos


def _constants(
    module: ModuleOp, session: Session, writer: ArtifactWriter, shared: dict[str, int]
) -> list[int]:
    """The numbers of the module's segments, in its order; shared ones are added with the first variant."""
    numbers = []
    for op in module.regions[0].block:
        if not isinstance(op, stream.ConstantSegment):
            continue
        name = op.sym_name.value
        if name not in shared:
            alignment = max(ALIGNMENT, session.description.binding_alignment)
            number = writer.add_constant(
                _segment(op, session.constants), size=op.size.value, alignment=alignment
            )
            if name.startswith(SHARED):
                shared[name] = number
        else:
            number = shared[name]
        numbers.append(number)
    return numbers


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
