"""Element types: MLIR name <-> numpy dtype <-> bits; one table for compiler and runtime.

Types numpy lacks (bf16, fp8, sub-byte ints) come from ml-dtypes when it is installed; without
it they keep their size and are carried as unsigned integers of the same width.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from iree_base.errors import PluginError


class ElementType:
    """One element type. ``bits`` is its packed width; ``kind`` is ``i`` (signless or signed integer), ``u``
    (unsigned), ``f`` (float), ``b`` (boolean) or ``c`` (complex). There is one object per type.
    """

    def __init__(self, name: str, bits: int, dtype: np.dtype[Any] | tuple[str, type[Any]], kind: str) -> None:
        self.name = name
        self.bits = bits
        self.kind = kind
        self._source = dtype

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The numpy form (one element a byte if sub-byte). ml-dtypes is imported for the types it owns only
        when one of them is asked for.
        """
        if isinstance(self._source, np.dtype):
            return self._source
        name, carrier = self._source
        try:
            import ml_dtypes
        except ImportError:  # run-only installs may do without
            return np.dtype(carrier)
        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found

    @property
    def bytes(self) -> int:
        """Bytes one element takes in a buffer (sub-byte types: at least 1)."""
        return max(1, self.bits // 8)

    def __reduce__(self) -> tuple[Any, ...]:
        return element_type, (self.name,)

    def __repr__(self) -> str:
        return f"ElementType({self.name})"


def _extra(name: str, carrier: type[Any]) -> tuple[str, type[Any]]:
    """A type of ml-dtypes, and what carries it where that is not installed."""
    return name, carrier


_ROWS: tuple[tuple[str, int, Any, str], ...] = (
    ("i1", 8, np.dtype(np.bool_), "b"),
    ("i8", 8, np.dtype(np.int8), "i"),
    ("i16", 16, np.dtype(np.int16), "i"),
    ("i32", 32, np.dtype(np.int32), "i"),
    ("i64", 64, np.dtype(np.int64), "i"),
    ("ui8", 8, np.dtype(np.uint8), "u"),
    ("ui16", 16, np.dtype(np.uint16), "u"),
    ("ui32", 32, np.dtype(np.uint32), "u"),
    ("ui64", 64, np.dtype(np.uint64), "u"),
    ("index", 64, np.dtype(np.int64), "i"),
    ("f16", 16, np.dtype(np.float16), "f"),
    ("bf16", 16, _extra("bfloat16", np.uint16), "f"),
    ("f32", 32, np.dtype(np.float32), "f"),
    ("f64", 64, np.dtype(np.float64), "f"),
    ("f8E4M3FN", 8, _extra("float8_e4m3fn", np.uint8), "f"),
    ("f8E5M2", 8, _extra("float8_e5m2", np.uint8), "f"),
    ("f8E4M3FNUZ", 8, _extra("float8_e4m3fnuz", np.uint8), "f"),
    ("f8E5M2FNUZ", 8, _extra("float8_e5m2fnuz", np.uint8), "f"),
    ("i4", 4, _extra("int4", np.int8), "i"),
    ("ui4", 4, _extra("uint4", np.uint8), "u"),
    ("complex<f32>", 64, np.dtype(np.complex64), "c"),
    ("complex<f64>", 128, np.dtype(np.complex128), "c"),
)

ELEMENT_TYPES: dict[str, ElementType] = {row[0]: ElementType(*row) for row in _ROWS}
_PLAIN = {
    row[2]: ELEMENT_TYPES[row[0]]
    for row in reversed(_ROWS)
    if row[0] != "index" and type(row[2]) is not tuple
}
"""The element types of numpy's own dtypes."""
_EXTRA: dict[np.dtype[Any], ElementType] = {}


def element_type(name: str) -> ElementType:
    """The row of an MLIR element type name. Raises PluginError 5 for an unknown one."""
    try:
        return ELEMENT_TYPES[name]
    except KeyError:
        raise PluginError(5, name, hint="one of " + ", ".join(ELEMENT_TYPES)) from None


def from_dtype(dtype: np.dtype[Any] | type[Any]) -> ElementType:
    """The row of a numpy dtype (byte order ignored). Raises PluginError 5 for an unknown one."""
    key = np.dtype(dtype).newbyteorder("=")
    found = _PLAIN.get(key)
    if found is not None:
        return found
    if not _EXTRA:
        _EXTRA.update((row.dtype, row) for row in ELEMENT_TYPES.values())
    try:
        return _EXTRA[key]
    except KeyError:
        raise PluginError(5, str(key)) from None
