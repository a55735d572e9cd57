"""The ``flow`` dialect: which dense computation forms one dispatch, and how dispatches depend on data.

``flow.dispatch.region`` groups ops of a function; outlining turns it into a ``flow.executable`` and a
``flow.dispatch`` of it. Names and assembly follow IREE's where the meaning is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects.func import FuncOp
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
from iree_core_ir.ir.types import TensorType, i64, index
from iree_flow.dialects.flow_tensor import (
    TENSOR_OPS,
    TensorConcat,
    TensorLoad,
    TensorReshape,
    TensorSlice,
    TensorTieShape,
)
from iree_flow.dialects.shaped_types import index_list, parse_shaped_types, shaped_types

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

    @property
    def function(self) -> FuncOp:
        """The function of the dispatch."""
        return next(op for op in self.module.regions[0].block if isinstance(op, FuncOp))

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
        *TENSOR_OPS,
    ],
)

__all__ = [
    "DIALECT",
    "UNTIED",
    "Dispatch",
    "DispatchRegion",
    "Executable",
    "ExecutableExport",
    "Return",
    "TensorConcat",
    "TensorLoad",
    "TensorReshape",
    "TensorSlice",
    "TensorTieShape",
    "WorkgroupCount",
    "WorkgroupId",
    "WorkgroupSize",
]
