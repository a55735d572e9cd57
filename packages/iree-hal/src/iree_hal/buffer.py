"""Buffers: a range of device memory, here always host memory.

A buffer either owns its bytes (:class:`~iree_hal.allocator.Allocator`) or borrows those of an object it
keeps alive (:meth:`Buffer.wrap`). It never copies. Contents of fresh buffers are undefined.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_hal.errors import ACCESS, BAD_ARGUMENTS, CLOSED, OUT_OF_RANGE, HalError
from iree_hal.executor.structs import INDIRECT, READ_ONLY
from iree_hal.storage import ARRAY_DATA_OFFSET, Bytes


class Buffer:
    """``nbytes`` bytes. ``row`` is its line of the binding table, ready for the executor.

    Sharing between threads is allowed; ordering reads and writes is the owner's part.
    """

    __slots__ = ("__weakref__", "_array", "guards", "nbytes", "readonly", "row")

    def __init__(self, array: Bytes, *, readonly: bool = False) -> None:
        """Cover ``array``: one-dimensional, contiguous bytes."""
        self._array: Bytes | None = array
        self.nbytes = array.nbytes
        self.readonly = readonly or not array.flags.writeable
        self.guards: tuple[Bytes, Bytes] | None = None
        """Bytes before and after that nobody may change; only with verification."""
        flags = READ_ONLY if self.readonly else 0
        if ARRAY_DATA_OFFSET:
            self.row = (id(array), self.nbytes | flags | INDIRECT)
        else:
            self.row = (int(array.ctypes.data), self.nbytes | flags)

    @classmethod
    def wrap(cls, source: Any, *, readonly: bool = False) -> Buffer:
        """Borrow the bytes of a C-contiguous array or of any object with the buffer protocol.

        Raises HalError BAD_ARGUMENTS for memory that is not C-contiguous. Read-only sources give
        read-only buffers.
        """
        try:
            array = source if isinstance(source, np.ndarray) else np.frombuffer(source, np.uint8)
            if not array.flags.c_contiguous:
                raise ValueError("it is not C-contiguous")
            flat = array.reshape(-1).view(np.uint8) if array.dtype != np.uint8 or array.ndim != 1 else array
        except (TypeError, ValueError, BufferError) as error:
            name = type(source).__name__
            raise HalError(BAD_ARGUMENTS, f"a buffer over {name}", cause=str(error)) from None
        return cls(flat, readonly=readonly)

    @property
    def array(self) -> Bytes:
        """The bytes as a numpy view. Raises HalError CLOSED after :meth:`close`."""
        if self._array is None:
            raise HalError(CLOSED, "buffer")
        return self._array

    @property
    def address(self) -> int:
        """Where the first byte is. Raises HalError CLOSED."""
        return int(self.array.ctypes.data)

    def map(self, access: str = "r", offset: int = 0, length: int | None = None) -> memoryview:
        """A view of ``length`` bytes (the rest) from ``offset``; ``access`` is ``r``, ``w`` or ``rw``.

        The view stays valid for as long as it is referenced. Raises HalError ACCESS when writing a
        read-only buffer, OUT_OF_RANGE outside of it, CLOSED.
        """
        if access not in ("r", "w", "rw"):
            raise HalError(BAD_ARGUMENTS, f"access '{access}'", hint="one of r, w, rw")
        if "w" in access and self.readonly:
            raise HalError(ACCESS, "mapping a read-only buffer for writing")
        size = self.nbytes - offset if length is None else length
        self.check_range(offset, size)
        view = self.array.data[offset : offset + size]
        return view if "w" in access else view.toreadonly()

    def subspan(self, offset: int, length: int) -> Buffer:
        """``length`` bytes from ``offset`` as a buffer that keeps this memory alive. Raises OUT_OF_RANGE."""
        self.check_range(offset, length)
        return Buffer(self.array[offset : offset + length], readonly=self.readonly)

    def check_range(self, offset: int, length: int) -> None:
        """Raises HalError OUT_OF_RANGE unless ``[offset, offset + length)`` lies inside."""
        if offset < 0 or length < 0 or offset + length > self.nbytes:
            raise HalError(OUT_OF_RANGE, f"bytes {offset} to {offset + length} of {self.nbytes}")

    def close(self) -> None:
        """Drop the memory; views and arrays made before keep it. Closing twice is allowed."""
        self._array = None
        self.nbytes = 0
        self.guards = None
        self.row = (0, 0)

    def __repr__(self) -> str:
        return f"<Buffer {self.nbytes} bytes{' read-only' if self.readonly else ''}>"
