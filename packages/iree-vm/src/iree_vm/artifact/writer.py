"""Writing an artefact: ``ArtifactWriter`` collects, ``finish`` streams to a temporary file and renames it.

::

    with ArtifactWriter("model.vmfb", module="model") as writer:
        writer.add_function(FunctionSpec("main", inputs, outputs))
        writer.add_executable("main", "elf-x86_64", object_bytes, exports, features=("avx2",))
        writer.add_constant(lambda: chunks())
        writer.set_bytecode(module_builder.serialize())
        artifact = writer.finish()

Constants are given as bytes, arrays or callables that yield chunks, and are read only while the file is
written, once, so weights are never held whole. Same content gives the same bytes: members stand in a fixed
order (bytecode, executables, debug, constants, manifest) with fixed dates. A path of None writes to an
unnamed temporary file, for an artefact that lives in the process.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from iree_vm.artifact.debug_info import DebugInfo
from iree_vm.artifact.manifest import (
    ConstantEntry,
    Dim,
    ExecutableEntry,
    ExportEntry,
    FunctionSpec,
    Manifest,
    Variant,
)
from iree_vm.artifact.reader import Artifact
from iree_vm.artifact.zip64 import ZipWriter
from iree_vm.bytecode import encoding, verifier
from iree_vm.errors import VmError

Chunk = bytes | bytearray | memoryview
ConstantSource = Chunk | Iterable[Chunk] | Callable[[], Iterable[Chunk]]

MEMBER_ALIGNMENT = 64
CONSTANT_ALIGNMENT = 1 << 16
"""A page on every machine we know, so that a constant can be mapped by itself."""
_PIECE = 1 << 22
"""Bytes hashed and written at a time."""


def _chunks(source: ConstantSource) -> Iterator[memoryview]:
    made: Any = source() if callable(source) else source
    parts: Iterable[Any]
    try:
        parts = (memoryview(made),)
    except TypeError:
        parts = made
    for part in parts:
        view = memoryview(part)
        if not view.c_contiguous:
            view = memoryview(view.tobytes())
        if not view.nbytes:
            continue
        view = view.cast("B")
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` when the block ends well and vanishes otherwise. Raises VmError 58."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb+") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise VmError(58, str(path), cause=error.strerror or str(error)) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


class ArtifactWriter:
    """Collects the parts of one artefact; see the module's docstring."""

    def __init__(
        self, path: str | os.PathLike[str] | None, module: str, *, producer: Mapping[str, str] | None = None
    ) -> None:
        self.path = None if path is None else Path(path)
        self.module = module
        self.producer = dict(producer or {})
        self._functions: list[FunctionSpec] = []
        self._dims: dict[str, Dim] = {}
        self._variants: list[Variant] = []
        self._executables: list[tuple[ExecutableEntry, Chunk]] = []
        self._constants: list[tuple[int | None, int, ConstantSource]] = []
        self._bytecode: bytes | None = None
        self._debug = DebugInfo()

    def __enter__(self) -> ArtifactWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executables.clear()
        self._constants.clear()

    def add_function(self, function: FunctionSpec) -> None:
        self._functions.append(function if function.calls else replace(function, calls=function.name))

    def add_dim(self, name: str, dim: Dim) -> None:
        """Declare a named dimension; names used in shapes without one get the range 0 to anything."""
        self._dims[name] = dim

    def add_executable(
        self,
        name: str,
        format: str,
        data: Chunk,
        exports: Sequence[ExportEntry],
        *,
        features: Sequence[str] = (),
    ) -> int:
        """Add a kernel object; returns its index for ``add_variant``. Names must be unique file names."""
        entry = ExecutableEntry(f"executables/{name}", name, format, tuple(features), tuple(exports))
        self._executables.append((entry, data))
        return len(self._executables) - 1

    def add_variant(
        self, name: str, target: str, driver: str, executables: Sequence[int], *, features: Sequence[str] = ()
    ) -> None:
        """Declare a choice of executables; ``hal.executable.load(device, i)`` loads ``executables[i]``."""
        self._variants.append(Variant(name, target, driver, tuple(features), tuple(executables)))

    def add_constant(self, source: ConstantSource, *, size: int | None = None, alignment: int = 64) -> int:
        """Add a constant segment; returns its index for ``hal.constants.map``.

        ``source`` is read once, in ``finish``; with ``size`` a source of another length is an error.
        ``alignment`` is what the device needs of its address.
        """
        self._constants.append((size, alignment, source))
        return len(self._constants) - 1

    def set_bytecode(self, data: bytes) -> None:
        """The program: what ``ModuleBuilder.serialize`` gives."""
        self._bytecode = data

    def set_debug(self, debug: DebugInfo) -> None:
        self._debug = debug

    def finish(self, report: Any = None) -> Artifact:
        """Write everything; gives the artefact, opened. Raises VmError 58, 56, or 1-3 for the bytecode."""
        if self.path is None:
            file = tempfile.TemporaryFile("wb+")  # noqa: SIM115 (the mapping outlives it)
            with file:
                self._write(file)
                file.flush()
                artifact = Artifact.from_file(file)
        else:
            with replacing(self.path) as target:
                self._write(target)
            artifact = Artifact.open(self.path)
        artifact.report = report
        return artifact

    def _write(self, file: BinaryIO) -> None:
        if self._bytecode is None:
            raise VmError(56, "the artefact has no bytecode", hint="call set_bytecode")
        program = encoding.decode(self._bytecode)
        verifier.verify(program)
        out = ZipWriter(file)
        digests: dict[str, str] = {}

        def add(name: str, source: ConstantSource, alignment: int) -> int:
            state = blake2b(digest_size=32)

            def hashed() -> Iterator[memoryview]:
                for piece in _chunks(source):
                    state.update(piece)
                    yield piece

            if name in digests:
                raise VmError(56, f"member {name} is there twice")
            member = out.add(name, hashed(), alignment)
            digests[name] = state.hexdigest()
            return member.size

        add("module.vmbc", self._bytecode, MEMBER_ALIGNMENT)
        for entry, data in self._executables:
            add(entry.member, data, MEMBER_ALIGNMENT)
        add("debug.json", self._debug.serialize(), MEMBER_ALIGNMENT)
        constants = []
        for index, (size, alignment, source) in enumerate(self._constants):
            name = f"constants/{index}"
            written = add(name, source, max(CONSTANT_ALIGNMENT, alignment))
            if size is not None and size != written:
                raise VmError(56, f"{name}: {written} bytes came, {size} were announced")
            constants.append(ConstantEntry(name, written, alignment))
        manifest = Manifest(
            module=self.module,
            producer=self.producer,
            functions=tuple(self._functions),
            dims={**{name: Dim() for name in self._named_dims()}, **self._dims},
            variants=tuple(self._variants),
            executables=tuple(entry for entry, _ in self._executables),
            constants=tuple(constants),
            modules=tuple(sorted({i.module for i in program.imports if not i.optional})),
            loaders=tuple(sorted({entry.format for entry, _ in self._executables})),
            digests=digests,
        )
        manifest.check()
        text = manifest.serialize()
        out.add("manifest.json", (text,), MEMBER_ALIGNMENT)
        out.finish(blake2b(text, digest_size=32).hexdigest())

    def _named_dims(self) -> set[str]:
        return {
            dim
            for function in self._functions
            for tensor in (*function.inputs, *function.outputs)
            for dim in tensor.shape
            if isinstance(dim, str)
        }


__all__ = ["ArtifactWriter", "ConstantSource", "replacing"]
