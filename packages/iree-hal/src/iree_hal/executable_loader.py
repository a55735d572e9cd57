"""Executable loaders: an executable's bytes -> functions a local device can dispatch.

A loader belongs to a format, not to a device: any local device uses any loader that plugins provide through
the hook ``iree_executable_loaders``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from iree_hal import platform
from iree_hal.elf.load import Image
from iree_hal.elf.parse import parse
from iree_hal.errors import BAD_OBJECT, EXECUTABLE_MISMATCH, MISSING_FEATURE, NO_LOADER, HalError
from iree_hal.executable import Executable, ExecutableSpec, NativeExecutable


def check_features(features: tuple[str, ...], name: str) -> None:
    """Compare with this processor and ask the OS where it grants them. Raises HalError MISSING_FEATURE."""
    wanted = {f.lstrip("+") for f in features if f and not f.startswith("-")}
    if not wanted:
        return
    system = platform.current()
    missing = sorted(wanted - system.cpu_features())
    if missing:
        raise HalError(
            MISSING_FEATURE,
            ", ".join(missing),
            source=name or None,
            cause=f"this is {platform.machine()} without it",
            hint="compile for this machine, or with --target-cpu of the oldest machine it must run on",
        )
    system.enable_features(frozenset(wanted))


class ExecutableLoader(ABC):
    """Loads executables of its ``formats``. Stateless and shareable between threads."""

    formats: tuple[str, ...] = ()

    def supports(self, format: str) -> bool:
        """True when this machine can run executables of ``format``."""
        return format in self.formats

    @abstractmethod
    def load(self, spec: ExecutableSpec) -> Executable:
        """The executable, owned by the caller. ``spec.data`` is not needed afterwards.

        Raises HalError MISSING_FEATURE, BAD_OBJECT, BAD_RELOCATION, UNRESOLVED_SYMBOL, EXECUTABLE_MISMATCH.
        """


def kernel_imports(names: tuple[str, ...]) -> dict[str, int]:
    """Addresses of the library functions, and of those ``names`` that a plugin provides.

    Raises what a plugin's getter raises.
    """
    found = dict(platform.current().library_functions())
    if any(name not in found for name in names):
        from iree_hal.driver import plugins

        provided = plugins().provided("iree_kernel_imports")
        found |= {name: int(provided[name]()) for name in names if name in provided}
    return found


class ElfLoader(ExecutableLoader):
    """Relocatable ELF objects of this machine: formats elf-x86_64, elf-aarch64, elf-riscv64.

    Objects may import memcpy, memset and memmove, and what plugins provide through the hook
    ``iree_kernel_imports`` under its full name ``name@version``.
    """

    formats = ("elf-x86_64", "elf-aarch64", "elf-riscv64")

    def supports(self, format: str) -> bool:
        return format == f"elf-{platform.machine()}"

    def load(self, spec: ExecutableSpec) -> NativeExecutable:
        if not self.supports(spec.format):
            raise HalError(
                NO_LOADER,
                f"'{spec.format}'",
                source=spec.name or None,
                cause=f"this machine runs elf-{platform.machine()}",
                hint="compile for this machine",
            )
        check_features(spec.features, spec.name)
        try:
            elf = parse(spec.data)
            image = Image(elf, kernel_imports(elf.undefined()))
        except HalError as error:
            error.source = error.source or spec.name or None
            raise
        missing = [e.name for e in spec.exports if e.name not in image.symbols]
        if missing:
            raise HalError(
                EXECUTABLE_MISMATCH,
                f"the object has no function '{missing[0]}'",
                source=spec.name or None,
                hint="compile the model again",
            )
        addresses = tuple(image.symbols[e.name] for e in spec.exports)
        if not all(image.is_code(a) for a in addresses):
            raise HalError(BAD_OBJECT, "an export is not code", source=spec.name or None)
        return NativeExecutable(spec, addresses, image)


ELF_LOADER = ElfLoader()
