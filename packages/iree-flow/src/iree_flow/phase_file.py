"""The file of a phase: ``x.mlir`` (IR with locations) and ``x.constants`` (the constant store)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from iree_base.records import record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.ir.attributes import ArrayAttr, StringAttr
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify
from iree_flow.errors import FlowError

PHASE, NAME, TARGETS = "iree.phase", "iree.name", "iree.targets"


@record
class PhaseFile:
    """A module stopped behind ``phase``; ``save`` writes it so that ``compile_from`` continues.

    With several targets, from ``global-optimization`` on, it is a module of modules named by target.
    """

    phase: str
    module: ModuleOp
    session: Any

    @property
    def report(self) -> Any:
        return self.session.report

    def save(self, path: str | os.PathLike[str]) -> None:
        write_phase(self, Path(path))


def constants_path(path: Path) -> Path:
    return path.with_suffix(".constants")


def write_phase(file: PhaseFile, path: Path) -> None:
    """Write both files, each to a temporary name first. Raises FlowError 11."""
    if path.exists() and not path.is_file():
        raise FlowError(11, str(path), cause="it is there and no file", hint="give the name of a file")
    attributes = file.module.attributes
    attributes[PHASE] = StringAttr(file.phase)
    attributes[NAME] = StringAttr(file.session.name)
    attributes[TARGETS] = ArrayAttr([StringAttr(name) for name in _asked(file.phase, file.session)])
    try:
        text = print_op(file.module, locations=True)
    finally:
        del attributes[PHASE], attributes[NAME], attributes[TARGETS]
    file.session.constants.save(constants_path(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise FlowError(11, str(path), cause=str(error)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _asked(phase: str, session: Any) -> tuple[str, ...]:
    """The targets that the IR of a phase depends on."""
    return () if phase == "input" else tuple(session.options.target)


def read_phase(source: Any, session: Any) -> ModuleOp:
    """The module of a phase file; fills the session's constants. Raises FlowError 1 or 11."""
    from iree_core_ir.text.parser import parse_module

    path = Path(source)
    if not path.is_file():
        raise FlowError(1, str(path), cause="there is no such file", hint="check the path")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlowError(1, str(path), cause=str(error)) from None
    beside = constants_path(path)
    if beside.is_file():
        session.constants = ConstantStore.load(beside)
    module = parse_module(text, path.name, constants=session.constants)
    phase: Any = module.attributes.pop(PHASE, None)
    name: Any = module.attributes.pop(NAME, None)
    if phase is None or phase.value != session.options.compile_from:
        raise FlowError(
            11,
            str(path),
            cause=f"the file is of phase {phase.value if phase is not None else 'unknown'}",
            hint=f"compile_from={phase.value}" if phase is not None else "write it with compile_to",
        )
    targets: Any = module.attributes.pop(TARGETS, None)
    written = () if targets is None else tuple(item.value for item in targets)
    if written != _asked(phase.value, session):
        raise FlowError(
            11,
            str(path),
            cause=f"it was written for the targets {', '.join(written) or 'unknown'}",
            hint="give the same targets, in this order: " + " ".join(f"--target={name}" for name in written),
        )
    session.name = name.value if name is not None else session.name
    verify(module)
    return module


__all__ = ["PhaseFile", "constants_path", "read_phase", "write_phase"]
