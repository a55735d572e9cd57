"""The ``hal`` dialect: executables, command buffers, and what a host function does with them.

``hal.executable.binary`` carries an object and what its exports need. ``hal.command_buffer`` is a recorded
region: block arguments are its int64 parameters, index arithmetic becomes the parameter program, its
commands name binding slots (0 is the arena). Host functions work on buffer views and buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    Type,
    TypeAttr,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    region,
    result,
    segment_sizes,
    variadic_operand,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.traits import ISOLATED, NO_TERMINATOR, PURE, SINGLE_BLOCK, SYMBOL, SYMBOL_TABLE
from iree_core_ir.ir.types import i64, index


class _HandleType(Type):
    """A runtime object."""

    __slots__ = ()

    @classmethod
    def parse_parameters(cls, parser: Any) -> _HandleType:
        return cls()

    def print_parameters(self, printer: Any) -> str:
        return ""


class BufferType(_HandleType):
    __slots__ = ()
    mnemonic = "hal.buffer"


class BufferViewType(_HandleType):
    __slots__ = ()
    mnemonic = "hal.buffer_view"


BUFFER = BufferType()
BUFFER_VIEW = BufferViewType()


class ExecutableExport(Op, name="hal.executable.export", traits=(SYMBOL,)):
    """An entry point and what it needs; ``workgroup_count`` holds three expressions as JSON, ``work`` how
    much it has to do, numbers as in ``iree_base.postfix``. ``workspace``: an expression, the bytes of the
    last binding if that is memory which workgroups share, zero when a dispatch begins.
    """

    __slots__ = ()
    sym_name = attribute(StringAttr)
    scratch_bytes = attribute(IntegerAttr)
    n_constants = attribute(IntegerAttr)
    bindings = attribute(ArrayAttr)
    alignments = attribute(DenseArrayAttr)
    workgroup_count = attribute(StringAttr)
    sources = attribute(ArrayAttr)
    strategy = attribute(StringAttr)
    why = attribute(StringAttr)
    work = optional_attribute(StringAttr)
    workspace = optional_attribute(StringAttr)
    assembly_format = "$sym_name attr-dict"


class ExecutableBinary(
    Op,
    name="hal.executable.binary",
    traits=(SYMBOL, SYMBOL_TABLE, ISOLATED, NO_TERMINATOR, SINGLE_BLOCK),
):
    """A compiled executable: ``data`` in the constant store, its body the exports."""

    __slots__ = ()
    sym_name = attribute(StringAttr)
    target = attribute(StringAttr)
    format = attribute(StringAttr)
    features = attribute(ArrayAttr)
    data = attribute(Attribute)
    body = region()

    @property
    def exports(self) -> list[ExecutableExport]:
        return [op for op in self.body.block if isinstance(op, ExecutableExport)]

    @classmethod
    def parse(cls, parser: Any) -> ExecutableBinary:
        attributes: dict[str, Attribute] = {"sym_name": StringAttr(parser.symbol_name())}
        attributes.update(parser.attribute_dict_with_keyword())
        return cls(attributes=attributes, regions=[parser.region()])

    def print(self, printer: Any) -> None:
        printer.write(" " + printer.symbol(self.sym_name.value))
        printer.attribute_dict(self.attributes, ("sym_name",), keyword=True)
        printer.write(" ")
        printer.region(self.body)


class CommandBuffer(Op, name="hal.command_buffer", traits=(SYMBOL, ISOLATED, NO_TERMINATOR, SINGLE_BLOCK)):
    """A recorded region: ``hal.command_buffer @name(%p0, %p1) bindings(3) { ... }``."""

    __slots__ = ()
    sym_name = attribute(StringAttr)
    n_bindings = attribute(IntegerAttr)
    body = region()

    @classmethod
    def make(cls, name: str, n_params: int, n_bindings: int) -> CommandBuffer:
        attributes: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "n_bindings": IntegerAttr(n_bindings, i64),
        }
        return cls(attributes=attributes, regions=[Region([Block([index] * n_params)])])

    @classmethod
    def parse(cls, parser: Any) -> CommandBuffer:
        attributes: dict[str, Attribute] = {"sym_name": StringAttr(parser.symbol_name())}
        names = parser.comma_list(parser.operand_name)
        parser.expect("bindings")
        parser.expect("(")
        attributes["n_bindings"] = IntegerAttr(parser.integer(), i64)
        parser.expect(")")
        attributes.update(parser.attribute_dict_with_keyword())
        return cls(attributes=attributes, regions=[parser.region([(n, index) for n in names])])

    def print(self, printer: Any) -> None:
        printer.write(" ")
        printer.write(printer.symbol(self.sym_name.value))
        printer.write("(" + ", ".join(printer.name(a) for a in self.body.block.args) + ")")
        printer.write(f" bindings({self.n_bindings.value})")
        hidden = ("sym_name", "n_bindings")
        printer.attribute_dict(self.attributes, hidden, keyword=True)
        printer.write(" ")
        printer.region(self.body, entry_arguments=False)


def _bindings_text(
    printer: Any, slots: Sequence[int], offsets: Sequence[Value], lengths: Sequence[Value]
) -> str:
    return ", ".join(
        f"{slot}[{printer.name(offset)} for {printer.name(length)}]"
        for slot, offset, length in zip(slots, offsets, lengths, strict=True)
    )


def _index(parser: Any) -> Any:
    return parser.resolve(parser.operand_name(), index)


def _parse_bindings(parser: Any, open: str, close: str) -> tuple[list[int], list[Value], list[Value]]:
    slots: list[int] = []
    offsets: list[Value] = []
    lengths: list[Value] = []

    def one() -> None:
        slots.append(parser.integer())
        parser.expect("[")
        offsets.append(_index(parser))
        parser.expect("for")
        lengths.append(_index(parser))
        parser.expect("]")

    parser.comma_list(one, open, close)
    return slots, offsets, lengths


class CommandDispatch(Op, name="hal.command_buffer.dispatch"):
    """``@exe::@entry workgroups(%x, %y, %z) constants(%a lo, %a hi) bindings(1[%o for %n], ...)``."""

    __slots__ = ()
    entry_point = attribute(SymbolRefAttr)
    halves = attribute(ArrayAttr)
    slots = attribute(DenseArrayAttr)
    workgroups = variadic_operand(index)
    constants = variadic_operand(index)
    offsets = variadic_operand(index)
    lengths = variadic_operand(index)

    @classmethod
    def make(
        cls,
        entry_point: SymbolRefAttr,
        workgroups: Sequence[Value],
        constants: Sequence[tuple[Value, str]],
        slots: Sequence[int],
        offsets: Sequence[Value],
        lengths: Sequence[Value],
    ) -> CommandDispatch:
        words = [value for value, _ in constants]
        return cls(
            [*workgroups, *words, *offsets, *lengths],
            [],
            {
                "entry_point": entry_point,
                "halves": ArrayAttr([StringAttr(half) for _, half in constants]),
                "slots": DenseArrayAttr(i64, slots),
                "operandSegmentSizes": segment_sizes(workgroups, words, offsets, lengths),
            },
        )

    def verify_op(self) -> None:
        if len(self.workgroups) != 3:
            raise VerifyError(self, "needs three workgroup counts")
        if not len(self.slots) == len(self.offsets) == len(self.lengths):
            raise VerifyError(self, "every binding needs a slot, an offset and a length")

    @classmethod
    def parse(cls, parser: Any) -> CommandDispatch:
        entry = parser.attribute()
        parser.expect("workgroups")
        workgroups = parser.comma_list(lambda: _index(parser))
        parser.expect("constants")
        constants = parser.comma_list(lambda: (_index(parser), parser.keyword()))
        parser.expect("bindings")
        slots, offsets, lengths = _parse_bindings(parser, "(", ")")
        op = cls.make(entry, workgroups, constants, slots, offsets, lengths)
        op.attributes.update(parser.attribute_dict())
        return op

    def print(self, printer: Any) -> None:
        halves: list[Any] = list(self.halves)
        words = [f"{printer.name(v)} {h.value}" for v, h in zip(self.constants, halves, strict=True)]
        printer.write(f" {printer.text(self.entry_point)}")
        printer.write(f" workgroups({', '.join(printer.name(v) for v in self.workgroups)})")
        printer.write(f" constants({', '.join(words)})")
        printer.write(f" bindings({_bindings_text(printer, list(self.slots), self.offsets, self.lengths)})")
        hidden = ("entry_point", "halves", "slots", "operandSegmentSizes")
        printer.attribute_dict(self.attributes, hidden)


class _OnRanges(Op):
    """A command that is nothing but ranges of bound buffers."""

    __slots__ = ()
    slots = attribute(DenseArrayAttr)
    offsets = variadic_operand(index)
    lengths = variadic_operand(index)

    @classmethod
    def make(cls, slots: Sequence[int], offsets: Sequence[Value], lengths: Sequence[Value]) -> Self:
        return cls(
            [*offsets, *lengths],
            [],
            {"slots": DenseArrayAttr(i64, slots), "operandSegmentSizes": segment_sizes(offsets, lengths)},
        )


class CommandCopy(_OnRanges, name="hal.command_buffer.copy_buffer"):
    """``source(1[%o for %n]) target(2[%o for %n])``: equal lengths, no overlap."""

    __slots__ = ()

    @classmethod
    def parse(cls, parser: Any) -> CommandCopy:
        parser.expect("source")
        a = _parse_bindings(parser, "(", ")")
        parser.expect("target")
        b = _parse_bindings(parser, "(", ")")
        return cls.make([*a[0], *b[0]], [*a[1], *b[1]], [*a[2], *b[2]])

    def print(self, printer: Any) -> None:
        for i, word in enumerate(("source", "target")):
            text = _bindings_text(printer, [self.slots[i]], self.offsets[i : i + 1], self.lengths[i : i + 1])
            printer.write(f" {word}({text})")


class CommandClear(_OnRanges, name="hal.command_buffer.clear_buffer"):
    """``target(2[%o for %n])``: the bytes become 0."""

    __slots__ = ()

    @classmethod
    def parse(cls, parser: Any) -> CommandClear:
        parser.expect("target")
        return cls.make(*_parse_bindings(parser, "(", ")"))

    def print(self, printer: Any) -> None:
        printer.write(f" target({_bindings_text(printer, list(self.slots), self.offsets, self.lengths)})")


class ArenaSize(Op, name="hal.command_buffer.arena_size"):
    """Bytes that slot 0 needs."""

    __slots__ = ()
    size = operand(index)
    assembly_format = "$size attr-dict"

    @classmethod
    def make(cls, size: Value) -> ArenaSize:
        return cls([size])


class ExecutionBarrier(Op, name="hal.command_buffer.execution_barrier"):
    """Everything before is complete and visible to everything after."""

    __slots__ = ()
    assembly_format = "attr-dict"

    @classmethod
    def make(cls) -> ExecutionBarrier:
        return cls()


class BufferViewAssert(Op, name="hal.buffer_view.assert"):
    """Checks an input against the function's signature (element type, rank, static and named dims)."""

    __slots__ = ()
    view = operand(BUFFER_VIEW)
    position = attribute(IntegerAttr)
    assembly_format = "$view `,` $position attr-dict"

    @classmethod
    def make(cls, view: Value, position: int) -> BufferViewAssert:
        return cls([view], [], {"position": IntegerAttr(position, i64)})


