"""Every element of the declarative format: text -> op -> the same text."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from iree_core_ir.errors import ParseError
from iree_core_ir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    Type,
    TypeAttr,
    UnitAttr,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    optional_operand,
    region,
    result,
    successor,
    variadic_operand,
    variadic_region,
    variadic_result,
    variadic_successor,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.enums import BitEnumAttr, EnumAttr
from iree_core_ir.ir.operation import Block, Op, Region
from iree_core_ir.ir.traits import SAME_OPERAND_TYPES, SAME_TYPE, TERMINATOR
from iree_core_ir.ir.types import f32, i1, i32, i64, index
from iree_core_ir.ir.unregistered import UnregisteredOp
from iree_core_ir.text.assembly_format import parse_function, source_of
from iree_core_ir.text.format_syntax import FormatError
from iree_core_ir.text.parser import Parser, parse_ops
from iree_core_ir.text.printer import print_op


class Kind(EnumAttr):
    mnemonic = "fmt.kind"
    cases = ("add", "mul")


class Bare(EnumAttr):
    mnemonic = "fmt.bare"
    cases = ("x", "y")
    bracketed = False


class Flags(BitEnumAttr):
    mnemonic = "fmt.flags"
    cases = ("a", "b", "c")
    groups: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("a", "b", "c")}


class Pair(Attribute):
    mnemonic = "fmt.pair"
    __slots__ = _fields = ("first", "second")
    first: int
    second: Attribute

    @classmethod
    def parse_parameters(cls, p: Any) -> Pair:
        p.expect("<")
        first = p.integer()
        p.expect(",")
        second = p.attribute()
        p.expect(">")
        return cls(first, second)

    def print_parameters(self, printer: Any) -> str:
        return f"<{self.first}, {printer.text(self.second)}>"


class Token(Type):
    mnemonic = "fmt.token"
    __slots__ = ()


class Binary(Op, name="fmt.binary", traits=(SAME_TYPE,)):
    lhs = operand()
    rhs = operand()
    out = result()
    flags = optional_attribute(Flags)
    assembly_format = "$lhs `,` $rhs (`flags` `` $flags^)? attr-dict `:` type($out)"


class Compare(Op, name="fmt.compare", traits=(SAME_OPERAND_TYPES,)):
    kind = attribute(Bare)
    lhs = operand()
    rhs = operand()
    out = result(i1)
    assembly_format = "$kind `,` $lhs `,` $rhs attr-dict `:` type($lhs)"


class Indexed(Op, name="fmt.indexed"):
    source = operand()
    indices = variadic_operand(index)
    out = result()
    assembly_format = "$source `[` $indices `]` attr-dict `:` type($source) `->` type($out)"


class Optionals(Op, name="fmt.optionals"):
    first = optional_operand(i32)
    rest = variadic_operand()
    outs = variadic_result()
    count = optional_attribute(IntegerAttr, type=i64, default=IntegerAttr(1))
    fast = optional_attribute(UnitAttr)
    assembly_format = (
        "(`first` $first^)? (`(` $rest^ `:` type($rest) `)`)? (`count` `=` $count^)? (`fast` $fast^)? "
        "attr-dict-with-keyword (`->` type($outs)^)?"
    )


class Else(Op, name="fmt.else"):
    values = variadic_operand(i32)
    assembly_format = "(`with` $values^):(`without`)? attr-dict"


class Attributes(Op, name="fmt.attributes"):
    sym_name = attribute(StringAttr)
    text = attribute(StringAttr)
    callee = attribute(SymbolRefAttr)
    type = attribute(TypeAttr)
    sizes = attribute(DenseArrayAttr)
    mask = attribute(DenseArrayAttr, type=i1)
    pair = attribute(Pair)
    kind = attribute(Kind)
    items = optional_attribute(ArrayAttr)
    assembly_format = (
        "$sym_name $text `calls` $callee `of` $type $sizes $mask $pair `kind` $kind qualified($pair) "
        "($items^)? attr-dict"
    )


class Regions(Op, name="fmt.regions"):
    condition = operand(i1)
    then = region()
    others = variadic_region()
    implicit_terminator = "fmt.end"
    assembly_format = "$condition `do` $then (`else` $others^)? attr-dict"


class End(Op, name="fmt.end", traits=(TERMINATOR,)):
    assembly_format = "attr-dict"


class Branch(Op, name="fmt.branch", traits=(TERMINATOR,)):
    values = variadic_operand()
    target = successor()
    others = variadic_successor()
    assembly_format = "$target (`(` $values^ `:` type($values) `)`)? (`or` $others^)? attr-dict"


class Functional(Op, name="fmt.functional"):
    a = operand()
    b = variadic_operand()
    outs = variadic_result()
    assembly_format = "`(` operands `)` attr-dict `:` functional-type(operands, results)"


class Inferred(Op, name="fmt.inferred"):
    source = operand()
    other = operand()
    extra = variadic_operand()
    out = result()
    assembly_format = "$source `to` $other `[` $extra `]` attr-dict `:` type($source)"

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        assert types["other"] == [None] and "out" not in types
        types["other"] = types["out"] = list(types["source"])
        types["extra"] = [f32] * len(types["extra"])


class CustomOp(Op, name="fmt.custom"):
    low = operand(index)
    values = variadic_operand()
    step = optional_attribute(IntegerAttr)
    assembly_format = "custom<Range>($low, $step) `:` custom<Typed>($values, type($values)) attr-dict"

    @staticmethod
    def parse_Range(p: Parser) -> tuple[str, Attribute | None]:
        name = p.operand_name()
        return name, p.attribute() if p.accept("by") else None

    @staticmethod
    def print_Range(pr: Any, op: Op, low: Any, step: Attribute | None) -> None:
        pr.write(pr.name(low) + (f" by {pr.text(step)}" if step is not None else ""))

    @staticmethod
    def parse_Typed(p: Parser) -> tuple[list[str], list[Type]]:
        pairs = p.comma_list(p.argument)
        return [name for name, _ in pairs], [type for _, type in pairs]

    @staticmethod
    def print_Typed(pr: Any, op: Op, values: Any, types: Any) -> None:
        pr.write(
            "(" + ", ".join(f"{pr.name(v)}: {pr.text(t)}" for v, t in zip(values, types, strict=True)) + ")"
        )


DIALECT = Dialect(
    "fmt",
    ops=[
        Binary, Compare, Indexed, Optionals, Else, Attributes, Regions, End, Branch, Functional, Inferred,
        CustomOp,
    ],
    attributes=[Kind, Bare, Flags, Pair, Token],
)  # fmt: skip

PROLOGUE = '%a, %b, %i, %n, %c = "t.values"() : () -> (f32, f32, i32, index, i1)\n'

TEXTS = [
    "%0 = fmt.binary %a, %b : f32",
    "%0 = fmt.binary %a, %b flags<a,c> {x = 1 : i64} : f32",
    "%0 = fmt.binary %a, %b flags<all> : f32",
    "%0 = fmt.binary %a, %b flags<none> : f32",
    "%0 = fmt.compare x, %a, %b : f32",
    "%0 = fmt.indexed %a[] : f32 -> f32",
    "%0 = fmt.indexed %a[%n, %n] : f32 -> i1",
    "fmt.optionals",
    "fmt.optionals first %i",
    "fmt.optionals(%a, %i : f32, i32)",
    "fmt.optionals first %i(%a : f32) count = 3 fast attributes {z}",
    "%0:2 = fmt.optionals -> i32, f32",
    "fmt.else with %i, %i",
    "fmt.else without",
    'fmt.attributes @n "text" calls @a::@b of tensor<4xf32> [1] [true] <3, i32> kind <mul> #fmt.pair<3, i32>',
    'fmt.attributes @n "" calls @a of () -> () [] [] <3, unit> kind <add> #fmt.pair<3, unit> [1, "x"] {more}',
    "fmt.regions %c do {\n} {x}",
    'fmt.regions %c do {\n  "t.x"() : () -> ()\n  fmt.end {kept}\n} else {\n}, {\n}',
    "%0:2 = fmt.functional(%a, %b, %i) : (f32, f32, i32) -> (i32, f32)",
    "fmt.functional(%a) {x} : (f32) -> ()",
    "%0 = fmt.inferred %a to %b[%a, %b] : f32",
    "fmt.custom %n by 3 : i8 : (%a: f32, %i: i32)",
    "fmt.custom %n : ()",
    "fmt.custom %n : () {x = #fmt<bare y>, y = #fmt.kind<add>, z = !fmt.token}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip(text: str) -> None:
    ops = parse_ops(PROLOGUE + text, allow_unregistered=True)
    # A fragment is named on its own: print the whole.
    block = Block()
    for op in ops:
        block.append(op)
    whole = UnregisteredOp("t.whole", (), (), {}, (Region([block]),))
    shown = print_op(whole)
    body = "\n".join(line[2:] for line in shown.splitlines()[2:-1])
    assert body == text
    (again,) = parse_ops(shown, allow_unregistered=True)
    assert print_op(again) == shown
    generic = print_op(whole, generic=True)
    (again,) = parse_ops(generic, allow_unregistered=True)
    assert print_op(again) == shown
    assert print_op(again, generic=True) == generic


def test_branches() -> None:
    text = """\
