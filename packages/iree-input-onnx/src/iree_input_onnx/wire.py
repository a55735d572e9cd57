"""Protobuf wire format -> the same model without its large ``raw_data``, and where that data lies.

Parsing a model with the protobuf library copies every weight. Here the file (a memory map) is walked by
message structure alone: a ``TensorProto.raw_data`` of at least ``MIN_BYTES`` (or packed ``float_data``,
``double_data``, which have the same layout) is cut out and replaced by an external-data reference to the file
itself (location ``SELF``, offset, length), everything else is kept byte for byte. Only messages longer than
``MIN_BYTES`` are entered, so the cost follows the number of large ones.
"""

from __future__ import annotations

from iree_input_onnx.errors import DAMAGED, OnnxError

MIN_BYTES = 1024
SELF = "\x01self"
"""Location of data inside the model file; no file system path starts with this character."""

MAX_DEPTH = 100

# message -> field number -> message of the field, for the paths that lead to tensors
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph"},
    "Tensor": {},
}
_DATA = (9, 4, 10)  # raw_data, float_data, double_data of TensorProto
_VARINT, _FIXED64, _LENGTH, _GROUP_START, _GROUP_END, _FIXED32 = range(6)


def _damaged(position: int, cause: str) -> OnnxError:
    return OnnxError(DAMAGED, f"at byte {position}", cause=cause, hint="fetch or export the model again")


def _varint(view: memoryview, position: int, end: int) -> tuple[int, int]:
    """The number at ``position`` and the position after it."""
    value = shift = 0
    while True:
        if position >= end:
            raise _damaged(position, "the data ends inside a number")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise _damaged(position, "a number has too many digits")


def encode_varint(value: int) -> bytes:
    """``value`` (not negative) in the wire format."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return encode_varint(number << 3 | _LENGTH) + encode_varint(len(payload)) + payload


def _reference(offset: int, length: int) -> bytes:
    """The ``TensorProto`` fields that point at bytes of the model file."""
    entries = (("location", SELF), ("offset", str(offset)), ("length", str(length)))
    pairs = b"".join(
        _field(13, _field(1, key.encode()) + _field(2, value.encode())) for key, value in entries
    )
    return pairs + encode_varint(14 << 3 | _VARINT) + b"\x01"


def strip(view: memoryview) -> bytes:
    """The serialized ModelProto ``view`` with large ``raw_data`` replaced by references into ``view``.

    Raises OnnxError 3 when the nesting of lengths does not work out.
    """
    return b"".join(_strip(view, 0, len(view), "Model", 0))


def _strip(view: memoryview, start: int, end: int, message: str, depth: int) -> list[bytes]:
    if depth > MAX_DEPTH:
        raise _damaged(start, "messages nest too deeply")
    children = _CHILDREN[message]
    pieces: list[bytes] = []
    kept = position = start  # bytes from `kept` on are copied when the next change comes
    while position < end:
        begin = position
        key, position = _varint(view, position, end)
        wire = key & 7
        if wire == _VARINT:
            _, position = _varint(view, position, end)
        elif wire == _LENGTH:
            length, position = _varint(view, position, end)
            body, position = position, position + length
            if position > end:
                raise _damaged(begin, f"a field of {length} bytes ends {position - end} bytes after the data")
            if length < MIN_BYTES:
                continue
            if message == "Tensor":
                if key >> 3 not in _DATA:
                    continue
                replaced = _reference(body, length)
            else:
                child = children.get(key >> 3)
                if child is None:
                    continue
                inner = b"".join(_strip(view, body, position, child, depth + 1))
                if len(inner) == length:
                    continue
                replaced = _field(key >> 3, inner)
            pieces += (bytes(view[kept:begin]), replaced)
            kept = position
        elif wire == _FIXED64:
            position += 8
        elif wire == _FIXED32:
            position += 4
        elif wire not in (_GROUP_START, _GROUP_END):  # groups: their fields follow in line
            raise _damaged(begin, f"unknown wire type {wire}")
        if position > end:
            raise _damaged(begin, "the data ends inside a field")
    pieces.append(bytes(view[kept:end]))
    return pieces
