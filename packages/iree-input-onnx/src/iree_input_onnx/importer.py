"""ModelFile -> ``builtin.module`` with ``func.func @main`` on tensors.

Nodes are lowered one after the other by the table (``table.py``); an op without an entry is replaced by its
function body when the ONNX standard or the model has one. What cannot be lowered is collected, its outputs
poisoned, and after the last node one error lists it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import onnx

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import builtin, func
from iree_core_ir.ir.attributes import ArrayAttr, StringAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import NameLoc
from iree_input_onnx.carried import RanksDiffer
from iree_input_onnx.conditional import lower_if_and_rest
from iree_input_onnx.control_flow import LOWERINGS
from iree_input_onnx.dims import Expr
from iree_input_onnx.elements import onnx_name, storage_name, to_code
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import INVALID_GRAPH, UNSUPPORTED, OnnxError, Unsupported
from iree_input_onnx.node import Node, Schema, attribute_value, check_schema, find_schema
from iree_input_onnx.reader import MAX_RANK, ModelFile, TensorData
from iree_input_onnx.signature import Input, read_inputs
from iree_input_onnx.table import Entry, find
from iree_input_onnx.values import MAX_HOST_ELEMENTS, Tensor

MAX_CALL_DEPTH = 32


class _Poison:
    """Stands for a value whose node could not be lowered."""


class _Poisoned(Exception):
    """A subgraph holds something that could not be lowered, which has been recorded."""


POISON = _Poison()
Bound = Tensor | _Poison | None


class Scope:
    """Names visible in a graph; subgraphs see those around them."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.names: dict[str, Bound] = {}
        self.parent = parent

    def get(self, name: str) -> Bound:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        raise KeyError(name)

    def bind(self, name: str, value: Bound, where: str) -> None:
        if name in self.names:
            raise OnnxError(INVALID_GRAPH, f"'{name}' is defined twice", source=where)
        self.names[name] = value


def domain_of(text: str) -> str:
    return "" if text == "ai.onnx" else text


