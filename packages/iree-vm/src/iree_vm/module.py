"""A bytecode module linked into a context: its globals, its compiled functions, its lock.

Linking verifies the program, resolves imports by ``module.function`` and version, translates the functions
and runs ``__init``. A host call of a function that touches a mutable global (itself or through what it
calls) holds the instance's lock, so such calls are serialized; all others run side by side.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn, Protocol

from iree_base import debug
from iree_base.errors import IreeError
from iree_hal import Fence, Semaphore
from iree_vm.bytecode import encoding, verifier
from iree_vm.bytecode.program import IMPORT_BIT, INITIALIZER, Import, Program
from iree_vm.bytecode.translate import ImportTarget, Translation
from iree_vm.bytecode.types import Signature
from iree_vm.errors import VmError
from iree_vm.native import NativeModule, into_type


class Provider(Protocol):
    """What imports resolve against: a native module or a linked bytecode module."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def signatures(self) -> Mapping[str, Signature]: ...
    def lookup(self, function: str) -> ImportTarget | None: ...


_locks: weakref.WeakSet[StateLock] = weakref.WeakSet()


class StateLock:
    """Serializes the calls that touch a module's state, the asynchronous work they leave behind included.

    Re-entrant. A forked child gets it back free, whoever held it in the parent.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._last: Fence | None = None
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._last is not None:
            self._settle()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _settle(self) -> None:
        """Wait for the asynchronous call before; its failure is its caller's."""
        assert self._last is not None
        try:
            with contextlib.suppress(IreeError):
                self._last.wait()
        except BaseException:  # Ctrl-C: the work goes on, so the next call must wait again
            self._lock.release()
            raise
        self._last = None

    @contextlib.contextmanager
    def ordered(self, wait: Fence | None, signal: Fence) -> Iterator[Fence | None]:
        """For an asynchronous call that reaches ``signal``: gives what its work must wait for."""
        with self._lock:
            before = self._last
            yield wait if before is None else Fence.join([whatever(before), wait or Fence()])
            self._last = signal

    def renew(self) -> None:
        self._lock = threading.RLock()
        self._last = None


def whatever(fence: Fence) -> Fence:
    """A fence that is reached when every point of ``fence`` is reached or has failed."""
    done = Fence([(Semaphore(), len(fence.points))])
    ((semaphore, _),) = done.points
    lock = threading.Lock()
    counter = itertools.count(1)

    def reached(_: BaseException | None) -> None:
        with lock:  # the semaphore only grows
            semaphore.signal(next(counter))

    for point, value in fence.points:
        point.on_reached(value, reached)
    return done


def _after_fork() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def exclusive_functions(program: Program) -> set[int]:
    """The functions that touch a mutable global, transitively: host calls of these are serialized."""
    calls: list[set[int]] = []
    found: set[int] = set()
    for index, function in enumerate(program.functions):
        called: set[int] = set()
        for block in function.blocks:
            for op, operands in block.instructions:
                for operand, value in zip(op.operands, operands, strict=True):
                    if operand.kind == "callee" and not value & IMPORT_BIT:
                        called.add(value)
                    elif operand.kind.startswith("global.") and program.globals[value].mutable:
                        found.add(index)
        calls.append(called)
    grew = True
    while grew:
        more = {i for i, called in enumerate(calls) if i not in found and called & found}
        found |= more
        grew = bool(more)
    return found


