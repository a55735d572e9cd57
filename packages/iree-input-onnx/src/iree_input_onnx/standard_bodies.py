"""The function bodies that the ONNX standard gives for some operators; the only part that asks ``onnx``.

Imported when a model has an op that nothing here lowers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx.helper

from iree_input_onnx.elements import to_code
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.messages import Function, Graph, Message, SparseTensor, Type
from iree_input_onnx.messages import Tensor as TensorMessage
from iree_input_onnx.node import Node
from iree_input_onnx.values import Tensor

_PROTOS: dict[type[Message], Any] = {
    TensorMessage: onnx.TensorProto,
    SparseTensor: onnx.SparseTensorProto,
    Graph: onnx.GraphProto,
    Type: onnx.TypeProto,
}


def standard_body(node: Node, inputs: Sequence[Tensor | None]) -> Function:
    """The function body that the standard gives for a node. Raises Unsupported without one."""
    try:
        schema = onnx.defs.get_schema(node.op_type, node.opset, node.proto.domain)
    except onnx.defs.SchemaError:
        raise Unsupported("the installed onnx does not know it") from None
    data = b""
    if schema.has_function:
        versions = list(schema.function_opset_versions)
        fitting = [v for v in versions if v <= node.opset] or versions[:1]
        data = schema.get_function_with_opset_version(max(fitting))
    elif schema.has_context_dependent_function:
        types = [b"" if t is None else _type_proto(t).SerializeToString() for t in inputs]
        versions = list(schema.context_dependent_function_opset_versions)
        fitting = [v for v in versions if v <= node.opset] or versions[:1]
        data = schema.get_context_dependent_function_with_opset_version(
            max(fitting), _resolved(node).SerializeToString(), types
        )
    if not data:
        raise Unsupported("the standard gives no body for these types")
    return Function.read(memoryview(data))


def _resolved(node: Node) -> Any:
    """The node as a NodeProto, the attributes that it takes from an enclosing function written out."""
    proto = _proto(onnx.NodeProto, node.proto)
    given = list(proto.attribute)
    del proto.attribute[:]
    for attribute in given:
        if not attribute.ref_attr_name:
            proto.attribute.append(attribute)
        elif attribute.name in node.attributes:
            value = node.attributes[attribute.name]
            if isinstance(value, Message):
                value = _proto(_PROTOS[type(value)], value)
            elif isinstance(value, list):
                value = [_proto(_PROTOS[type(v)], v) if isinstance(v, Message) else v for v in value]
            proto.attribute.append(
                onnx.helper.make_attribute(attribute.name, value, attr_type=attribute.type)
            )
    return proto


def _proto(kind: Any, message: Message) -> Any:
    """A new message of the protobuf library with what ``message`` was made from."""
    proto = kind()
    if isinstance(message.origin, memoryview):
        proto.ParseFromString(bytes(message.origin))
    else:
        proto.CopyFrom(message.origin)
    return proto


def _type_proto(t: Tensor) -> Any:
    shape = [d if isinstance(d, int) else None for d in t.shape]
    return onnx.helper.make_tensor_type_proto(to_code(t.element), shape)


__all__ = ["standard_body"]