class Importer:
    """One import; see ``import_model``."""

    def __init__(self, model: ModelFile, constants: ConstantStore) -> None:
        self.model = model
        self.constants = constants
        self.functions = {(domain_of(f.domain), f.name, f.overload): f for f in model.proto.functions}
        self.unsupported: list[str] = []
        self.emit: Emitter

    # -- the function ------------------------------------------------------------------------

    def run(self, input_shapes: Mapping[str, Sequence[Any]]) -> builtin.ModuleOp:
        graph = self.model.proto.graph
        opsets = {domain_of(o.domain): o.version for o in self.model.proto.opset_import}
        initialized = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
        inputs = read_inputs([v for v in graph.input if v.name not in initialized], input_shapes)
        function = func.FuncOp.make("main", [i.ir_type for i in inputs], [], hints=[i.hint for i in inputs])
        self.emit = Emitter(Builder.at_end(function.body.block), self.constants, self.constant)
        scope = Scope()
        symbols: dict[str, Expr] = {}
        for position, input in enumerate(inputs):
            argument = function.body.block.args[position]
            scope.bind(input.name, input.bind(self.emit, argument, symbols), input.name)
        self._initializers(graph, scope)
        self.nodes(graph.node, scope, opsets, "", 0, wanted=[value.name for value in graph.output])
        outputs = self._outputs(graph, scope)
        if self.unsupported:
            raise _unsupported_error(self.unsupported)
        self._finish(function, inputs, outputs, symbols)
        module = builtin.ModuleOp.make()
        module.body.block.append(function)
        module.location = function.location = NameLoc(self.model.name)
        return module

    def _initializers(self, graph: Any, scope: Scope) -> None:
        for tensor in graph.initializer:
            scope.bind(tensor.name, self.constant(tensor, tensor.name), tensor.name)
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            scope.bind(name, self.constant(sparse, name), name)

    def _outputs(self, graph: Any, scope: Scope) -> list[tuple[str, Tensor]]:
        outputs: list[tuple[str, Tensor]] = []
        names = {value.name for value in graph.output}
        for value in graph.output:
            try:
                bound = scope.get(value.name)
            except KeyError:
                text = f"output '{value.name}' is not computed"
                raise OnnxError(INVALID_GRAPH, text, hint="export the model again") from None
            if isinstance(bound, Tensor):
                # Results have names of their own, also where a value is listed again.
                name = value.name
                again = 1
                while any(name == other for other, _ in outputs) or (again > 1 and name in names):
                    again += 1
                    name = f"{value.name}_{again}"
                outputs.append((name, bound))
        if not graph.output:
            raise OnnxError(INVALID_GRAPH, "the graph has no outputs")
        return outputs

    def _finish(
        self,
        function: func.FuncOp,
        inputs: Sequence[Input],
        outputs: Sequence[tuple[str, Tensor]],
        symbols: Mapping[str, Expr],
    ) -> None:
        values = []
        for name, t in outputs:
            with self.emit.builder.at(NameLoc(name)):
                values.append(self.emit.value(t))
        self.emit.builder.location = NameLoc("return")
        self.emit.builder.create(func.ReturnOp, *values)
        function.update_type([v.type for v in values])
        for position, input in enumerate(inputs):
            attributes: dict[str, Any] = {"iree.name": StringAttr(input.name)}
            if any(isinstance(d, str) and d for d in input.dims):
                names = [d if isinstance(d, str) else "" for d in input.dims]
                attributes["iree.dims"] = ArrayAttr([StringAttr(n) for n in names])
            if input.element.kind == "u":
                attributes["iree.element_type"] = StringAttr(input.element.name)
            for key, value in attributes.items():
                function.set_arg_attr(position, key, value)
        by_symbol = {expr: name for name, expr in symbols.items()}
        for position, (name, t) in enumerate(outputs):
            function.set_result_attr(position, "iree.name", StringAttr(name))
            names = [by_symbol.get(d, "") if isinstance(d, Expr) else "" for d in t.shape]
            if any(names):
                function.set_result_attr(position, "iree.dims", ArrayAttr([StringAttr(n) for n in names]))
            if t.element.kind == "u":
                function.set_result_attr(position, "iree.element_type", StringAttr(t.element.name))

    # -- constants ---------------------------------------------------------------------------

    def constant(self, proto: Any, name: str) -> Tensor:
        """A TensorProto or SparseTensorProto as a constant."""
        sparse = isinstance(proto, onnx.SparseTensorProto)
        return self.lazy(self.model.sparse(proto, name) if sparse else self.model.tensor(proto, name), name)

    def lazy(self, data: TensorData, name: str) -> Tensor:
        """A constant tensor; large ones stay where they are."""
        if data.array is None:
            assert data.path is not None
            if data.n_elements <= MAX_HOST_ELEMENTS:
                return Tensor(data.element, data.shape, array=data.to_array(), name=name)
            key = self.constants.add_file(
                data.path, data.offset, data.shape, storage_name(data.element), key=name
            )
            return Tensor(data.element, data.shape, key=key, name=name)
        return Tensor(data.element, data.shape, array=data.array, name=name)

    # -- nodes -------------------------------------------------------------------------------

    def nodes(
        self,
        protos: Sequence[Any],
        scope: Scope,
        opsets: Mapping[str, int],
        prefix: str,
        depth: int,
        attributes: Mapping[str, Any] | None = None,
        wanted: Sequence[str] = (),
    ) -> None:
        """Lower nodes in order; ``attributes`` are those of the function being inlined, ``wanted`` the names
        that are used behind the last node.
        """
        for position, proto in enumerate(protos):
            label = proto.name or f"{proto.op_type}:{next((o for o in proto.output if o), position)}"
            label = f"{prefix}/{label}" if prefix else label
            with self.emit.builder.at(NameLoc(label)):
                try:
                    results = self._node(proto, label, scope, opsets, depth, attributes or {})
                except RanksDiffer as differ:
                    # What follows is lowered for either branch: outputs of the graph are of one rank again.
                    behind = partial(
                        self.nodes,
                        protos[position + 1 :],
                        opsets=opsets,
                        prefix=prefix,
                        depth=depth,
                        attributes=attributes,
                        wanted=wanted,
                    )
                    self._for_either(differ.node, behind, scope, opsets, depth, wanted)
                    return
            for name, value in itertools.zip_longest(proto.output, results):
                if name:
                    if isinstance(value, Tensor) and value.rank > MAX_RANK:
                        raise OnnxError(INVALID_GRAPH, f"rank {value.rank}", source=label)
                    if isinstance(value, Tensor) and not value.name and value.is_constant:
                        value.name = name
                    scope.bind(name, value, label)

    def _for_either(
        self,
        node: Node,
        behind: Callable[[Scope], None],
        scope: Scope,
        opsets: Mapping[str, int],
        depth: int,
        wanted: Sequence[str],
    ) -> None:
        """Bind ``wanted``, which ``behind`` computes in a scope that has the outputs of an If."""
        run = partial(self._subgraph, node, scope, opsets, depth)
        names = [name for name in dict.fromkeys(wanted) if name not in scope.names]
        values: Sequence[Bound]
        try:
            values = lower_if_and_rest(self.emit, node, run, partial(self._rest, node, behind, scope, names))
        except _Poisoned:
            values = [POISON] * len(names)
        except Unsupported as reason:
            self._record(node.proto, "", node.since, node.inputs, node.label, str(reason))
            values = [POISON] * len(names)
        for name, value in zip(names, values, strict=True):
            scope.bind(name, value, node.label)

    def _rest(
        self,
        node: Node,
        behind: Callable[[Scope], None],
        scope: Scope,
        names: Sequence[str],
        outputs: Sequence[Tensor],
    ) -> list[Tensor]:
        """What ``behind`` binds to ``names`` where ``node`` has these outputs."""
        inner = Scope(scope)
        for name, value in zip(node.proto.output, outputs, strict=False):
            if name:
                inner.bind(name, value, node.label)
        recorded = len(self.unsupported)
        behind(inner)
        found = [inner.names.get(name) for name in names]
        if len(self.unsupported) > recorded or POISON in found:
            raise _Poisoned
        if not all(isinstance(t, Tensor) for t in found):
            raise node.error("an output behind it is not computed")
        return [t for t in found if isinstance(t, Tensor)]

    def _node(
        self,
        proto: Any,
        label: str,
        scope: Scope,
        opsets: Mapping[str, int],
        depth: int,
        outer: Mapping[str, Any],
    ) -> Sequence[Bound]:
        inputs: list[Bound] = []
        for name in proto.input:
            try:
                inputs.append(scope.get(name) if name else None)
            except KeyError:
                cause = "nodes must come after those that they use"
                raise OnnxError(
                    INVALID_GRAPH, f"'{name}' is used but not defined", source=label, cause=cause
                ) from None
        domain = domain_of(proto.domain)
        opset = opsets.get(domain, 0)
        schema = find_schema(proto.op_type, domain, opset) if opset else None
        poisoned: Sequence[Bound] = [POISON] * len(proto.output)
        function = self.functions.get((domain, proto.op_type, proto.overload))
        entry = find(domain, proto.op_type, schema.since_version) if schema is not None else None
        tensors = [t if isinstance(t, Tensor) else None for t in inputs]
        version = schema.since_version if schema is not None else opset
        subgraphs = LOWERINGS.get(proto.op_type) if not domain else None
        defined = schema is not None and (entry is not None or schema.has_body or subgraphs is not None)
        if function is None and not defined:
            self._record(proto, domain, version, tensors, label, _why(schema, domain, opset))
            return poisoned
        if any(t is POISON for t in inputs):
            return poisoned
        try:
            values = _attributes(proto, outer)
            node = Node(proto, label, schema, opset, values, tensors)
            if function is not None:
                return self._call(function, node, opsets, depth, local=True)
            assert schema is not None
            check_schema(node, schema)
            if entry is not None:
                try:
                    return self._lower(entry, node)
                except Unsupported:
                    if not entry.body:
                        raise
            if subgraphs is not None:
                return subgraphs(self.emit, node, partial(self._subgraph, node, scope, opsets, depth))
            return self._call(_standard_body(node, tensors), node, opsets, depth, local=False)
        except _Poisoned:
            return poisoned
        except RanksDiffer as differ:
            if differ.node is node and proto.op_type == "If":
                raise
            self._record(proto, domain, version, tensors, label, str(differ))
            return poisoned
        except Unsupported as reason:
            self._record(proto, domain, version, tensors, label, str(reason))
            return poisoned
        except OnnxError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, ArithmeticError, MemoryError) as error:
            # A lowering trusts the node's attributes; nonsense in them surfaces as one of these.
            cause = str(error) or type(error).__name__
            raise OnnxError(5, proto.op_type, source=label, cause=cause) from error

    def _lower(self, entry: Entry, node: Node) -> Sequence[Bound]:
        result = entry.lower(self.emit, node)
        return [result] if isinstance(result, Tensor) else list(result)

    def _record(
        self,
        proto: Any,
        domain: str,
        version: int,
        inputs: Sequence[Tensor | None],
        label: str,
        reason: str,
    ) -> None:
        types = ", ".join(onnx_name(t.element) for t in inputs if t is not None)
        name = f"{domain}.{proto.op_type}" if domain else proto.op_type
        about = f"opset {version}" + (f", {types}" if types else "")
        self.unsupported.append(f"{name} ({about}) at '{label}'" + (f": {reason}" if reason else ""))

    # -- bodies ------------------------------------------------------------------------------

    def _call(
        self, function: Any, node: Node, outer: Mapping[str, int], depth: int, *, local: bool
    ) -> Sequence[Bound]:
        """Inline a FunctionProto; ``local`` tells the model's own from the standard's."""
        if depth >= MAX_CALL_DEPTH:
            raise node.error("functions call each other too deeply")
        scope = Scope()
        for name, t in itertools.zip_longest(function.input, node.inputs):
            if name is None:
                raise node.error(f"{len(node.inputs)} inputs for {len(function.input)}")
            scope.bind(name, t, node.label)
        attributes = dict(node.attributes)
        for default in function.attribute_proto:
            attributes.setdefault(default.name, attribute_value(default))
        if not local:
            for name in node.schema.attributes if node.schema is not None else ():
                if name not in attributes and node.get(name) is not None:
                    attributes[name] = node.get(name)
        opsets = {**outer, **{domain_of(o.domain): o.version for o in function.opset_import}}
        self.nodes(function.node, scope, opsets, node.label, depth + 1, attributes, list(function.output))
        results: list[Bound] = []
        for position, name in enumerate(function.output):
            if name not in scope.names and node.wants(position):
                raise node.error(f"output '{name}' is not computed")
            results.append(scope.names.get(name))
        return results

    def _subgraph(
        self,
        node: Node,
        scope: Scope,
        opsets: Mapping[str, int],
        depth: int,
        graph: Any,
        arguments: Sequence[Tensor],
    ) -> list[Tensor]:
        """The outputs of a graph inside ``node``, at the builder. What it lacks is recorded once."""
        if depth >= MAX_CALL_DEPTH:
            raise node.error("graphs nest too deeply")
        recorded = len(self.unsupported)
        inner = Scope(scope)
        for value, t in zip(graph.input, arguments, strict=True):
            inner.bind(value.name, t, node.label)
        self._initializers(graph, inner)
        wanted = [value.name for value in graph.output]
        self.nodes(graph.node, inner, opsets, node.label, depth + 1, wanted=wanted)
        try:
            outputs = [inner.get(value.name) for value in graph.output]
        except KeyError as error:
            raise node.error(f"output {error} is not computed") from None
        if len(self.unsupported) > recorded or POISON in outputs:
            raise _Poisoned
        if not all(isinstance(t, Tensor) for t in outputs):
            raise Unsupported("an output that is no tensor")
        return [t for t in outputs if isinstance(t, Tensor)]