class BufferViewDim(Op, name="hal.buffer_view.dim", traits=(PURE,)):
    __slots__ = ()
    view = operand(BUFFER_VIEW)
    axis = attribute(IntegerAttr)
    result = result(index)
    assembly_format = "$view `,` $axis attr-dict `:` type($result)"

    @classmethod
    def make(cls, view: Value, axis: int) -> BufferViewDim:
        return cls([view], [index], {"axis": IntegerAttr(axis, i64)})


class BufferViewBuffer(Op, name="hal.buffer_view.buffer", traits=(PURE,)):
    __slots__ = ()
    view = operand(BUFFER_VIEW)
    result = result(BUFFER)
    assembly_format = "$view attr-dict `:` type($result)"

    @classmethod
    def make(cls, view: Value) -> BufferViewBuffer:
        return cls([view], [BUFFER])


class BufferViewCreate(Op, name="hal.buffer_view.create", traits=(PURE,)):
    """The result ``position`` of the function: a buffer under a shape."""

    __slots__ = ()
    buffer = operand(BUFFER)
    dims = variadic_operand(index)
    position = attribute(IntegerAttr)
    element_type = attribute(TypeAttr)
    result = result(BUFFER_VIEW)
    assembly_format = "$buffer `[` $dims `]` attr-dict `:` type($result)"

    @classmethod
    def make(
        cls, buffer: Value, dims: Sequence[Value], position: int, element_type: Type
    ) -> BufferViewCreate:
        return cls(
            [buffer, *dims],
            [BUFFER_VIEW],
            {"position": IntegerAttr(position, i64), "element_type": TypeAttr(element_type)},
        )


