"""Modules written in Python, as import targets for bytecode.

::

    strings = NativeModule("strings", version=1)

    @strings.export("concat", "(ref, [ref]...) -> (ref)")
    def concat(separator, parts):
        ...

An i32 or i64 arrives and leaves as int, f32 and f64 as float, ref as any object (None is null); a variadic
segment arrives as a tuple of values, or of tuples when it has several types. Results are brought into their
type; a wrong number or kind of results, and any exception that is not a coded error, is VmError 17.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

from iree_vm.bytecode import numerics
from iree_vm.bytecode.translate import ImportTarget, Inline
from iree_vm.bytecode.types import Signature, parse_signature
from iree_vm.errors import VmError

_F = TypeVar("_F", bound=Callable[..., Any])

_INTO: dict[str, Callable[[Any], Any]] = {
    "i32": lambda value: numerics.wrap32(operator.index(value)),
    "i64": lambda value: numerics.wrap64(operator.index(value)),
    "f32": lambda value: numerics.f32(float(value)),
    "f64": float,
    "ref": lambda value: value,
}


def into_type(type_name: str, value: Any) -> Any:
    """A Python value as the VM holds it: ints wrapped, f32 rounded. Raises TypeError or ValueError."""
    return _INTO[type_name](value)


class NativeModule:
    """A named set of Python functions with VM signatures."""

    def __init__(self, name: str, version: int = 0) -> None:
        self.name = name
        self.version = version
        self.signatures: dict[str, Signature] = {}
        self._targets: dict[str, ImportTarget] = {}

    def export(
        self, name: str, signature: str | Signature, *, inline: Inline | None = None, trusted: bool = False
    ) -> Callable[[_F], _F]:
        """Decorator: make a Python function importable as ``<module>.<name>``.

        ``inline`` may expand calls into source (see ``translate.Inline``); a ``trusted`` function is called
        without the result checks.
        """
        parsed = parse_signature(signature) if isinstance(signature, str) else signature

        def register(function: _F) -> _F:
            if name in self._targets:
                raise VmError(16, f"function @{self.name}.{name} is there already")
            self.signatures[name] = parsed
            target = function if trusted else _checked(f"@{self.name}.{name}", function, parsed.results)
            self._targets[name] = ImportTarget(target, inline)
            return function

        return register

    def lookup(self, function: str) -> ImportTarget | None:
        return self._targets.get(function)


def _checked(name: str, function: Callable[..., Any], results: tuple[str, ...]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        try:
            value = function(*arguments)
            if len(results) == 1:
                return _INTO[results[0]](value)
            if not results:
                return None
            values = tuple(value)
            if len(values) != len(results):
                raise ValueError(f"{len(values)} results instead of {len(results)}")
            return tuple(_INTO[t](v) for t, v in zip(results, values, strict=True))
        except (VmError, RecursionError):
            raise
        except Exception as error:
            if hasattr(error, "code") and hasattr(error, "hint"):  # already a coded error
                raise
            raise VmError(17, name, cause=f"{type(error).__name__}: {error}") from error

    return call


__all__ = ["NativeModule", "into_type"]
