"""Element types as the i32 that bytecode carries: IREE's encoding, numerical type << 24 | bits.

Used by ``hal.buffer_view.assert``, ``hal.buffer_view.create`` and ``hal.result.alloca``.
"""

from __future__ import annotations

from iree_base.element_types import ELEMENT_TYPES, ElementType
from iree_vm.errors import VmError

_SIGNLESS, _UNSIGNED, _BOOLEAN = 0x10, 0x12, 0x13
_IEEE, _BRAIN, _COMPLEX = 0x21, 0x22, 0x23
_EXPLICIT = {
    "bf16": _BRAIN << 24 | 16,
    "f8E5M2": 0x24 << 24 | 8,
    "f8E4M3FN": 0x25 << 24 | 8,
    "f8E5M2FNUZ": 0x26 << 24 | 8,
    "f8E4M3FNUZ": 0x27 << 24 | 8,
}
_BY_KIND = {"i": _SIGNLESS, "u": _UNSIGNED, "b": _BOOLEAN, "f": _IEEE, "c": _COMPLEX}

CODES: dict[str, int] = {
    name: _EXPLICIT.get(name, _BY_KIND[row.kind] << 24 | row.bits)
    for name, row in ELEMENT_TYPES.items()
    if name != "index"
}
CODES["index"] = CODES["i64"]
_ROWS: dict[int, ElementType] = {code: ELEMENT_TYPES[name] for name, code in CODES.items() if name != "index"}


def code(name: str) -> int:
    """The code of an element type's name. Raises VmError 16."""
    try:
        return CODES[name]
    except KeyError:
        raise VmError(16, f"element type '{name}'", hint="one of " + ", ".join(CODES)) from None


def from_code(value: int) -> ElementType:
    """The element type of a code. Raises VmError 23."""
    row = _ROWS.get(value)
    if row is None:
        raise VmError(23, f"element type code {value:#x}")
    return row
