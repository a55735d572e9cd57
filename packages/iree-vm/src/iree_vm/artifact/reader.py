"""Reading an artefact: mapped, checked, its members as views.

``Artifact.open`` checks the container, the manifest and the digests of manifest, bytecode, executables and
debug information; constants are checked by ``verify``. Nothing is copied: members are read-only views of
the mapping, which lives as long as any view does. Native code is not sandboxed: the digests guard against
damage, not against malice.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any, BinaryIO

from iree_base.blake2 import blake2b
from iree_base.records import record
from iree_vm.artifact import zip64
from iree_vm.artifact.debug_info import DebugInfo
from iree_vm.artifact.digests import made_like
from iree_vm.artifact.manifest import DEBUG, MANIFEST, PROGRAM, Manifest, Variant
from iree_vm.artifact.schema import parse
from iree_vm.errors import VmError

_AGAIN = "copy or compile it again"


@record(frozen=True)
class MemberCheck:
    """The outcome for one member: ``problem`` is empty when its digest is right."""

    name: str
    bytes: int
    problem: str = ""


class Artifact:
    """An opened artefact: ``manifest``, ``members``, ``report`` (the compiler's, when it ran in process)."""

    def __init__(self, data: memoryview, path: Path | None = None) -> None:
        self._data = data
        self.path = path
        self.report: Any = None
        self._debug: dict[str, DebugInfo] = {}
        self.members, digest = zip64.read_directory(data)
        raw = self.member(MANIFEST)
        if blake2b(raw, digest_size=32).hexdigest() != digest:
            raise VmError(55, "manifest.json", cause="its digest differs", hint=_AGAIN)
        self.manifest = Manifest.from_json(parse(raw, 56))
        self._check_members()

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Artifact:
        """Map and check a file. Raises VmError 50-57."""
        where = Path(path)
        try:
            with open(where, "rb") as file:
                return Artifact.from_file(file, where)
        except OSError as error:
            hint = "check its permissions" if isinstance(error, PermissionError) else "check the path"
            raise VmError(50, str(path), cause=error.strerror or str(error), hint=hint) from None

    @staticmethod
    def from_file(file: BinaryIO, path: Path | None = None) -> Artifact:
        """Map and check an open file (which may be closed afterwards)."""
        try:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise VmError(51, str(path or "file"), cause="the file is empty", hint=_AGAIN)
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as error:
            raise VmError(50, str(path or "file"), cause=str(error)) from None
        return Artifact._named(data, path)

    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> Artifact:
        """Check an artefact that is in memory."""
        return Artifact._named(memoryview(data).cast("B").toreadonly(), None)

    @staticmethod
    def _named(data: memoryview, path: Path | None) -> Artifact:
        try:
            return Artifact(data, path)
        except VmError as error:
            if path is not None and error.source is None:
                raise VmError(
                    error.number, error.detail, source=str(path), cause=error.cause, hint=error.hint
                ) from None
            raise

    def member(self, name: str) -> memoryview:
        """The bytes of a member, as a view. Raises VmError 54."""
        entry = self.members.get(name)
        if entry is None:
            raise VmError(54, name, hint=_AGAIN)
        return self._data[entry.offset : entry.offset + entry.size]

    def _check_members(self) -> None:
        manifest = self.manifest
        named = {*manifest.programs, *manifest.debug_members}
        named.update(e.member for e in manifest.executables)
        named.update(c.member for c in manifest.constants)
        if MANIFEST in named:
            raise VmError(56, f"{MANIFEST} names itself", hint=_AGAIN)
        named.add(MANIFEST)
        for name in sorted(named):
            if name not in self.members:
                raise VmError(54, name, hint=_AGAIN)
        for name in self.members:
            if name not in named:
                raise VmError(56, f"member {name} is not in the manifest", hint=_AGAIN)
            if name != MANIFEST and name not in manifest.digests:
                raise VmError(56, f"digests: '{name}' is missing", hint=_AGAIN)
        for index, constant in enumerate(manifest.constants):
            entry = self.members[constant.member]
            if entry.size != constant.bytes:
                raise VmError(
                    55, constant.member, cause=f"{entry.size} bytes, the manifest says {constant.bytes}"
                )
            alignment = constant.alignment
            if alignment < 1 or alignment & (alignment - 1) or entry.offset % alignment:
                raise VmError(56, f"constants[{index}].alignment: {alignment} does not hold in the file")
        executables = dict.fromkeys(e.member for e in manifest.executables)
        for name in (*manifest.programs, *manifest.debug_members, *executables):
            problem = self._problem(name)
            if problem:
                raise VmError(55, name, cause=problem, hint=_AGAIN)

    def _problem(self, name: str) -> str:
        """What is wrong with a member's bytes, or an empty string."""
        expected = self.manifest.digests[name]
        state = made_like(expected)()
        view = self.member(name)
        for start in range(0, len(view), 1 << 22):
            state.update(view[start : start + (1 << 22)])
        return "" if state.hexdigest() == expected else "its digest differs"

    def variant(self, name: str | None = None) -> Variant | None:
        """The variant of that name; without one the first, or None where there is none. Raises VmError 43."""
        variants = self.manifest.variants
        if name is None:
            return variants[0] if variants else None
        for variant in variants:
            if variant.name == name:
                return variant
        raise VmError(43, f"'{name}'", cause="there are " + (", ".join(v.name for v in variants) or "none"))

    def program(self, variant: Variant | None) -> memoryview:
        """The bytecode of a variant; of None that of an artefact without variants."""
        return self.member(variant.program if variant is not None else PROGRAM)

    def debug_info(self, variant: Variant | None) -> DebugInfo:
        """The parsed debug information of a variant. Raises VmError 57."""
        name = variant.debug if variant is not None else DEBUG
        found = self._debug.get(name)
        if found is None:
            found = self._debug[name] = DebugInfo.deserialize(self.member(name))
        return found

    @property
    def bytecode(self) -> memoryview:
        """The bytecode of the first variant."""
        return self.program(self.variant())

    @property
    def debug(self) -> DebugInfo:
        """The debug information of the first variant. Raises VmError 57."""
        return self.debug_info(self.variant())

    def executable(self, index: int) -> memoryview:
        """The bytes of ``manifest.executables[index]``."""
        return self.member(self.manifest.executables[index].member)

    def constant(self, index: int) -> memoryview:
        """The bytes of ``manifest.constants[index]``, as a view of the mapping."""
        return self.member(self.manifest.constants[index].member)

    def check(self) -> list[MemberCheck]:
        """Read everything, constants included, and compare digests, one outcome per member."""
        wrong_padding = set(zip64.padding(self._data, self.members.values()))
        outcomes = []
        for name, entry in self.members.items():
            problem = "" if name == MANIFEST else self._problem(name)
            if not problem and name in wrong_padding:
                problem = "the padding before it is not zero"
            outcomes.append(MemberCheck(name, entry.size, problem))
        return outcomes

    def verify(self) -> None:
        """Check every member. Raises VmError 55 naming the damaged ones, 57 or what the bytecode breaks."""
        from iree_vm.bytecode import encoding, verifier

        wrong = [check.name for check in self.check() if check.problem]
        if wrong:
            raise VmError(55, ", ".join(wrong), source=str(self.path) if self.path else None, hint=_AGAIN)
        for name in self.manifest.programs:
            verifier.verify(encoding.decode(self.member(name)))
        for name in self.manifest.debug_members:
            DebugInfo.deserialize(self.member(name))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the artefact's bytes to a file (by way of a temporary one). Raises VmError 58."""
        from iree_vm.artifact.writer import replacing

        where = Path(path)
        with replacing(where) as file:
            for start in range(0, len(self._data), 1 << 22):
                file.write(self._data[start : start + (1 << 22)])
                self._let_go(start, 1 << 22)
        if self.path is None:
            self.path = where
        return where

    def _let_go(self, start: int, size: int) -> None:
        """Of pages of the mapping, which would count as this process's memory; they come back when read."""
        mapping = self._data.obj
        if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED, start, min(size, len(self._data) - start))

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return len(self._data)

    def __repr__(self) -> str:
        functions = ", ".join(f.name for f in self.manifest.functions)
        return f"<Artifact {self.manifest.module}: {functions}; {self.nbytes} bytes>"


def verify(path: str | os.PathLike[str]) -> Artifact:
    """Check a whole file, constants included; gives the artefact. Raises VmError 50-57."""
    artifact = Artifact.open(path)
    artifact.verify()
    return artifact


__all__ = ["Artifact", "MemberCheck", "verify"]
