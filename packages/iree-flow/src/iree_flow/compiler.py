"""``iree_flow.compile``: from a source to an artefact (or to the file of a phase)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.garbage import frozen_gc
from iree_core_ir.plugins import manager
from iree_core_ir.verifier import verify
from iree_flow.assemble import assemble
from iree_flow.errors import FlowError
from iree_flow.options import CompileOptions
from iree_flow.phase_file import PhaseFile, read_phase, write_phase
from iree_flow.pipeline import COMMON_PHASES, PHASE_NAMES, PHASES
from iree_flow.session import Session
from iree_flow.variants import pack, share_constants, split, unpack
from iree_vm.artifact import Artifact


@frozen_gc()
def compile(source: Any, *, target: str | Sequence[str] | None = None, **options: Any) -> Any:
    """Compile ``source`` for ``target``, or for several into one artefact with a variant of each; by default
    for the installed target that offers itself for this machine.

    ``source``: a path (``.onnx``, ``.mlir``), bytes, an in-memory model of an installed frontend, MLIR text,
    or a ``ModuleOp``. ``options``: the fields of ``CompileOptions``; ``target_cpu=...`` and the like reach
    the target. Returns an ``iree_vm.Artifact`` (``save(path)``, ``report``), or a ``PhaseFile`` with
    ``compile_to``.

    Raises coded errors: FlowError (options, scheduling), the frontend's, the target's, PluginError for
    an unknown target.
    """
    checked = CompileOptions.from_arguments(target, options)
    session = Session(checked)
    session.report.configuration = checked.configuration()
    session.load_targets()
    started = time.process_time()
    if checked.compile_from is not None:
        module = read_phase(source, session)
        first = PHASE_NAMES.index(checked.compile_from) + 1
    else:
        session.progress("phase", 0, len(PHASE_NAMES) + 2, "import")
        module = load(source, session)
        first = 0
        session.report.phases.append(("import", time.process_time() - started))
    return run(module, session, first)


def run(module: ModuleOp, session: Session, first: int) -> Artifact | PhaseFile:
    """Run the phases from number ``first`` on: the common ones once, the others for each target.

    Behind the common ones, ``module`` is what ``variants.pack`` makes.
    """
    options = session.options
    total = len(PHASE_NAMES) + 2
    if options.dump_phases_to is not None:
        Path(options.dump_phases_to).mkdir(parents=True, exist_ok=True)
    parts = [(module, session)] if first <= len(COMMON_PHASES) else unpack(module, session)
    for number, (name, phase) in enumerate(list(PHASES.items())[first:], first):
        session.progress("phase", number + 1, total, name)
        started = time.process_time()
        if number == len(COMMON_PHASES):
            parts = split(module, session)
            if len(parts) > 1:
                # The variants are copies: what is known of the ops they were copied from is of no use.
                session.memory.clear()
        if name == "stream":
            share_constants(parts, session)
        for part, view in parts:
            phase(part, view)
            verify(part)
        session.report.phases.append((name, time.process_time() - started))
        if options.dump_phases_to is not None:
            path = Path(options.dump_phases_to) / f"{number}-{name}.mlir"
            write_phase(PhaseFile(name, pack(parts), session), path)
        if options.compile_to == name:
            return PhaseFile(name, pack(parts), session)
    session.memory.clear()
    session.progress("phase", total - 1, total, "artefact")
    started = time.process_time()
    artifact = assemble(parts, session)
    session.report.phases.append(("artefact", time.process_time() - started))
    session.progress("phase", total, total, "done")
    return artifact


def load(source: Any, session: Session) -> ModuleOp:
    """The module of a source, by the frontend that recognizes it. Raises FlowError 1 or 2."""
    if isinstance(source, ModuleOp):
        session.report.source = "module"
        return source
    path = _path(source)
    if path is not None:
        if not path.is_file():
            raise FlowError(1, str(path), cause="there is no such file", hint="check the path")
        session.name = session.options.name or identifier(path.stem)
        session.report.source = path.name
    elif session.options.name:
        session.name = session.options.name
    if session.options.frontend is None and (
        (path is not None and path.suffix == ".mlir") or (path is None and isinstance(source, str))
    ):
        return _parse(path, source, session)
    plugins = manager()
    getters = plugins.provided("iree_frontends")
    names = [session.options.frontend] if session.options.frontend else list(getters)
    for name in names:
        frontend = plugins.get("iree_frontends", name, "frontend")
        if session.options.frontend or frontend.recognizes(path if path is not None else source):
            module: ModuleOp = frontend.load(
                path if path is not None else source,
                session.constants,
                {"input_shapes": session.options.input_shapes},
            )
            return module
    what = str(path) if path is not None else type(source).__name__
    raise FlowError(
        2,
        what,
        cause="installed frontends: " + (", ".join(sorted(getters)) or "none"),
        hint="pip install iree-input-onnx, or name one with frontend=",
    )


def _path(source: Any) -> Path | None:
    if isinstance(source, os.PathLike):
        return Path(source)
    if isinstance(source, str) and "\n" not in source and not source.lstrip().startswith(("module", "func")):
        return Path(source)
    return None


def _parse(path: Path | None, source: Any, session: Session) -> ModuleOp:
    from iree_core_ir.text.parser import parse_module

    if session.options.input_shapes:
        raise FlowError(4, "input_shapes", cause="MLIR sources fix their own shapes")
    try:
        text = path.read_text(encoding="utf-8") if path is not None else source
    except (OSError, UnicodeDecodeError) as error:
        raise FlowError(1, str(path), cause=str(error)) from None
    name = (
        path.name
        if path is not None
        else f"{session.options.name}.mlir"
        if session.options.name
        else "<mlir>"
    )
    return parse_module(text, name, constants=session.constants)


def identifier(text: str) -> str:
    """``text`` with everything that is no letter, digit or underscore replaced."""
    cleaned = "".join(c if c.isalnum() and c.isascii() else "_" for c in text)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"m_{cleaned}"
