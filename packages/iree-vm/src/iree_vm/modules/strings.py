"""The VM module ``strings``: text in host buffers (UTF-8), for messages and host-side programs."""

from __future__ import annotations

from typing import Any

from iree_vm.errors import VmError
from iree_vm.native import NativeModule
from iree_vm.values import VmBuffer

MODULE = NativeModule("strings", version=1)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, VmBuffer):
        raise VmError(9, "wanted text in a buffer")
    return bytes(value)


def _buffer(data: bytes) -> VmBuffer:
    return VmBuffer(memoryview(bytearray(data)))


@MODULE.export("concat", "([ref]...) -> (ref)")
def concat(parts: tuple[Any, ...]) -> VmBuffer:
    """All parts in one new buffer."""
    return _buffer(b"".join(map(_bytes, parts)))


@MODULE.export("format.i64", "(i64) -> (ref)")
def format_i64(value: int) -> VmBuffer:
    """Decimal digits."""
    return _buffer(str(value).encode())


@MODULE.export("format.f64", "(f64) -> (ref)")
def format_f64(value: float) -> VmBuffer:
    """The shortest digits that read back as the same number."""
    return _buffer(repr(value).encode())


@MODULE.export("print", "(ref)")
def print_(text: Any) -> None:
    """Write a line to stdout."""
    print(_bytes(text).decode("utf-8", "replace"))
