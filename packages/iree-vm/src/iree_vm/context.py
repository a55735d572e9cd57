"""Contexts: several modules linked together.

A module imports from those loaded before it, so links have no cycles. A module that others import from
cannot be unloaded before them. Every context has its own instances, hence its own globals.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from iree_vm.bytecode import encoding, verifier
from iree_vm.bytecode.program import Program
from iree_vm.errors import VmError
from iree_vm.module import BytecodeModule, Provider


class Context:
    """Loaded modules by name; load, call and unload may come from any thread."""

    def __init__(self, modules: Iterable[Provider | Program | bytes] = ()) -> None:
        self._modules: dict[str, Provider] = {}
        self._lock = threading.Lock()
        for module in modules:
            self.load(module)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the loaded modules, in load order."""
        return tuple(self._modules)

    def load(self, module: Provider | Program | bytes | memoryview) -> Provider:
        """Link a module: bytecode (bytes), an assembled program, or a provider written in Python.

        Runs the module's ``__init``. Raises VmError 1-3 for bad bytecode, 5 or 6 for imports, 13 if the name
        is taken; nothing stays loaded then.
        """
        program: Program | None = None
        if isinstance(module, Program):
            program = module
        elif isinstance(module, bytes | memoryview):
            program = encoding.decode(module)
        if program is not None:
            verifier.verify(program)
        name = program.name if program is not None else module.name  # type: ignore[union-attr]
        with self._lock:
            if name in self._modules:
                raise VmError(13, f"@{name}", hint="unload it first, or use another context")
            linked: Provider = BytecodeModule(program, self._modules) if program is not None else module  # type: ignore[assignment]
            self._modules[name] = linked
            return linked

    def module(self, name: str) -> Provider:
        """A loaded module. Raises VmError 18."""
        try:
            return self._modules[name]
        except KeyError:
            raise VmError(18, f"@{name}", cause="loaded: " + (", ".join(self._modules) or "none")) from None

    def call(self, function: str, *arguments: Any) -> Any:
        """Call ``module.function`` of a bytecode module with Python values."""
        module_name, _, name = function.partition(".")
        module = self.module(module_name)
        if not isinstance(module, BytecodeModule):
            raise VmError(7, f"@{function}", cause="the module is written in Python: call it there")
        return module.call(name, *arguments)

    def unload(self, name: str) -> None:
        """Remove a module. Raises VmError 15 while another imports from it; running calls finish."""
        with self._lock:
            module = self.module(name)
            users = [
                m.name for m in self._modules.values() if isinstance(m, BytecodeModule) and name in m.imported
            ]
            if users:
                raise VmError(
                    15, f"@{name}", cause="imported by " + ", ".join(users), hint="unload these first"
                )
            del self._modules[name]
            if isinstance(module, BytecodeModule):
                module.close()

    def close(self) -> None:
        """Unload everything, last loaded first."""
        for name in reversed(self.modules):
            self.unload(name)
