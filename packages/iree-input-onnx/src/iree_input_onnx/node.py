"""``Node``: one ONNX node, checked against its schema, with typed access to attributes and inputs."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import AttributeProto

from iree_base.records import record
from iree_input_onnx.errors import INVALID_NODE, OnnxError, Unsupported
from iree_input_onnx.values import Tensor

_KINDS = {
    AttributeProto.INT: "i",
    AttributeProto.FLOAT: "f",
    AttributeProto.STRING: "s",
    AttributeProto.INTS: "ints",
    AttributeProto.FLOATS: "floats",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSOR: "t",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPH: "g",
    AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors",
    AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.TYPE_PROTOS: "type_protos",
}


def attribute_value(attribute: Any) -> Any:
    """The payload of an AttributeProto. Raises ValueError for an unknown type or text that is not UTF-8."""
    field = _KINDS.get(attribute.type)
    if field is None:
        raise ValueError(f"attribute '{attribute.name}' has unknown type {attribute.type}")
    value = getattr(attribute, field)
    if field == "s":
        return value.decode("utf-8")
    if field == "strings":
        return [s.decode("utf-8") for s in value]
    return list(value) if field in ("ints", "floats") else value


@record(frozen=True)
class AttributeSchema:
    """``type`` is an ``AttributeProto.AttributeType``; ``default`` None where there is none."""

    type: int
    required: bool
    default: Any


class Schema:
    """What a node is checked against: one definition of an op. The library's ``definition`` makes each of its
    attributes anew when it is asked, so they are read once.
    """

    def __init__(self, definition: Any) -> None:
        self.definition = definition
        self.since_version: int = definition.since_version
        self.min_input: int = definition.min_input
        self.max_input: int = definition.max_input
        self.max_output: int = definition.max_output
        self.has_body = bool(definition.has_function or definition.has_context_dependent_function)
        """The standard gives a function body."""
        self.attributes: dict[str, AttributeSchema] = {}
        for name, attribute in definition.attributes.items():
            given = attribute.default_value
            default = None if given.type == AttributeProto.UNDEFINED else attribute_value(given)
            self.attributes[name] = AttributeSchema(int(attribute.type.value), attribute.required, default)
        self.required = [name for name, attribute in self.attributes.items() if attribute.required]


@functools.cache
def find_schema(op_type: str, domain: str, opset: int) -> Schema | None:
    """The schema in force for an op in an opset version, or None."""
    try:
        return Schema(onnx.defs.get_schema(op_type, opset, domain))
    except onnx.defs.SchemaError:
        return None


class Node:
    """A node being lowered. ``since`` is the version of its definition, ``opset`` the model's."""

    def __init__(
        self,
        proto: Any,
        label: str,
        schema: Schema | None,
        opset: int,
        attributes: Mapping[str, Any],
        inputs: Sequence[Tensor | None],
    ) -> None:
        self.proto = proto
        self.op_type: str = proto.op_type
        self.label = label
        """The node's name, or what stands for it: op type and first output."""
        self.schema = schema
        self.opset = opset
        self.since: int = schema.since_version if schema is not None else opset
        self.attributes = attributes
        self.inputs = list(inputs)

    @property
    def n_outputs(self) -> int:
        """How many outputs are used; trailing unnamed ones do not count."""
        names = list(self.proto.output)
        while names and not names[-1]:
            names.pop()
        return len(names)

    def wants(self, output: int) -> bool:
        """True when output ``output`` has a name."""
        return output < len(self.proto.output) and bool(self.proto.output[output])

    def error(self, cause: str) -> OnnxError:
        """The node is invalid."""
        return OnnxError(INVALID_NODE, f"{self.op_type}: {cause}", source=self.label)

    # -- inputs ------------------------------------------------------------------------------

    def optional(self, index: int) -> Tensor | None:
        """Input ``index``, None when absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def input(self, index: int) -> Tensor:
        """Input ``index``, which must be there."""
        t = self.optional(index)
        if t is None:
            raise self.error(f"input {index} is missing")
        return t

    @property
    def variadic(self) -> list[Tensor]:
        """All inputs, none of which may be missing."""
        return [self.input(i) for i in range(len(self.inputs))]

    # -- attributes --------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute as Python data; its schema's default, then ``default``, when absent."""
        if name in self.attributes:
            return self.attributes[name]
        if self.schema is not None and name in self.schema.attributes:
            given = self.schema.attributes[name].default
            if given is not None:
                return list(given) if isinstance(given, list) else given
        return default

    def int(self, name: str, default: Any = None) -> Any:
        value = self.get(name, default)
        if not isinstance(value, int):
            raise self.error(f"attribute '{name}' must be an integer")
        return value

    def float(self, name: str, default: Any = None) -> Any:
        value = self.get(name, default)
        if not isinstance(value, float):
            raise self.error(f"attribute '{name}' must be a float")
        return value

    def string(self, name: str, default: Any = None) -> Any:
        value = self.get(name, default)
        if not isinstance(value, str):
            raise self.error(f"attribute '{name}' must be a string")
        return value

    def ints(self, name: str, default: Sequence[Any] | None = None) -> Any:
        """A list of integers; None when absent and no default is given."""
        value = self.get(name, default)
        if value is not None and not all(isinstance(v, int) for v in value):
            raise self.error(f"attribute '{name}' must be a list of integers")
        return value if value is None else list(value)


def check_schema(node: Node, schema: Schema) -> None:
    """Number of inputs and outputs, names and types of attributes as the schema says.

    Raises OnnxError 5.
    """
    n_inputs = len(node.proto.input)
    if not schema.min_input <= n_inputs <= schema.max_input:
        raise node.error(f"{n_inputs} inputs, expected {schema.min_input} to {schema.max_input}")
    if len(node.proto.output) > schema.max_output or not node.proto.output:
        raise node.error(f"{len(node.proto.output)} outputs")
    declared = schema.attributes
    for attribute in node.proto.attribute:
        wanted = declared.get(attribute.name)
        if wanted is None:
            raise node.error(f"unknown attribute '{attribute.name}'")
        if not attribute.ref_attr_name and wanted.type != attribute.type:
            raise node.error(f"attribute '{attribute.name}' has the wrong type")
    for name in schema.required:
        if name not in node.attributes:
            raise node.error(f"attribute '{name}' is missing")


__all__ = ["Node", "Unsupported", "attribute_value", "check_schema", "find_schema"]