"t.r"() ({
  %v = "t.v"() : () -> i32
  fmt.branch ^bb1(%v : i32)
^bb1(%x: i32):
  fmt.branch ^bb2 or ^bb1, ^bb2
^bb2:
  fmt.end
}) : () -> ()"""
    (op,) = parse_ops(text, allow_unregistered=True)
    assert print_op(op) == text


def test_implicit_terminator_is_made_and_elided() -> None:
    ops = parse_ops(PROLOGUE + "fmt.regions %c do {}", allow_unregistered=True)
    last = ops[-1].regions[0].block.last
    assert isinstance(last, End)
    assert "fmt.end" in print_op(ops[-1], generic=True)
    assert "fmt.end" not in print_op(ops[-1])


def test_segments_are_set() -> None:
    ops = parse_ops(PROLOGUE + "fmt.optionals first %i(%a, %b : f32, f32)", allow_unregistered=True)
    op = ops[-1]
    assert isinstance(op, Optionals)
    assert op.attributes["operandSegmentSizes"] == DenseArrayAttr(i32, [1, 2])
    assert op.first is op.operands[0] and op.rest == op.operands[1:]
    assert op.count is IntegerAttr(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%0 = fmt.binary %a %b : f32", "expected ','"),
        ("%0 = fmt.binary 3, %b : f32", "expected an SSA value"),
        ("%0 = fmt.binary %a, %b flags<d> : f32", "'d' is not one of a, b, c, all, none"),
        ("%0 = fmt.compare z, %a, %b : f32", "'z' is not one of x, y"),
        ("%0 = fmt.indexed %a[%i] : f32 -> f32", "%i has type i32, used here as index"),
        ("fmt.optionals count = 1.5", "is no i64"),
        ("fmt.attributes name", "expected symbol"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_ops(PROLOGUE + text, allow_unregistered=True)


def test_generated_source_is_straight() -> None:
    source = source_of(Binary)
    assert "def parse(p):" in source and "def print_op(self, pr):" in source
    assert "for " not in source.split("def print_op")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$nothing", "unknown field"),
        ("($lhs)?", "needs an anchor"),
        ("custom<Nope>($lhs)", "no function parse_Nope"),
        ("$lhs", "operand 'rhs' is missing"),
        ("$lhs `,` $rhs `", "unexpected"),
    ],
)
def test_bad_formats_name_the_op(text: str, message: str) -> None:
    cls = type(
        "Bad", (Op,), {"lhs": operand(f32), "rhs": operand(f32), "assembly_format": text}, name="bad.op"
    )
    with pytest.raises(FormatError, match=f"bad.op: .*{message}"):
        parse_function(cls)
