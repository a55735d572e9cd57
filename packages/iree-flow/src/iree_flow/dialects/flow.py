"""The ``flow`` dialect: which dense computation forms one dispatch, and how dispatches depend on data.

``flow.dispatch.region`` groups ops of a function; outlining turns it into a ``flow.executable`` and a
``flow.dispatch`` of it. Names and assembly follow IREE's where the meaning is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    Attribute,
    DenseArrayAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    Type,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    region,
    result,
    segment_sizes,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.traits import (
    ISOLATED,
    NO_TERMINATOR,
    PURE,
    RETURN_LIKE,
    SINGLE_BLOCK,
    SYMBOL,
    SYMBOL_TABLE,
    TERMINATOR,
)
from iree_core_ir.ir.types import DYNAMIC, TensorType, i64, index

UNTIED = -1


class Executable(
    Op, name="flow.executable", traits=(SYMBOL, SYMBOL_TABLE, ISOLATED, NO_TERMINATOR, SINGLE_BLOCK)
):
    """A unit of device code: exports and the ``builtin.module`` that holds their functions."""

    __slots__ = ()
    sym_name = attribute(StringAttr)
    sym_visibility = optional_attribute(StringAttr)
    body = region()

    @classmethod
    def make(cls, name: str) -> Executable:
        attributes: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "sym_visibility": StringAttr("private"),
        }
        return cls(attributes=attributes, regions=[Region([Block()])])

    @property
    def exports(self) -> list[ExecutableExport]:
        return [op for op in self.body.block if isinstance(op, ExecutableExport)]

    @property
    def module(self) -> Op:
        """The inner ``builtin.module``."""
        return next(op for op in self.body.block if op.name == "builtin.module")

    @classmethod
    def parse(cls, parser: Any) -> Executable:
        attributes: dict[str, Attribute] = {}
        visibility = parser.accept_keyword(("private", "public"))
        if visibility is not None:
            attributes["sym_visibility"] = StringAttr(visibility)
        attributes["sym_name"] = StringAttr(parser.symbol_name())
        attributes.update(parser.attribute_dict_with_keyword())
        return cls(attributes=attributes, regions=[parser.region()])

    def print(self, printer: Any) -> None:
        print_symbol_header(self, printer)
        printer.write(" ")
        printer.region(self.body)


def print_symbol_header(op: Op, printer: Any) -> None:
    """`` private @name attributes {...}``."""
    visibility: Any = op.attributes.get("sym_visibility")
    if visibility is not None:
        printer.write(f" {visibility.value}")
    name: Any = op.attributes["sym_name"]
    printer.write(" ")
    printer.write(printer.symbol(name.value))
    printer.attribute_dict(op.attributes, ("sym_name", "sym_visibility"), keyword=True)


class ExecutableExport(Op, name="flow.executable.export", traits=(SYMBOL,)):
    """A function that dispatches may name; its workload is whatever the dispatch passes."""

    __slots__ = ()
    sym_name = attribute(StringAttr)
    sym_visibility = optional_attribute(StringAttr)

    @classmethod
    def make(cls, name: str) -> ExecutableExport:
        return cls(attributes={"sym_name": StringAttr(name), "sym_visibility": StringAttr("public")})

    @classmethod
    def parse(cls, parser: Any) -> ExecutableExport:
        attributes: dict[str, Attribute] = {}
        visibility = parser.accept_keyword(("private", "public"))
        if visibility is not None:
            attributes["sym_visibility"] = StringAttr(visibility)
        attributes["sym_name"] = StringAttr(parser.symbol_name())
        attributes.update(parser.attribute_dict_with_keyword())
        return cls(attributes=attributes)

    def print(self, printer: Any) -> None:
        print_symbol_header(self, printer)


class DispatchRegion(Op, name="flow.dispatch.region", traits=(SINGLE_BLOCK,)):
    """Ops that become one dispatch; its values are captured, its results returned.

    ``result_dims`` are the dynamic dims of the results in order, ``workload`` the sizes from which
    the target derives its workgroup count.
    """

    __slots__ = ()
    workload = variadic_operand(index)
    result_dims = variadic_operand(index)
    results_ = variadic_result()
    body = region()

    @classmethod
    def make(
        cls, result_types: Sequence[Type], result_dims: Sequence[Value], workload: Sequence[Value] = ()
    ) -> DispatchRegion:
        return cls(
            [*workload, *result_dims],
            result_types,
            {"operandSegmentSizes": segment_sizes(workload, result_dims)},
            [Region([Block()])],
        )

    @classmethod
    def parse(cls, parser: Any) -> DispatchRegion:
        workload = index_list(parser, "[", "]")
        parser.expect("->")
        types, dims = parse_shaped_types(parser, parenthesized=True)
        attributes = parser.attribute_dict_with_keyword()
        attributes["operandSegmentSizes"] = segment_sizes(workload, dims)
        return cls([*workload, *dims], types, attributes, [parser.region()])

    def print(self, printer: Any) -> None:
        if self.workload:
            printer.write("[" + ", ".join(printer.name(v) for v in self.workload) + "]")
        printer.write(" -> (" + shaped_types(printer, [r.type for r in self.results], self.result_dims) + ")")
        printer.attribute_dict(self.attributes, ("operandSegmentSizes",), keyword=True)
        printer.write(" ")
        printer.region(self.body)


class _WorkgroupOp(Op):
    """Base of the ops that tell a dispatch region where it stands; ``dimension`` is 0 (x) to 2 (z)."""

    __slots__ = ()
    dimension = attribute(IntegerAttr)
    result = result(index)

    @classmethod
    def make(cls, dimension: int) -> Any:
        return cls(result_types=[index], attributes={"dimension": IntegerAttr(dimension, index)})

    @classmethod
    def parse(cls, parser: Any) -> Any:
        parser.expect("[")
        dimension = parser.integer()
        parser.expect("]")
        attributes = parser.attribute_dict()
        parser.expect(":")
        attributes["dimension"] = IntegerAttr(dimension, index)
        return cls((), [parser.type()], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f"[{self.dimension.value}]")
        printer.attribute_dict(self.attributes, ("dimension",))
        printer.write(f" : {printer.text(self.result.type)}")


class WorkgroupId(_WorkgroupOp, name="flow.dispatch.workgroup.id", traits=(PURE,)):
    """Which workgroup this is."""

    __slots__ = ()


class WorkgroupCount(_WorkgroupOp, name="flow.dispatch.workgroup.count", traits=(PURE,)):
    """How many workgroups there are."""

    __slots__ = ()


class WorkgroupSize(_WorkgroupOp, name="flow.dispatch.workgroup.size", traits=(PURE,)):
    """How much of the workload one workgroup takes at a time: the tile size, chosen by the target."""

    __slots__ = ()


class Return(Op, name="flow.return", traits=(TERMINATOR, RETURN_LIKE)):
    """Returns the results of a dispatch region."""

    __slots__ = ()
    values = variadic_operand()
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    @classmethod
    def make(cls, values: Sequence[Value]) -> Return:
        return cls(values)


class Dispatch(Op, name="flow.dispatch", traits=(PURE,)):
    """``flow.dispatch @ex::@entry[workload](args) : (types) -> (types)``.

    ``tied_operands`` gives per result the index of the argument whose storage it reuses, or -1.
    The executable's function takes the args, then one destination per untied result.
    """

    __slots__ = ()
    entry_point = attribute(SymbolRefAttr)
    workload = variadic_operand(index)
    arguments = variadic_operand()
    argument_dims = variadic_operand(index)
    result_dims = variadic_operand(index)
    tied_operands = optional_attribute(DenseArrayAttr)
    results_ = variadic_result()

    @classmethod
    def make(
        cls,
        entry_point: SymbolRefAttr,
        workload: Sequence[Value],
        arguments: Sequence[Value],
        argument_dims: Sequence[Value],
        result_types: Sequence[Type],
        result_dims: Sequence[Value],
        tied_operands: Sequence[int] | None = None,
    ) -> Dispatch:
        attributes: dict[str, Attribute] = {
            "entry_point": entry_point,
            "operandSegmentSizes": segment_sizes(workload, arguments, argument_dims, result_dims),
        }
        if tied_operands is not None and any(t != UNTIED for t in tied_operands):
            attributes["tied_operands"] = DenseArrayAttr(i64, tied_operands)
        return cls([*workload, *arguments, *argument_dims, *result_dims], result_types, attributes)

    def tied(self, index: int) -> int:
        """The argument result ``index`` is tied to, or UNTIED."""
        tied = self.tied_operands
        return UNTIED if tied is None else int(tied[index])

    def verify_op(self) -> None:
        n = sum(t.n_dynamic for t in (v.type for v in self.arguments) if isinstance(t, TensorType))
        if n != len(self.argument_dims):
            raise VerifyError(self, f"arguments have {n} dynamic dims, {len(self.argument_dims)} are given")
        n = sum(r.type.n_dynamic for r in self.results if isinstance(r.type, TensorType))
        if n != len(self.result_dims):
            raise VerifyError(self, f"results have {n} dynamic dims, {len(self.result_dims)} are given")
        tied = self.tied_operands
        if tied is not None and len(tied) != len(self.results):
            raise VerifyError(self, "tied_operands needs one entry per result")

    @classmethod
    def parse(cls, parser: Any) -> Dispatch:
        entry = parser.attribute()
        workload = index_list(parser, "[", "]")
        names = parser.comma_list(parser.operand_name)
        attributes = parser.attribute_dict()
        parser.expect(":")
        types, argument_dims = parse_shaped_types(parser, parenthesized=True)
        parser.expect("->")
        result_types, result_dims = parse_shaped_types(parser, parenthesized=True)
        arguments = [parser.resolve(name, type) for name, type in zip(names, types, strict=True)]
        attributes["entry_point"] = entry
        attributes["operandSegmentSizes"] = segment_sizes(workload, arguments, argument_dims, result_dims)
        return cls([*workload, *arguments, *argument_dims, *result_dims], result_types, attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.text(self.entry_point)}")
        if self.workload:
            printer.write("[" + ", ".join(printer.name(v) for v in self.workload) + "]")
        printer.write("(" + ", ".join(printer.name(v) for v in self.arguments) + ")")
        printer.attribute_dict(self.attributes, ("entry_point", "operandSegmentSizes"))
        printer.write(
            " : (" + shaped_types(printer, [v.type for v in self.arguments], self.argument_dims) + ")"
        )
        printer.write(" -> (" + shaped_types(printer, [r.type for r in self.results], self.result_dims) + ")")


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


def shaped_types(printer: Any, types: Sequence[Type], dims: Sequence[Value]) -> str:
    """``tensor<?x4xf32>{%d0}, index``: each dynamic tensor type followed by its dims."""
    parts = []
    rest = list(dims)
    for type in types:
        text = printer.text(type)
        n = sum(d == DYNAMIC for d in type.shape) if isinstance(type, TensorType) else 0
        if n:
            text += "{" + ", ".join(printer.name(v) for v in rest[:n]) + "}"
            rest = rest[n:]
        parts.append(text)
    return ", ".join(parts)


def parse_shaped_types(parser: Any, parenthesized: bool) -> tuple[list[Type], list[Value]]:
    types: list[Type] = []
    dims: list[Value] = []

    def one() -> None:
        types.append(parser.type())
        dims.extend(index_list(parser, "{", "}"))

    if parenthesized and parser.at("("):
        parser.comma_list(one)
    else:
        one()
    return types, dims


def index_operand(parser: Any) -> Value:
    """One operand of type index."""
    value: Value = parser.resolve(parser.operand_name(), index)
    return value


def index_list(parser: Any, open: str, close: str) -> list[Value]:
    """An optional bracketed list of index operands."""
    return parser.comma_list(lambda: index_operand(parser), open, close) if parser.at(open) else []


def index_attr(value: int) -> IntegerAttr:
    return IntegerAttr(value, index)


DIALECT = Dialect(
    "flow",
    ops=[
        Executable,
        ExecutableExport,
        DispatchRegion,
        WorkgroupId,
        WorkgroupCount,
        WorkgroupSize,
        Return,
        Dispatch,
        TensorReshape,
        TensorSlice,
        TensorConcat,
        TensorLoad,
    ],
)