def _attributes(proto: Any, outer: Mapping[str, Any]) -> dict[str, Any]:
    """The node's attributes, references to those of the enclosing function resolved."""
    values: dict[str, Any] = {}
    for attribute in proto.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in outer:
                values[attribute.name] = outer[attribute.ref_attr_name]
        else:
            values[attribute.name] = attribute_value(attribute)
    return values


def _why(schema: Schema | None, domain: str, opset: int) -> str:
    if not opset:
        return f"the model does not import operator set '{domain}'"
    if schema is None:
        return "no such operator in this operator set" if not domain else ""
    return ""


def _standard_body(node: Node, inputs: Sequence[Tensor | None]) -> Any:
    """The function body that the ONNX standard gives for a node. Raises Unsupported without one."""
    assert node.schema is not None
    schema = node.schema.definition
    body = onnx.FunctionProto()
    if schema.has_function:
        versions = list(schema.function_opset_versions)
        fitting = [v for v in versions if v <= node.opset] or versions[:1]
        body.ParseFromString(schema.get_function_with_opset_version(max(fitting)))
        return body
    types = [b"" if t is None else _type_proto(t).SerializeToString() for t in inputs]
    versions = list(schema.context_dependent_function_opset_versions)
    fitting = [v for v in versions if v <= node.opset] or versions[:1]
    data = schema.get_context_dependent_function_with_opset_version(
        max(fitting), _resolved(node).SerializeToString(), types
    )
    if not data:
        raise Unsupported("the standard gives no body for these types")
    body.ParseFromString(data)
    return body


