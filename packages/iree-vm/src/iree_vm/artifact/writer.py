"""Writing an artefact: ``ArtifactWriter`` collects, ``finish`` streams to a temporary file and renames it.

::

    with ArtifactWriter("model.vmfb", module="model") as writer:
        writer.add_function(FunctionSpec("main", inputs, outputs))
        index = writer.add_executable("main", "elf-x86_64", object_bytes, exports, features=("avx2",))
        writer.add_constant(lambda: chunks())
        writer.add_variant("cpu", target, driver, [index])
        writer.set_bytecode(module_builder.serialize())
        artifact = writer.finish()

Constants are given as bytes, arrays or callables that yield chunks, and are read only while the file is
written, once, so weights are never held whole. Same content gives the same bytes: members stand in a fixed
order (bytecode, executables, debug, constants, manifest) with fixed dates. Variants share the program
unless they bring their own; then the members are ``module.<variant>.vmbc`` and ``debug.<variant>.json``. A
path of None writes to an unnamed temporary file, for an artefact that lives in the process.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from iree_base.blake2 import blake2b
from iree_base.records import record
from iree_vm.artifact.debug_info import DebugInfo
from iree_vm.artifact.digests import Digest, Pieces, blake
from iree_vm.artifact.manifest import (
    DEBUG,
    MANIFEST,
    PROGRAM,
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
_TOGETHER = 8 << 20
"""Bytes of a file that are written at once: what the system caches of it then lies in huge pages, where the
file system has them. Measured: GPT-2 decode reads its weights in 33.3 ms instead of 34.8."""
_APART = 1 << 18
"""Bytes that are written at once where huge pages are dear."""
_DEAR = 1e-9
"""CPU seconds a byte of a write that had to wait for its pages: memory that is there takes a fifth of that. A
virtual machine whose host takes back free memory waits for every huge page, up to 1.8 s for 435 MB instead of
0.1."""
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


class _Pages(io.FileIO):
    """A file written in huge pages for as long as the system has them at hand."""

    dear = False

    def write(self, data: Any, /) -> int:
        """May take a part of ``data`` alone, as a raw file may."""
        view = memoryview(data)
        if self.dear:
            return super().write(view[:_APART])
        start = time.thread_time()
        count = super().write(view)
        self.dear = count > _APART and time.thread_time() - start > count * _DEAR
        return count


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` when the block ends well and vanishes otherwise. Raises VmError 58.

    What is there and no file (``/dev/null``) is not replaced by one.
    """
    if path.exists() and not path.is_file():
        raise VmError(58, str(path), cause="it is there and no file", hint="give the name of a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with io.BufferedRandom(_Pages(temporary, "wb+"), _TOGETHER) as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise VmError(58, str(path), cause=error.strerror or str(error)) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


@record(frozen=True)
class _Variant:
    """A variant before its members have names; None stands for what is common to all."""

    entry: Variant
    constants: tuple[int, ...] | None
    bytecode: bytes | None
    debug: DebugInfo | None


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
        self._variants: list[_Variant] = []
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
        self,
        name: str,
        target: str,
        driver: str,
        executables: Sequence[int],
        *,
        features: Sequence[str] = (),
        constants: Sequence[int] | None = None,
        bytecode: bytes | None = None,
        debug: DebugInfo | None = None,
    ) -> None:
        """Declare what one target made: ``hal.executable.load(device, i)`` loads ``executables[i]``, and
        ``hal.constants.map(device, i)`` maps ``constants[i]`` (None: all constants, in order). ``bytecode``
        and ``debug`` are the variant's own (None: those of ``set_bytecode`` and ``set_debug``). Names must be
        unique and fit into file names.
        """
        entry = Variant(name, target, driver, tuple(features), tuple(executables))
        chosen = None if constants is None else tuple(constants)
        self._variants.append(_Variant(entry, chosen, bytecode, debug))

    def add_constant(self, source: ConstantSource, *, size: int | None = None, alignment: int = 64) -> int:
        """Add a constant segment; returns its index for ``hal.constants.map``.

        ``source`` is read once, in ``finish``; with ``size`` a source of another length is an error.
        ``alignment`` is what the device needs of its address.
        """
        self._constants.append((size, alignment, source))
        return len(self._constants) - 1

    def set_bytecode(self, data: bytes) -> None:
        """The program of all variants without their own: what ``ModuleBuilder.serialize`` gives."""
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
        programs, debug = self._programs(), self._debug_infos()
        modules: set[str] = set()
        for data in programs.values():
            program = encoding.decode(data)
            verifier.verify(program)
            modules.update(i.module for i in program.imports if not i.optional)
        out = ZipWriter(file)
        digests: dict[str, str] = {}

        def add(name: str, source: ConstantSource, alignment: int, state: Digest) -> int:

            def hashed() -> Iterator[memoryview]:
                for piece in _chunks(source):
                    state.update(piece)
                    yield piece

            if name in digests:
                raise VmError(56, f"member {name} is there twice")
            known = (lambda: state.crc) if isinstance(state, Pieces) else None
            member = out.add(name, hashed(), alignment, known)
            digests[name] = state.hexdigest()
            return member.size

        for name, data in programs.items():
            add(name, data, MEMBER_ALIGNMENT, blake())
        for entry, code in self._executables:
            add(entry.member, code, MEMBER_ALIGNMENT, blake())
        for name, info in debug.items():
            add(name, info.serialize(), MEMBER_ALIGNMENT, blake())
        constants = []
        for index, (size, alignment, source) in enumerate(self._constants):
            name = f"constants/{index}"
            written = add(name, source, max(CONSTANT_ALIGNMENT, alignment), Pieces())
            if size is not None and size != written:
                raise VmError(56, f"{name}: {written} bytes came, {size} were announced")
            constants.append(ConstantEntry(name, written, alignment))
        manifest = Manifest(
            module=self.module,
            producer=self.producer,
            functions=tuple(self._functions),
            dims={**{name: Dim() for name in self._named_dims()}, **self._dims},
            variants=tuple(map(self._named, self._variants)),
            executables=tuple(entry for entry, _ in self._executables),
            constants=tuple(constants),
            modules=tuple(sorted(modules)),
            loaders=tuple(sorted({entry.format for entry, _ in self._executables})),
            digests=digests,
        )
        manifest.check()
        text = manifest.serialize()
        out.add(MANIFEST, (text,), MEMBER_ALIGNMENT)
        out.finish(blake2b(text, digest_size=32).hexdigest())

    def _named(self, variant: _Variant) -> Variant:
        """The manifest's entry: members and numbers instead of contents."""
        name = variant.entry.name
        constants = range(len(self._constants)) if variant.constants is None else variant.constants
        return replace(
            variant.entry,
            constants=tuple(constants),
            program=PROGRAM if variant.bytecode is None else f"module.{name}.vmbc",
            debug=DEBUG if variant.debug is None else f"debug.{name}.json",
        )

    def _programs(self) -> dict[str, bytes]:
        """Bytecode by member, the common one first. Raises VmError 56 when a variant has none."""
        found = {} if self._bytecode is None else {PROGRAM: self._bytecode}
        for variant in self._variants:
            if variant.bytecode is not None:
                found[self._named(variant).program] = variant.bytecode
        if self._bytecode is None and (not self._variants or any(v.bytecode is None for v in self._variants)):
            raise VmError(56, "the artefact has no bytecode", hint="call set_bytecode")
        if self._variants and all(v.bytecode is not None for v in self._variants):
            found.pop(PROGRAM, None)
        return found

    def _debug_infos(self) -> dict[str, DebugInfo]:
        """Debug information by member, the common one first and only where it is used."""
        common = not self._variants or any(v.debug is None for v in self._variants)
        found = {DEBUG: self._debug} if common else {}
        for variant in self._variants:
            if variant.debug is not None:
                found[self._named(variant).debug] = variant.debug
        return found

    def _named_dims(self) -> set[str]:
        return {
            dim
            for function in self._functions
            for tensor in (*function.inputs, *function.outputs)
            for dim in tensor.shape
            if isinstance(dim, str)
        }


__all__ = ["ArtifactWriter", "ConstantSource", "replacing"]
