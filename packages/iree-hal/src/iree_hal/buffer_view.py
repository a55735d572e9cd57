"""Buffer views: a buffer with a shape and an element type; the door to numpy and DLPack.

Dense and row-major. Sub-byte integers are packed along the last dimension, low bits first, rows padded to
a byte (numpy holds one per byte). ``i1`` is one byte, 0 or 1, and is made so on the way in. Big-endian,
non-contiguous and read-only arrays are accepted; they are copied only when they must be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ELEMENT_TYPES, from_dtype
from iree_base.errors import PluginError
from iree_base.packed_rows import from_bytes, pack_rows, packed_bytes
from iree_hal.buffer import Buffer
from iree_hal.errors import ELEMENT_TYPE, SHAPE, HalError

Array = np.ndarray[Any, np.dtype[Any]]


def normalize(array: Array) -> Array:
    """``array`` itself when a kernel can read it in place, else a copy: C-contiguous, little-endian,
    aligned to its elements, booleans 0 or 1. Raises HalError ELEMENT_TYPE for dtypes without an element type.
    """
    dtype = array.dtype
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        array = np.require(array, requirements=("C", "A"))
    if array.dtype == np.bool_:
        bits = array.view(np.uint8)
        if array.size and bits.max() > 1:
            array = bits != 0
    return array


class BufferView:
    """Immutable; holds ``buffer``. Raises HalError SHAPE when the bytes do not suffice, ELEMENT_TYPE."""

    __slots__ = ("buffer", "element_type", "shape")

    def __init__(self, buffer: Buffer, shape: Sequence[int], element_type: str) -> None:
        if element_type not in ELEMENT_TYPES:
            raise HalError(ELEMENT_TYPE, f"'{element_type}'", hint="one of " + ", ".join(ELEMENT_TYPES))
        self.buffer = buffer
        self.shape = tuple(int(d) for d in shape)
        self.element_type = element_type
        if any(d < 0 for d in self.shape):
            raise HalError(SHAPE, f"negative dimension in {self.shape}")
        if self.nbytes > buffer.nbytes:
            raise HalError(
                SHAPE,
                f"{self.shape} of {element_type} needs {self.nbytes} bytes, the buffer has {buffer.nbytes}",
            )

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; the buffer may be longer."""
        return packed_bytes(self.shape, ELEMENT_TYPES[self.element_type])

    @classmethod
    def from_numpy(cls, array: Any) -> BufferView:
        """View ``array`` (or a sequence, or a DLPack exporter), borrowing its memory when it can be used
        in place (see :func:`normalize`). Raises HalError ELEMENT_TYPE.
        """
        if not isinstance(array, np.ndarray):
            array = cls._import(array)
        try:
            element = from_dtype(array.dtype)
        except PluginError:
            raise HalError(
                ELEMENT_TYPE, f"numpy {array.dtype}", hint="convert the array, for example to float32"
            ) from None
        shape = array.shape
        if element.bits < 8:
            data = pack_rows(array, element)
        else:
            data = normalize(array)
        return cls(Buffer.wrap(data), shape, element.name)

    @staticmethod
    def _import(source: Any) -> Array:
        if hasattr(source, "__dlpack__"):
            try:
                return np.from_dlpack(source)
            except (BufferError, RuntimeError, TypeError, ValueError) as error:
                raise HalError(
                    ELEMENT_TYPE, f"DLPack import from {type(source).__name__}", cause=str(error)
                ) from None
        return np.asarray(source)

    def to_numpy(self) -> Array:
        """The elements as an array: a view of the buffer (sub-byte types: a copy)."""
        element = ELEMENT_TYPES[self.element_type]
        data = self.buffer.array[: self.nbytes]
        if self.buffer.readonly:
            data = data.view()
            data.flags.writeable = False
        if data.ctypes.data % element.dtype.alignment:
            data = data.copy()
        return from_bytes(data, self.shape, element)

    def __dlpack__(self, **arguments: Any) -> Any:
        """The elements as a DLPack capsule that shares the memory."""
        return self.to_numpy().__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        """(kDLCPU, 0)."""
        return (1, 0)

    def __repr__(self) -> str:
        dims = "x".join([*map(str, self.shape), self.element_type])
        return f"<BufferView {dims}>"