class BytecodeModule:
    """One program in one context."""

    def __init__(self, program: Program, providers: Mapping[str, Provider]) -> None:
        self.program = program
        self.name = program.name
        self.version = program.version
        self.exports = {export.name: export.function for export in program.exports}
        self.signatures = {n: program.functions[f].signature for n, f in self.exports.items()}
        self.imported: set[str] = set()
        """Names of the modules this one imports from."""
        self.exclusive = exclusive_functions(program)
        self.lock = StateLock()
        self.closed = False
        imports = [self._resolve(entry, providers) for entry in program.imports]
        trace: Callable[[str], None] | None = None
        if debug.at(debug.VM_TRACE):
            trace = _trace
        self.unit = Translation(program, imports, trace)
        self.unit.functions()
        self.namespace = self.unit.compile(f"<vm module {self.name}>")
        self.unit.lines.clear()
        for index, function in enumerate(program.functions):
            if function.name == INITIALIZER:
                run(self.namespace[f"_fn{index}"], ())

    @staticmethod
    def from_bytes(data: bytes | memoryview, providers: Mapping[str, Provider]) -> BytecodeModule:
        program = encoding.decode(data)
        verifier.verify(program)
        return BytecodeModule(program, providers)

    def _resolve(self, entry: Import, providers: Mapping[str, Provider]) -> ImportTarget | None:
        provider = providers.get(entry.module)
        target = provider.lookup(entry.function) if provider else None
        if provider is None or target is None:
            if entry.optional:
                return None
            cause = (
                f"module '{entry.module}' has no function '{entry.function}'"
                if provider
                else f"module '{entry.module}' is not loaded"
            )
            raise VmError(
                5, f"@{entry.name} of @{self.name}", cause=cause, hint="load the module that provides it"
            )
        if provider.version < entry.version:
            raise VmError(
                6,
                f"@{entry.name} of @{self.name}",
                cause=f"version {entry.version} wanted, {provider.version} loaded",
            )
        if provider.signatures[entry.function] != entry.signature:
            raise VmError(
                6,
                f"@{entry.name} of @{self.name}",
                cause=f"wanted {entry.signature}, provided {provider.signatures[entry.function]}",
            )
        self.imported.add(entry.module)
        return target

    def raw(self, function: str) -> Callable[..., Any]:
        """The translated Python function of an export, without checks or lock. Raises VmError 7."""
        index = self.exports.get(function)
        if index is None:
            raise VmError(
                7, f"'{function}' in @{self.name}", hint="one of " + ", ".join(sorted(self.exports))
            )
        result: Callable[..., Any] = self.namespace[f"_fn{index}"]
        return result

    def needs_lock(self, function: str) -> bool:
        """Whether calls of an export are serialized."""
        return self.exports[function] in self.exclusive

    def lookup(self, function: str) -> ImportTarget | None:
        if function not in self.exports:
            return None
        call = self.raw(function)
        if not self.needs_lock(function):
            return ImportTarget(call)
        lock = self.lock

        def locked(*arguments: Any) -> Any:
            with lock:
                return call(*arguments)

        return ImportTarget(locked)

    def call(self, function: str, *arguments: Any) -> Any:
        """Call an export from the host with Python values. Raises VmError 14 after unload."""
        if self.closed:
            raise VmError(14, f"@{self.name}")
        target = self.lookup(function)
        if target is None:
            self.raw(function)  # raises
            raise AssertionError
        wanted = self.signatures[function].arguments
        if len(arguments) != len(wanted):
            raise VmError(20, f"@{self.name}.{function} takes {len(wanted)}, got {len(arguments)}")
        try:
            converted = [into_type(str(t), a) for t, a in zip(wanted, arguments, strict=True)]
        except (TypeError, ValueError) as error:
            raise VmError(
                23, f"@{self.name}.{function}{self.signatures[function]}", cause=str(error)
            ) from None
        return run(target.function, converted)

    def close(self) -> None:
        """Drop what the module holds: at once if no call runs in it, else when the last one is collected."""
        space = self.namespace
        space["_closed"] = self.closed = True
        if not _running_in(space):
            for name in [n for n in space if n.startswith(_HELD)]:
                del space[name]


_HELD = ("_g", "_ro", "_imp")


def _running_in(namespace: Mapping[str, Any]) -> bool:
    """Whether any thread has a frame whose globals are ``namespace``."""
    frames: list[FrameType | None] = list(sys._current_frames().values())
    for frame in frames:
        while frame is not None:
            if frame.f_globals is namespace:
                return True
            frame = frame.f_back
    return False


def run(function: Callable[..., Any], arguments: Any) -> Any:
    """Call translated code; whatever stops it is a coded error."""
    try:
        return function(*arguments)
    except Exception as error:
        translate_limit(error)


def translate_limit(error: BaseException) -> NoReturn:
    """Raise the coded form of an exception of translated code.

    Beyond the interpreter's limits, only references of a wrong kind can lead to one: the verifier has
    checked everything else.
    """
    if isinstance(error, IreeError):
        raise error
    if isinstance(error, RecursionError):
        raise VmError(12, cause=f"Python's limit is {sys.getrecursionlimit()} frames") from None
    if isinstance(error, MemoryError):
        raise VmError(11, "the machine is out of memory", cause=str(error) or None) from None
    raise VmError(9, f"{type(error).__name__}: {error}") from error


def _trace(text: str) -> None:
    print(text, file=sys.stderr)


__all__ = ["BytecodeModule", "NativeModule", "Provider", "StateLock", "run"]