class ConstantsMap(Op, name="hal.constants.map", traits=(PURE,)):
    """The mapped constant segment."""

    __slots__ = ()
    segment = attribute(SymbolRefAttr)
    result = result(BUFFER)
    assembly_format = "$segment attr-dict `:` type($result)"

    @classmethod
    def make(cls, segment: SymbolRefAttr) -> ConstantsMap:
        return cls([], [BUFFER], {"segment": segment})


class QueueAlloca(Op, name="hal.device.queue.alloca"):
    """A fresh uninitialized buffer of ``size`` bytes."""

    __slots__ = ()
    size = operand(index)
    result = result(BUFFER)
    assembly_format = "$size attr-dict `:` type($result)"

    @classmethod
    def make(cls, size: Value) -> QueueAlloca:
        return cls([size], [BUFFER])


class QueueExecute(Op, name="hal.device.queue.execute"):
    """Runs a command buffer: ``bindings`` fill the slots from 1 on, ``params`` its parameters."""

    __slots__ = ()
    command_buffer = attribute(SymbolRefAttr)
    params = variadic_operand(index)
    bindings = variadic_operand(BUFFER)
    assembly_format = "$command_buffer `params` `(` $params `)` `bindings` `(` $bindings `)` attr-dict"

    @classmethod
    def make(
        cls, command_buffer: SymbolRefAttr, params: Sequence[Value], bindings: Sequence[Value]
    ) -> QueueExecute:
        return cls(
            [*params, *bindings],
            [],
            {"command_buffer": command_buffer, "operandSegmentSizes": segment_sizes(params, bindings)},
        )

    @classmethod
    def parse(cls, parser: Any) -> QueueExecute:
        reference = parser.attribute()
        parser.expect("params")
        params = parser.comma_list(lambda: _index(parser))
        parser.expect("bindings")
        bindings = parser.comma_list(lambda: parser.resolve(parser.operand_name(), BUFFER))
        op = cls.make(reference, params, bindings)
        op.attributes.update(parser.attribute_dict())
        return op

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.text(self.command_buffer)}")
        printer.write(f" params({', '.join(printer.name(v) for v in self.params)})")
        printer.write(f" bindings({', '.join(printer.name(v) for v in self.bindings)})")
        hidden = ("command_buffer", "operandSegmentSizes")
        printer.attribute_dict(self.attributes, hidden)


class BufferLoad(Op, name="hal.buffer.load"):
    """One scalar of a buffer, read by the host."""

    __slots__ = ()
    buffer = operand(BUFFER)
    offset = operand(index)
    result = result()
    assembly_format = "$buffer `[` $offset `]` attr-dict `:` type($result)"

    @classmethod
    def make(cls, buffer: Value, offset: Value, type: Type) -> BufferLoad:
        return cls([buffer, offset], [type])


DIALECT = Dialect(
    "hal",
    ops=[
        ExecutableExport,
        ExecutableBinary,
        CommandBuffer,
        CommandDispatch,
        CommandClear,
        CommandCopy,
        ArenaSize,
        ExecutionBarrier,
        BufferViewAssert,
        BufferViewDim,
        BufferViewBuffer,
        BufferViewCreate,
        ConstantsMap,
        QueueAlloca,
        QueueExecute,
        BufferLoad,
    ],
    attributes=[BufferType, BufferViewType],
)
