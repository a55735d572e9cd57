"""The debug ladder: ``IREE_DEBUG=1..7`` and ``IREE_VERIFY=1``, also as context managers.

1 plugins and devices, 2 passes with times, 3 IR per phase, 4 IR after each changing pass,
5 LLVM/SPIR-V text, 6 VM trace, 7 assembly.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar

from iree_base.errors import PluginError

PLUGINS, PASSES, PHASES, IR, TARGET_TEXT, VM_TRACE, ASSEMBLY = range(1, 8)


def _environment(name: str) -> int:
    text = os.environ.get(name, "0") or "0"
    try:
        return int(text)
    except ValueError:
        raise PluginError(6, f"{name}={text}", hint=f"set {name} to a number") from None


_level: ContextVar[int | None] = ContextVar("iree_debug_level", default=None)
_verify: ContextVar[bool | None] = ContextVar("iree_verify", default=None)


def level() -> int:
    """The debug level in force."""
    value = _level.get()
    return _environment("IREE_DEBUG") if value is None else value


def at(minimum: int) -> bool:
    """True when the level in force reaches ``minimum``."""
    return level() >= minimum


def verifying() -> bool:
    """True when every stage checks itself: ``IREE_VERIFY=1`` or inside ``verify()``."""
    value = _verify.get()
    return bool(_environment("IREE_VERIFY")) if value is None else value


def log(minimum: int, text: str) -> None:
    """Write ``text`` to stderr when the level in force reaches ``minimum``."""
    if at(minimum):
        print(text, file=sys.stderr)


@contextlib.contextmanager
def debug(value: int) -> Iterator[None]:
    """Set the debug level for the block."""
    token = _level.set(value)
    try:
        yield
    finally:
        _level.reset(token)


@contextlib.contextmanager
def verify(value: bool = True) -> Iterator[None]:
    """Switch self-checking on (or off) for the block."""
    token = _verify.set(value)
    try:
        yield
    finally:
        _verify.reset(token)
