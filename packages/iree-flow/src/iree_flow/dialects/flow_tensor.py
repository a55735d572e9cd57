"""``flow.tensor.*``: views of memory between dispatches, and reading it back; ops of dialect ``flow``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import IntegerAttr, Type
from iree_core_ir.ir.declaration import attribute, operand, result, segment_sizes, variadic_operand
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import TensorType, i64, index
from iree_flow.dialects.shaped_types import index_list, index_operand, parse_shaped_types, shaped_types


class TensorReshape(Op, name="flow.tensor.reshape", traits=(PURE,)):
    """The same elements under another shape; never moves data."""

    __slots__ = ()
    source = operand(TensorType)
    source_dims = variadic_operand(index)
    result_dims = variadic_operand(index)
    result = result(TensorType)

    @classmethod
    def make(
        cls, source: Value, source_dims: Sequence[Value], result_type: Type, result_dims: Sequence[Value]
    ) -> TensorReshape:
        return cls(
            [source, *source_dims, *result_dims],
            [result_type],
            {"operandSegmentSizes": segment_sizes([source], source_dims, result_dims)},
        )

    @classmethod
    def parse(cls, parser: Any) -> TensorReshape:
        name = parser.operand_name()
        attributes = parser.attribute_dict()
        parser.expect(":")
        types, source_dims = parse_shaped_types(parser, parenthesized=False)
        parser.expect("->")
        result_types, result_dims = parse_shaped_types(parser, parenthesized=False)
        source = parser.resolve(name, types[0])
        attributes["operandSegmentSizes"] = segment_sizes([source], source_dims, result_dims)
        return cls([source, *source_dims, *result_dims], result_types, attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.source)}")
        printer.attribute_dict(self.attributes, ("operandSegmentSizes",))
        printer.write(" : " + shaped_types(printer, [self.source.type], self.source_dims))
        printer.write(" -> " + shaped_types(printer, [self.result.type], self.result_dims))


class TensorTieShape(Op, name="flow.tensor.tie_shape", traits=(PURE,)):
    """A tensor that came over a branch, with the sizes that came with it."""

    __slots__ = ()
    source = operand(TensorType)
    result_dims = variadic_operand(index)
    result = result(TensorType)

    @classmethod
    def make(cls, source: Value, dims: Sequence[Value]) -> TensorTieShape:
        return cls([source, *dims], [source.type])

    def verify_op(self) -> None:
        if len(self.result_dims) != self.result.type.n_dynamic:
            raise VerifyError(self, f"needs {self.result.type.n_dynamic} sizes")

    @classmethod
    def parse(cls, parser: Any) -> TensorTieShape:
        name = parser.operand_name()
        attributes = parser.attribute_dict()
        parser.expect(":")
        types, dims = parse_shaped_types(parser, parenthesized=False)
        return cls([parser.resolve(name, types[0]), *dims], types, attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.source)}")
        printer.attribute_dict(self.attributes)
        printer.write(" : " + shaped_types(printer, [self.source.type], self.result_dims))


class TensorSlice(Op, name="flow.tensor.slice", traits=(PURE,)):
    """``lengths`` elements from ``start_indices`` on, one of each per axis.

    Scheduling makes only slices of contiguous memory, so that it never moves data.
    """

    __slots__ = ()
    source = operand(TensorType)
    source_dims = variadic_operand(index)
    start_indices = variadic_operand(index)
    lengths = variadic_operand(index)
    result_dims = variadic_operand(index)
    result = result(TensorType)

    @classmethod
    def make(
        cls,
        source: Value,
        source_dims: Sequence[Value],
        start_indices: Sequence[Value],
        lengths: Sequence[Value],
        result_type: Type,
        result_dims: Sequence[Value],
    ) -> TensorSlice:
        return cls(
            [source, *source_dims, *start_indices, *lengths, *result_dims],
            [result_type],
            {
                "operandSegmentSizes": segment_sizes(
                    [source], source_dims, start_indices, lengths, result_dims
                )
            },
        )

    def verify_op(self) -> None:
        rank = self.source.type.rank
        if not rank == len(self.start_indices) == len(self.lengths) == self.result.type.rank:
            raise VerifyError(self, f"needs {rank} start indices and lengths, and a result of that rank")

    @classmethod
    def parse(cls, parser: Any) -> TensorSlice:
        name = parser.operand_name()
        parser.expect("[")
        starts: list[Value] = []
        lengths: list[Value] = []
        if not parser.at("for"):
            starts = parser.comma_list(lambda: index_operand(parser), "", "")
        parser.expect("for")
        if not parser.at("]"):
            lengths = parser.comma_list(lambda: index_operand(parser), "", "")
        parser.expect("]")
        attributes = parser.attribute_dict()
        parser.expect(":")
        types, source_dims = parse_shaped_types(parser, parenthesized=False)
        parser.expect("->")
        result_types, result_dims = parse_shaped_types(parser, parenthesized=False)
        source = parser.resolve(name, types[0])
        attributes["operandSegmentSizes"] = segment_sizes([source], source_dims, starts, lengths, result_dims)
        return cls([source, *source_dims, *starts, *lengths, *result_dims], result_types, attributes)

    def print(self, printer: Any) -> None:
        starts = ", ".join(printer.name(v) for v in self.start_indices)
        lengths = ", ".join(printer.name(v) for v in self.lengths)
        printer.write(f" {printer.name(self.source)}[{starts} for {lengths}]")
        printer.attribute_dict(self.attributes, ("operandSegmentSizes",))
        printer.write(" : " + shaped_types(printer, [self.source.type], self.source_dims))
        printer.write(" -> " + shaped_types(printer, [self.result.type], self.result_dims))


class TensorConcat(Op, name="flow.tensor.concat", traits=(PURE,)):
    """The inputs one behind the other in memory: along ``dim``, before which all dims are 1.

    Scheduling lets what computes an input write it there, so that nothing moves.
    """

    __slots__ = ()
    inputs = variadic_operand(TensorType)
    input_dims = variadic_operand(index)
    result_dims = variadic_operand(index)
    dim = attribute(IntegerAttr)
    result = result(TensorType)

    @classmethod
    def make(
        cls,
        inputs: Sequence[Value],
        input_dims: Sequence[Value],
        dim: int,
        result_type: Type,
        result_dims: Sequence[Value],
    ) -> TensorConcat:
        return cls(
            [*inputs, *input_dims, *result_dims],
            [result_type],
            {
                "dim": IntegerAttr(dim, i64),
                "operandSegmentSizes": segment_sizes(inputs, input_dims, result_dims),
            },
        )

    def verify_op(self) -> None:
        axis = self.dim.value
        types = [value.type for value in self.inputs]
        if not types or any(type.rank != self.result.type.rank for type in types):
            raise VerifyError(self, "needs inputs of the result's rank")
        if not 0 <= axis < self.result.type.rank or set(self.result.type.shape[:axis]) - {1}:
            raise VerifyError(self, f"needs dims of 1 before dim {axis}")

    @classmethod
    def parse(cls, parser: Any) -> TensorConcat:
        parser.expect("dim")
        parser.expect("(")
        axis = parser.integer()
        parser.expect(")")
        names = parser.operand_names()
        attributes = parser.attribute_dict()
        parser.expect(":")
        types, input_dims = parse_shaped_types(parser, parenthesized=True)
        parser.expect("->")
        result_types, result_dims = parse_shaped_types(parser, parenthesized=False)
        inputs = parser.resolve_all(names, types)
        attributes["dim"] = IntegerAttr(axis, i64)
        attributes["operandSegmentSizes"] = segment_sizes(inputs, input_dims, result_dims)
        return cls([*inputs, *input_dims, *result_dims], result_types, attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" dim({self.dim.value}) {printer.names(self.inputs)}")
        printer.attribute_dict(self.attributes, ("dim", "operandSegmentSizes"))
        printer.write(" : (" + shaped_types(printer, [v.type for v in self.inputs], self.input_dims) + ")")
        printer.write(" -> " + shaped_types(printer, [self.result.type], self.result_dims))


class TensorLoad(Op, name="flow.tensor.load", traits=(PURE,)):
    """Reads one element back to the host: ends the stream region that makes it."""

    __slots__ = ()
    source = operand(TensorType)
    source_dims = variadic_operand(index)
    indices = variadic_operand(index)
    result = result()

    @classmethod
    def make(cls, source: Value, source_dims: Sequence[Value], indices: Sequence[Value]) -> TensorLoad:
        return cls(
            [source, *source_dims, *indices],
            [source.type.element_type],
            {"operandSegmentSizes": segment_sizes([source], source_dims, indices)},
        )

    @classmethod
    def parse(cls, parser: Any) -> TensorLoad:
        name = parser.operand_name()
        indices = index_list(parser, "[", "]")
        attributes = parser.attribute_dict()
        parser.expect(":")
        types, dims = parse_shaped_types(parser, parenthesized=False)
        source = parser.resolve(name, types[0])
        attributes["operandSegmentSizes"] = segment_sizes([source], dims, indices)
        return cls([source, *dims, *indices], [source.type.element_type], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.source)}")
        if self.indices:
            printer.write("[" + ", ".join(printer.name(v) for v in self.indices) + "]")
        printer.attribute_dict(self.attributes, ("operandSegmentSizes",))
        printer.write(" : " + shaped_types(printer, [self.source.type], self.source_dims))


TENSOR_OPS = [TensorReshape, TensorTieShape, TensorSlice, TensorConcat, TensorLoad]
