"""ONNX's messages: the bytes of a model -> Python objects, the weights left where they lie.

The wire format of protobuf is read directly. The protobuf library would copy every weight, and importing it
and ``onnx`` takes longer than reading a usual model does. A message class lists the fields that matter here;
all others (documentation, metadata, what shape inference left) are skipped. A field that is missing has the
default of its class. Data of tensors is not read: its fields say at which bytes it lies.

Damage of any kind ends in an OnnxError 3, never in another exception.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

from iree_input_onnx.errors import DAMAGED, OnnxError

M = TypeVar("M", bound="Message")

MAX_DEPTH = 100
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_HINT = "fetch or export the model again"

INT, FLOAT, TEXT, BYTES, DATA = "int", "float", "text", "bytes", "data"
"""What a field holds, if not a message; ``DATA`` is not read."""
_WIRE = {INT: _VARINT, FLOAT: _FIXED32}
_DATA_WIRES = {"float_data": _FIXED32, "double_data": _FIXED64, "int32_data": _VARINT, "int64_data": _VARINT}


class Data(NamedTuple):
    """Bytes, and how many lie before them in what was read."""

    offset: int
    view: memoryview


class Field(NamedTuple):
    """How the values under a key become an attribute; ``kind`` is one of the above or a message class."""

    name: str
    kind: Any
    repeated: bool


class Message:
    """What all messages have. Attributes are there once they were read; the class holds the defaults."""

    fields: ClassVar[dict[int, Field]] = {}
    """By key: number and wire type."""
    origin: Any = None
    """The bytes that the message was read from, or the protobuf message that it stands for."""

    def has(self, name: str) -> bool:
        """Whether field ``name`` was given."""
        return name in self.__dict__

    @classmethod
    def read(cls: type[M], view: memoryview) -> M:
        """The message that ``view`` holds. Raises OnnxError 3."""
        message = cls()
        message.origin = view
        _read(view, 0, len(view), message, 0)
        return message

    @classmethod
    def of(cls: type[M], proto: Any) -> M:
        """What stands for a message of the protobuf library. Data of tensors stays there."""
        message = cls()
        message.origin = proto
        for name, kind, repeated in cls.fields.values():
            if kind is DATA or not (len(getattr(proto, name)) if repeated else proto.HasField(name)):
                continue
            value = getattr(proto, name)
            if isinstance(kind, type) and issubclass(kind, Message):
                value = [kind.of(v) for v in value] if repeated else kind.of(value)
            elif repeated:
                value = list(value)
            message.__dict__[name] = value
        return message


def _fields(*rows: tuple[int, str, Any], repeated: Sequence[tuple[int, str, Any]] = ()) -> dict[int, Field]:
    """The table of a class from (number, name, kind); repeated numbers may also come packed."""
    table: dict[int, Field] = {}
    for number, name, kind in rows:
        table[number << 3 | _WIRE.get(kind, _LENGTH)] = Field(name, kind, False)
        if name in _DATA_WIRES:
            table[number << 3 | _DATA_WIRES[name]] = Field(name, kind, False)
    for number, name, kind in repeated:
        for wire in {_WIRE.get(kind, _LENGTH), _LENGTH}:
            table[number << 3 | wire] = Field(name, kind, True)
    return table


class Entry(Message):
    """StringStringEntryProto."""

    key: str = ""
    value: str = ""
    fields = _fields((1, "key", TEXT), (2, "value", TEXT))


class OperatorSet(Message):
    """OperatorSetIdProto."""

    domain: str = ""
    version: int = 0
    fields = _fields((1, "domain", TEXT), (2, "version", INT))


class Tensor(Message):
    """TensorProto."""

    name: str = ""
    data_type: int = 0
    data_location: int = 0
    dims: Sequence[int] = ()
    external_data: Sequence[Entry] = ()
    raw_data: Data = Data(0, memoryview(b""))
    scattered: bool = False
    """Elements lie in more than one place."""
    fields = _fields(
        (2, "data_type", INT),
        (3, "segment", BYTES),
        (8, "name", TEXT),
        (14, "data_location", INT),
        (9, "raw_data", DATA),
        (4, "float_data", DATA),
        (5, "int32_data", DATA),
        (7, "int64_data", DATA),
        (10, "double_data", DATA),
        repeated=[(1, "dims", INT), (13, "external_data", Entry)],
    )


class SparseTensor(Message):
    """SparseTensorProto."""

    values: Tensor = Tensor()
    indices: Tensor = Tensor()
    dims: Sequence[int] = ()
    fields = _fields((1, "values", Tensor), (2, "indices", Tensor), repeated=[(3, "dims", INT)])


class Dimension(Message):
    """TensorShapeProto.Dimension."""

    dim_value: int = 0
    dim_param: str = ""
    fields = _fields((1, "dim_value", INT), (2, "dim_param", TEXT))


class Shape(Message):
    """TensorShapeProto."""

    dim: Sequence[Dimension] = ()
    fields = _fields(repeated=[(1, "dim", Dimension)])


class TensorType(Message):
    """TypeProto.Tensor."""

    elem_type: int = 0
    shape: Shape = Shape()
    fields = _fields((1, "elem_type", INT), (2, "shape", Shape))


class OtherType(Message):
    """The other types; what they hold is not read."""


class Type(Message):
    """TypeProto: one of its fields is given."""

    tensor_type: TensorType = TensorType()
    fields = _fields(
        (1, "tensor_type", TensorType),
        (4, "sequence_type", OtherType),
        (5, "map_type", OtherType),
        (7, "opaque_type", OtherType),
        (8, "sparse_tensor_type", OtherType),
        (9, "optional_type", OtherType),
    )

    @property
    def kind(self) -> str:
        """The name of the field that is given, empty without one."""
        return next((field.name for field in self.fields.values() if self.has(field.name)), "")


class ValueInfo(Message):
    """ValueInfoProto."""

    name: str = ""
    type: Type = Type()
    fields = _fields((1, "name", TEXT), (2, "type", Type))


class Graph(Message):
    """GraphProto."""

    name: str = ""
    node: Sequence[Node] = ()
    initializer: Sequence[Tensor] = ()
    sparse_initializer: Sequence[SparseTensor] = ()
    input: Sequence[ValueInfo] = ()
    output: Sequence[ValueInfo] = ()


class Attribute(Message):
    """AttributeProto."""

    name: str = ""
    ref_attr_name: str = ""
    type: int = 0
    f: float = 0.0
    i: int = 0
    s: bytes = b""
    t: Tensor = Tensor()
    g: Graph = Graph()
    tp: Type = Type()
    sparse_tensor: SparseTensor = SparseTensor()
    floats: Sequence[float] = ()
    ints: Sequence[int] = ()
    strings: Sequence[bytes] = ()
    tensors: Sequence[Tensor] = ()
    graphs: Sequence[Graph] = ()
    type_protos: Sequence[Type] = ()
    sparse_tensors: Sequence[SparseTensor] = ()
    fields = _fields(
        (1, "name", TEXT),
        (21, "ref_attr_name", TEXT),
        (20, "type", INT),
        (2, "f", FLOAT),
        (3, "i", INT),
        (4, "s", BYTES),
        (5, "t", Tensor),
        (6, "g", Graph),
        (14, "tp", Type),
        (22, "sparse_tensor", SparseTensor),
        repeated=[
            (7, "floats", FLOAT),
            (8, "ints", INT),
            (9, "strings", BYTES),
            (10, "tensors", Tensor),
            (11, "graphs", Graph),
            (15, "type_protos", Type),
            (23, "sparse_tensors", SparseTensor),
        ],
    )


class Node(Message):
    """NodeProto."""

    name: str = ""
    op_type: str = ""
    domain: str = ""
    overload: str = ""
    input: Sequence[str] = ()
    output: Sequence[str] = ()
    attribute: Sequence[Attribute] = ()
    fields = _fields(
        (3, "name", TEXT),
        (4, "op_type", TEXT),
        (7, "domain", TEXT),
        (8, "overload", TEXT),
        repeated=[(1, "input", TEXT), (2, "output", TEXT), (5, "attribute", Attribute)],
    )


Graph.fields = _fields(
    (2, "name", TEXT),
    repeated=[
        (1, "node", Node),
        (5, "initializer", Tensor),
        (15, "sparse_initializer", SparseTensor),
        (11, "input", ValueInfo),
        (12, "output", ValueInfo),
    ],
)


class Function(Message):
    """FunctionProto."""

    name: str = ""
    domain: str = ""
    overload: str = ""
    input: Sequence[str] = ()
    output: Sequence[str] = ()
    node: Sequence[Node] = ()
    opset_import: Sequence[OperatorSet] = ()
    attribute_proto: Sequence[Attribute] = ()
    fields = _fields(
        (1, "name", TEXT),
        (10, "domain", TEXT),
        (13, "overload", TEXT),
        repeated=[
            (4, "input", TEXT),
            (5, "output", TEXT),
            (7, "node", Node),
            (9, "opset_import", OperatorSet),
            (11, "attribute_proto", Attribute),
        ],
    )


class Model(Message):
    """ModelProto."""

    ir_version: int = 0
    graph: Graph = Graph()
    opset_import: Sequence[OperatorSet] = ()
    functions: Sequence[Function] = ()
    fields = _fields(
        (1, "ir_version", INT),
        (7, "graph", Graph),
        repeated=[(8, "opset_import", OperatorSet), (25, "functions", Function)],
    )


# -- the wire format -------------------------------------------------------------------------


def _damaged(position: int, cause: str) -> OnnxError:
    return OnnxError(DAMAGED, f"at byte {position}", cause=cause, hint=_HINT)


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


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def integers(view: memoryview, start: int, end: int) -> list[int]:
    """The numbers that are packed between two bytes. Raises OnnxError 3."""
    values = []
    while start < end:
        value, start = _varint(view, start, end)
        values.append(_signed(value))
    return values


def _floats(view: memoryview, start: int, end: int) -> tuple[float, ...]:
    if (end - start) % 4:
        raise _damaged(start, "the data ends inside a number")
    return struct.unpack(f"<{(end - start) // 4}f", view[start:end])


def _read(view: memoryview, start: int, end: int, message: Message, depth: int) -> None:
    """Set the attributes of ``message`` from the bytes between ``start`` and ``end`` of ``view``."""
    if depth > MAX_DEPTH:
        raise _damaged(start, "messages nest too deeply")
    fields = message.fields
    values = message.__dict__
    position = start
    while position < end:
        begin = position
        key = view[position]
        position += 1
        if key > 0x7F:
            key, position = _varint(view, begin, end)
        wire = key & 7
        field = fields.get(key)
        value: Any
        if wire == _LENGTH:
            length, position = _varint(view, position, end)
            body, position = position, position + length
            if position > end:
                raise _damaged(begin, f"a field of {length} bytes ends {position - end} bytes after the data")
            if field is None:
                continue
            kind = field.kind
            if kind is TEXT:
                try:
                    value = str(view[body:position], "utf-8")
                except UnicodeDecodeError:
                    cause = f"{type(message).__name__}.{field.name} is not UTF-8 text"
                    raise _damaged(begin, cause) from None
            elif kind is BYTES:
                value = bytes(view[body:position])
            elif kind is DATA:
                value = Data(body, view[body:position])
                if field.name in values and field.name in _DATA_WIRES:
                    values["scattered"] = True
            elif kind is INT:
                values.setdefault(field.name, []).extend(integers(view, body, position))
                continue
            elif kind is FLOAT:
                values.setdefault(field.name, []).extend(_floats(view, body, position))
                continue
            else:
                part = view[body:position]
                begun = None if field.repeated else values.get(field.name)
                # A message that comes in parts is the sum of them.
                value = kind() if begun is None else begun
                value.origin = part if begun is None else memoryview(bytes(begun.origin) + bytes(part))
                _read(view, body, position, value, depth + 1)
        elif wire == _VARINT:
            value, position = _varint(view, position, end)
            value = _signed(value)
        elif wire in (_FIXED32, _FIXED64):
            body, position = position, position + (4 if wire == _FIXED32 else 8)
            if position > end:
                raise _damaged(begin, "the data ends inside a number")
            value = None if field is None else struct.unpack_from("<f", view, body)[0]
        else:
            raise _damaged(begin, f"unknown wire type {wire}")
        if field is None:
            continue
        if field.repeated:
            values.setdefault(field.name, []).append(value)
        elif field.kind is DATA and wire != _LENGTH:
            values["scattered"] = True
        else:
            values[field.name] = value
