"""The ``stream`` dialect: dispatches in recorded regions over untyped resources with offsets.

Resources have a lifetime: ``constant`` (the mapped weights), ``external`` (inputs, outputs, values read by
the host) and ``transient`` (the arena of one region). Inside ``stream.cmd.execute`` commands run in
order; those inside one ``stream.cmd.concurrent`` are independent. Names follow IREE's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    ArrayAttr,
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
    region,
    result,
    segment_sizes,
    variadic_operand,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.traits import NO_TERMINATOR, PURE, SINGLE_BLOCK, SYMBOL
from iree_core_ir.ir.types import TensorType, i64, index
from iree_flow.dialects.shaped_types import index_list, index_operand, parse_shaped_types, shaped_types

LIFETIMES = ("constant", "external", "transient", "variable", "staging", "*")


class ResourceType(Type):
    """``!stream.resource<lifetime>``: a range of bytes of a size known at run time."""

    __slots__ = _fields = ("lifetime",)
    mnemonic = "stream.resource"
    lifetime: str

    def check(self) -> None:
        if self.lifetime not in LIFETIMES:
            raise ValueError(f"unknown lifetime '{self.lifetime}'")

    @classmethod
    def parse_parameters(cls, parser: Any) -> ResourceType:
        parser.expect("<")
        lifetime = "*" if parser.accept("*") else parser.keyword()
        parser.expect(">")
        return cls(lifetime)

    def print_parameters(self, printer: Any) -> str:
        return f"<{self.lifetime}>"


CONSTANT, EXTERNAL, TRANSIENT = (ResourceType(name) for name in ("constant", "external", "transient"))


class ConstantSegment(Op, name="stream.constant.segment", traits=(SYMBOL,)):
    """All constants of a variant, laid out: ``values[i]`` lies at ``offsets[i]`` of ``size`` bytes."""

    __slots__ = ()
    sym_name = attribute(StringAttr)
    values = attribute(ArrayAttr)
    offsets = attribute(DenseArrayAttr)
    size = attribute(IntegerAttr)
    assembly_format = "$sym_name attr-dict"

    @classmethod
    def make(
        cls, name: str, values: Sequence[Attribute], offsets: Sequence[int], size: int
    ) -> ConstantSegment:
        return cls(
            attributes={
                "sym_name": StringAttr(name),
                "values": ArrayAttr(values),
                "offsets": DenseArrayAttr(i64, offsets),
                "size": IntegerAttr(size, i64),
            }
        )


class ConstantLoad(Op, name="stream.constant.load", traits=(PURE,)):
    """The mapped segment."""

    __slots__ = ()
    segment = attribute(SymbolRefAttr)
    result = result(ResourceType)
    assembly_format = "$segment attr-dict `:` type($result)"

    @classmethod
    def make(cls, segment: SymbolRefAttr) -> ConstantLoad:
        return cls(result_types=[CONSTANT], attributes={"segment": segment})


class TensorImport(Op, name="stream.tensor.import", traits=(PURE,)):
    """The resource behind a tensor that comes from outside."""

    __slots__ = ()
    source = operand(TensorType)
    source_dims = variadic_operand(index)
    size = operand(index)
    result = result(ResourceType)

    @classmethod
    def make(cls, source: Value, source_dims: Sequence[Value], size: Value) -> TensorImport:
        return cls([source, *source_dims, size], [EXTERNAL])

    @classmethod
    def parse(cls, parser: Any) -> TensorImport:
        name = parser.operand_name()
        attributes = parser.attribute_dict()
        parser.expect(":")
        types, dims = parse_shaped_types(parser, parenthesized=False)
        parser.expect("->")
        type, size = _parse_resource(parser)
        return cls([parser.resolve(name, types[0]), *dims, size], [type], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.source)}")
        printer.attribute_dict(self.attributes)
        printer.write(" : " + shaped_types(printer, [self.source.type], self.source_dims))
        printer.write(f" -> {_resource(printer, self.result.type, self.size)}")


class TensorExport(Op, name="stream.tensor.export", traits=(PURE,)):
    """The tensor in a resource, handed outside."""

    __slots__ = ()
    source = operand(ResourceType)
    size = operand(index)
    result_dims = variadic_operand(index)
    result = result(TensorType)

    @classmethod
    def make(cls, source: Value, size: Value, type: Type, dims: Sequence[Value]) -> TensorExport:
        return cls([source, size, *dims], [type])

    @classmethod
    def parse(cls, parser: Any) -> TensorExport:
        name = parser.operand_name()
        attributes = parser.attribute_dict()
        parser.expect(":")
        type, size = _parse_resource(parser)
        parser.expect("->")
        types, dims = parse_shaped_types(parser, parenthesized=False)
        return cls([parser.resolve(name, type), size, *dims], types, attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.source)}")
        printer.attribute_dict(self.attributes)
        printer.write(f" : {_resource(printer, self.source.type, self.size)} -> ")
        printer.write(shaped_types(printer, [self.result.type], self.result_dims))


class ResourceAlloc(Op, name="stream.resource.alloc"):
    """Fresh uninitialized bytes that outlive the region (outputs, values the host reads)."""

    __slots__ = ()
    size = operand(index)
    result = result(ResourceType)

    @classmethod
    def make(cls, size: Value, type: ResourceType = EXTERNAL) -> Op:
        return cls([size], [type])

    @classmethod
    def parse(cls, parser: Any) -> ResourceAlloc:
        parser.accept("uninitialized")
        attributes = parser.attribute_dict()
        parser.expect(":")
        type, size = _parse_resource(parser)
        return cls([size], [type], attributes)

    def print(self, printer: Any) -> None:
        printer.write(" uninitialized")
        printer.attribute_dict(self.attributes)
        printer.write(f" : {_resource(printer, self.result.type, self.size)}")


class ResourceAlloca(Op, name="stream.resource.alloca"):
    """The arena of one region: uninitialized bytes that live while it runs."""

    __slots__ = ()
    size = operand(index)
    result = result(ResourceType)

    @classmethod
    def make(cls, size: Value) -> ResourceAlloca:
        return cls([size], [TRANSIENT])

    @classmethod
    def parse(cls, parser: Any) -> ResourceAlloca:
        parser.accept("uninitialized")
        attributes = parser.attribute_dict()
        parser.expect(":")
        type, size = _parse_resource(parser)
        return cls([size], [type], attributes)

    def print(self, printer: Any) -> None:
        printer.write(" uninitialized")
        printer.attribute_dict(self.attributes)
        printer.write(f" : {_resource(printer, self.result.type, self.size)}")


class ResourceLoad(Op, name="stream.resource.load"):
    """One scalar read back to the host."""

    __slots__ = ()
    source = operand(ResourceType)
    size = operand(index)
    offset = operand(index)
    result = result()

    @classmethod
    def make(cls, source: Value, size: Value, offset: Value, type: Type) -> ResourceLoad:
        return cls([source, size, offset], [type])

    @classmethod
    def parse(cls, parser: Any) -> ResourceLoad:
        name = parser.operand_name()
        parser.expect("[")
        offset = index_operand(parser)
        parser.expect("]")
        attributes = parser.attribute_dict()
        parser.expect(":")
        type, size = _parse_resource(parser)
        parser.expect("->")
        return cls([parser.resolve(name, type), size, offset], [parser.type()], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.source)}[{printer.name(self.offset)}]")
        printer.attribute_dict(self.attributes)
        printer.write(
            f" : {_resource(printer, self.source.type, self.size)} -> {printer.text(self.result.type)}"
        )


class CmdExecute(Op, name="stream.cmd.execute", traits=(SINGLE_BLOCK, NO_TERMINATOR)):
    """One recorded region: resources come in as block arguments, index values are captured."""

    __slots__ = ()
    resources = variadic_operand(ResourceType)
    sizes = variadic_operand(index)
    body = region()

    @classmethod
    def make(cls, resources: Sequence[Value], sizes: Sequence[Value]) -> CmdExecute:
        body = Block([v.type for v in resources])
        return cls(
            [*resources, *sizes],
            [],
            {"operandSegmentSizes": segment_sizes(resources, sizes)},
            [Region([body])],
        )

    def verify_op(self) -> None:
        types = [a.type for a in self.body.block.args]
        if types != [v.type for v in self.resources] or len(self.resources) != len(self.sizes):
            raise VerifyError(self, "block arguments, resources and sizes do not agree")

    @classmethod
    def parse(cls, parser: Any) -> CmdExecute:
        parser.expect("with")
        names: list[str] = []
        resources: list[Value] = []
        sizes: list[Value] = []

        def one() -> None:
            outer = parser.operand_name()
            parser.expect("as")
            names.append(parser.operand_name())
            parser.expect(":")
            type, size = _parse_resource(parser)
            resources.append(parser.resolve(outer, type))
            sizes.append(size)

        parser.comma_list(one)
        attributes = parser.attribute_dict_with_keyword()
        attributes["operandSegmentSizes"] = segment_sizes(resources, sizes)
        body = parser.region(list(zip(names, [r.type for r in resources], strict=True)))
        return cls([*resources, *sizes], [], attributes, [body])

    def print(self, printer: Any) -> None:
        args = [
            f"{printer.name(r)} as {printer.name(a)}: {_resource(printer, r.type, s)}"
            for r, a, s in zip(self.resources, self.body.block.args, self.sizes, strict=True)
        ]
        printer.write(f" with({', '.join(args)})")
        printer.attribute_dict(self.attributes, ("operandSegmentSizes",), keyword=True)
        printer.write(" ")
        printer.region(self.body, entry_arguments=False)


class CmdConcurrent(Op, name="stream.cmd.concurrent", traits=(SINGLE_BLOCK, NO_TERMINATOR)):
    """Commands that may run at the same time."""

    __slots__ = ()
    body = region()

    @classmethod
    def make(cls) -> CmdConcurrent:
        return cls(regions=[Region([Block()])])

    @classmethod
    def parse(cls, parser: Any) -> CmdConcurrent:
        attributes = parser.attribute_dict_with_keyword()
        return cls(attributes=attributes, regions=[parser.region()])

    def print(self, printer: Any) -> None:
        printer.attribute_dict(self.attributes, keyword=True)
        printer.write(" ")
        printer.region(self.body)


ACCESS_TEXT = {"read": "ro", "write": "wo", "readwrite": "rw"}
_ACCESS_OF_TEXT = {text: name for name, text in ACCESS_TEXT.items()}


class CmdDispatch(Op, name="stream.cmd.dispatch"):
    """Runs an export over ranges of resources: ``{ro %r[%offset for %length], ...}``."""

    __slots__ = ()
    entry_point = attribute(SymbolRefAttr)
    access = attribute(ArrayAttr)
    workload = variadic_operand(index)
    scalars = variadic_operand()
    resources = variadic_operand(ResourceType)
    offsets = variadic_operand(index)
    lengths = variadic_operand(index)

    @classmethod
    def make(
        cls,
        entry_point: SymbolRefAttr,
        workload: Sequence[Value],
        scalars: Sequence[Value],
        resources: Sequence[Value],
        offsets: Sequence[Value],
        lengths: Sequence[Value],
        access: Sequence[str],
    ) -> CmdDispatch:
        return cls(
            [*workload, *scalars, *resources, *offsets, *lengths],
            [],
            {
                "entry_point": entry_point,
                "access": ArrayAttr([StringAttr(a) for a in access]),
                "operandSegmentSizes": segment_sizes(workload, scalars, resources, offsets, lengths),
            },
        )

    def verify_op(self) -> None:
        n = len(self.resources)
        if not n == len(self.offsets) == len(self.lengths) == len(self.access):
            raise VerifyError(self, "every binding needs a resource, an offset, a length and an access")

    @classmethod
    def parse(cls, parser: Any) -> CmdDispatch:
        entry = parser.attribute()
        workload = index_list(parser, "[", "]")
        arguments = parser.comma_list(parser.argument) if parser.at("(") else []
        scalars = [parser.resolve(name, type) for name, type in arguments]
        attributes = parser.attribute_dict_with_keyword()
        resources: list[Value] = []
        offsets: list[Value] = []
        lengths: list[Value] = []
        access: list[Attribute] = []

        def one() -> None:
            access.append(StringAttr(_ACCESS_OF_TEXT[parser.keyword()]))
            name = parser.operand_name()
            parser.expect("[")
            offsets.append(index_operand(parser))
            parser.expect("for")
            lengths.append(index_operand(parser))
            parser.expect("]")
            parser.expect(":")
            resources.append(parser.resolve(name, parser.type()))

        parser.comma_list(one, "{", "}")
        attributes.update(
            entry_point=entry,
            access=ArrayAttr(access),
            operandSegmentSizes=segment_sizes(workload, scalars, resources, offsets, lengths),
        )
        return cls([*workload, *scalars, *resources, *offsets, *lengths], [], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.text(self.entry_point)}")
        if self.workload:
            printer.write("[" + ", ".join(printer.name(v) for v in self.workload) + "]")
        if self.scalars:
            scalars = [f"{printer.name(v)} : {printer.text(v.type)}" for v in self.scalars]
            printer.write("(" + ", ".join(scalars) + ")")
        hidden = ("entry_point", "access", "operandSegmentSizes")
        printer.attribute_dict(self.attributes, hidden, keyword=True)
        bindings = [
            f"{ACCESS_TEXT[a.value]} {printer.name(r)}[{printer.name(o)} for {printer.name(n)}] : "  # type: ignore[attr-defined]
            f"{printer.text(r.type)}"
            for a, r, o, n in zip(self.access, self.resources, self.offsets, self.lengths, strict=True)
        ]
        printer.write(" {" + ", ".join(bindings) + "}")


class CmdCopy(Op, name="stream.cmd.copy"):
    """Copies ``length`` bytes between resources that do not overlap there."""

    __slots__ = ()
    source = operand(ResourceType)
    source_offset = operand(index)
    target = operand(ResourceType)
    target_offset = operand(index)
    length = operand(index)
    assembly_format = (
        "$source `[` $source_offset `]` `,` $target `[` $target_offset `]` `,` $length attr-dict "
        "`:` type($source) `->` type($target)"
    )

    @classmethod
    def make(
        cls, source: Value, source_offset: Value, target: Value, target_offset: Value, length: Value
    ) -> CmdCopy:
        return cls([source, source_offset, target, target_offset, length])


def _resource(printer: Any, type: Type, size: Value) -> str:
    return f"{printer.text(type)}{{{printer.name(size)}}}"


def _parse_resource(parser: Any) -> tuple[Type, Value]:
    type = parser.type()
    parser.expect("{")
    size = index_operand(parser)
    parser.expect("}")
    return type, size


DIALECT = Dialect(
    "stream",
    ops=[
        ConstantSegment,
        ConstantLoad,
        TensorImport,
        TensorExport,
        ResourceAlloc,
        ResourceAlloca,
        ResourceLoad,
        CmdExecute,
        CmdConcurrent,
        CmdDispatch,
        CmdCopy,
    ],
    attributes=[ResourceType],
)