def _resolved(node: Node) -> Any:
    """The node with the attributes that it takes from an enclosing function written out."""
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    del proto.attribute[:]
    for attribute in node.proto.attribute:
        if not attribute.ref_attr_name:
            proto.attribute.append(attribute)
        elif attribute.name in node.attributes:
            value = node.attributes[attribute.name]
            proto.attribute.append(
                onnx.helper.make_attribute(attribute.name, value, attr_type=attribute.type)
            )
    return proto


def _type_proto(t: Tensor) -> Any:
    shape = [d if isinstance(d, int) else None for d in t.shape]
    return onnx.helper.make_tensor_type_proto(to_code(t.element), shape)


def _unsupported_error(nodes: Sequence[str]) -> OnnxError:
    count = f"{len(nodes)} node" + ("s" if len(nodes) > 1 else "")
    return OnnxError(
        UNSUPPORTED,
        f"{count}: " + "; ".join(nodes),
        cause="nothing here lowers them and the standard has no function body for them",
        hint="see docs/onnx-coverage.md for what is covered; export with other operators",
    )


def import_model(
    model: ModelFile, constants: ConstantStore, input_shapes: Mapping[str, Sequence[Any]] | None = None
) -> builtin.ModuleOp:
    """The module of a model; its weights go to ``constants``. Raises OnnxError."""
    return Importer(model, constants).run(input_shapes or {})


__all__ = ["Importer", "import_model"]
