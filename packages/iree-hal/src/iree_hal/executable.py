"""Executables: compiled kernels, ready to be dispatched by the device that loaded them."""

from __future__ import annotations

from typing import Any

from iree_base.records import field, record
from iree_hal.errors import EXECUTABLE_MISMATCH, HalError

ACCESSES = ("read", "write", "readwrite")


@record(frozen=True)
class ExportSpec:
    """A kernel's needs: ``bindings`` is one of read, write, readwrite per binding, ``alignments`` bytes per
    binding (default 1 each), ``scratch_bytes`` of memory that a workgroup has to itself.

    ``write`` promises every byte of the range a dispatch binds: a device may hand out fresh memory and give
    all of it back. Bytes outside of the range are never touched.
    """

    name: str
    scratch_bytes: int = 0
    n_constants: int = 0
    bindings: tuple[str, ...] = ()
    alignments: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.alignments:
            object.__setattr__(self, "alignments", (1,) * len(self.bindings))
        if (
            len(self.alignments) != len(self.bindings)
            or any(b not in ACCESSES for b in self.bindings)
            or any(a < 1 or a & (a - 1) or a > 1 << 16 for a in self.alignments)
            or self.n_constants < 0
            or not 0 <= self.scratch_bytes < 1 << 32
        ):
            raise HalError(EXECUTABLE_MISMATCH, f"the description of export '{self.name}' is inconsistent")


@record(frozen=True)
class ExecutableSpec:
    """What an artefact says about an executable: its bytes, their format and what they need.

    ``features`` are LLVM's names of processor features, checked at load.
    """

    format: str
    data: bytes | bytearray | memoryview
    exports: tuple[ExportSpec, ...]
    features: tuple[str, ...] = ()
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)


class Executable:
    """A loaded executable; shareable between threads. Its code lives as long as it is referenced, and
    command buffers reference theirs.
    """

    def __init__(self, spec: ExecutableSpec) -> None:
        self.name = spec.name
        self.format = spec.format
        self.exports = spec.exports

    def export_ordinal(self, name: str) -> int:
        """The number of export ``name``. Raises HalError EXECUTABLE_MISMATCH."""
        for i, export in enumerate(self.exports):
            if export.name == name:
                return i
        raise HalError(
            EXECUTABLE_MISMATCH,
            f"executable '{self.name}' has no export '{name}'",
            cause="it has " + (", ".join(e.name for e in self.exports) or "none"),
        )


class NativeExecutable(Executable):
    """An executable of functions with the dispatch ABI; ``addresses`` in the order of ``exports``.

    ``owner`` keeps the code mapped.
    """

    def __init__(self, spec: ExecutableSpec, addresses: tuple[int, ...], owner: object) -> None:
        super().__init__(spec)
        self.addresses = addresses
        self.owner = owner
