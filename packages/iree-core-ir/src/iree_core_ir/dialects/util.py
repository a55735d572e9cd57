"""``util``: globals, hints and host helpers, named and written as in IREE; plus ``util.broadcast_dim``.

``util.broadcast_dim`` is ours: the size of a dimension that broadcasts two sizes, checked when it runs.
Frontends emit it where two dynamic dims are not known to agree; it goes away when they are proven to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_base.element_types import ELEMENT_TYPES
from iree_core_ir.dialects.constraints import INTEGER_OR_INDEX
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    UNIT,
    ArrayAttr,
    Attribute,
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
    region,
    result,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Block, Op, Value, single_block_region
from iree_core_ir.ir.traits import ISOLATED, PURE, READS, RETURN_LIKE, SAME_TYPE, SYMBOL, TERMINATOR
from iree_core_ir.ir.types import FunctionType, index


class Global(Op, name="util.global", traits=(SYMBOL,)):
    """A variable of the module that lives as long as its load; written only when mutable."""

    sym_visibility = optional_attribute(StringAttr)
    sym_name = attribute(StringAttr)
    type_attribute = attribute(TypeAttr, key="type")
    is_mutable = optional_attribute(UnitAttr)
    initial_value = optional_attribute(Attribute)

    @classmethod
    def make(
        cls,
        name: str,
        type: Type,
        initial_value: Attribute | None = None,
        mutable: bool = False,
        visibility: str = "private",
    ) -> Self:
        attributes: dict[str, Attribute] = {
            "sym_visibility": StringAttr(visibility),
            "sym_name": StringAttr(name),
            "type": TypeAttr(type),
        }
        if mutable:
            attributes["is_mutable"] = UNIT
        if initial_value is not None:
            attributes["initial_value"] = initial_value
        return cls((), (), attributes)

    @property
    def type(self) -> Type:
        return self.type_attribute.value

    @classmethod
    def parse(cls, p: Any) -> Self:
        visibility = p.accept_keyword(("public", "private", "nested")) or "public"
        attributes: dict[str, Attribute] = {"sym_visibility": StringAttr(visibility)}
        if p.accept("mutable"):
            attributes["is_mutable"] = UNIT
        attributes["sym_name"] = StringAttr(p.symbol_name())
        attributes.update(p.attribute_dict())
        type = p.type() if p.accept(":") else None
        if p.accept("="):
            value = p.attribute()
            attributes["initial_value"] = value
            if type is None:
                type = value.type
        elif type is None:
            p.fail(f"expected ':' or '=', got {p.shown()}")
        attributes["type"] = TypeAttr(type)
        return cls((), (), attributes)

    def print(self, printer: Any) -> None:
        visibility = self.sym_visibility.value if self.sym_visibility is not None else "public"
        mutable = " mutable" if self.is_mutable is not None else ""
        printer.write(f" {visibility}{mutable} {printer.symbol(self.sym_name.value)}")
        printer.attribute_dict(
            self.attributes, ("sym_visibility", "sym_name", "type", "is_mutable", "initial_value")
        )
        value: Any = self.initial_value
        if value is None or getattr(value, "type", None) is not self.type:
            printer.write(f" : {printer.text(self.type)}")
        if value is not None:
            printer.write(f" = {printer.text(value)}")


class GlobalLoad(Op, name="util.global.load", traits=(READS,)):
    """The value of a global."""

    global_name = attribute(SymbolRefAttr, key="global")
    is_immutable = optional_attribute(UnitAttr)
    result = result()
    assembly_format = "(`immutable` $is_immutable^)? $global_name attr-dict `:` type($result)"

    @classmethod
    def make(cls, name: str, type: Type, immutable: bool = False) -> Self:
        attributes: dict[str, Attribute] = {"global": SymbolRefAttr(name)}
        if immutable:
            attributes["is_immutable"] = UNIT
        return cls((), (type,), attributes)


class GlobalStore(Op, name="util.global.store"):
    """Writes a mutable global (or any, inside an initializer)."""

    value = operand()
    global_name = attribute(SymbolRefAttr, key="global")
    assembly_format = "$value `,` $global_name attr-dict `:` type($value)"

    @classmethod
    def make(cls, value: Value, name: str) -> Self:
        return cls((value,), (), {"global": SymbolRefAttr(name)})


class Initializer(Op, name="util.initializer", traits=(ISOLATED,)):
    """Runs when the module is loaded, in order of definition."""

    function_type = attribute(TypeAttr)
    body = region()

    @classmethod
    def make(cls) -> Self:
        """With an empty block: fill it and end it with ``util.return``."""
        return cls((), (), {"function_type": TypeAttr(FunctionType())}, (single_block_region(),))

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes = p.attribute_dict_with_keyword()
        attributes["function_type"] = TypeAttr(FunctionType())
        return cls((), (), attributes, (p.region(),))

    def print(self, printer: Any) -> None:
        printer.attribute_dict(self.attributes, ("function_type",), True)
        printer.write(" ")
        printer.region(self.body)

    @property
    def block(self) -> Block:
        return self.regions[0].block


class Return(Op, name="util.return", traits=(TERMINATOR, RETURN_LIKE)):
    """Leaves an initializer."""

    values = variadic_operand()
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    @classmethod
    def make(cls, values: Sequence[Value] = ()) -> Self:
        return cls(values)


class Align(Op, name="util.align", traits=(PURE, SAME_TYPE)):
    """The value rounded up to a multiple of ``alignment``, a power of two."""

    value = operand(INTEGER_OR_INDEX)
    alignment = operand(INTEGER_OR_INDEX)
    result = result(INTEGER_OR_INDEX)
    assembly_format = "$value `,` $alignment attr-dict `:` type($result)"

    @classmethod
    def make(cls, value: Value, alignment: Value) -> Self:
        return cls((value, alignment), (value.type,))


class SizeOf(Op, name="util.sizeof", traits=(PURE,)):
    """Bytes of a scalar type, rounded up."""

    sized_type = attribute(TypeAttr, key="sizedType")
    size = result(index)
    assembly_format = "$sized_type attr-dict-with-keyword"

    @classmethod
    def make(cls, type: Type) -> Self:
        return cls((), (index,), {"sizedType": TypeAttr(type)})

    def fold(self, constants: Sequence[Attribute | None]) -> Sequence[Value | Attribute] | None:
        row = ELEMENT_TYPES.get(str(self.sized_type.value))
        return None if row is None else [IntegerAttr(row.bytes, index)]


class OptimizationBarrier(Op, name="util.optimization_barrier"):
    """Its operands, opaque to the optimizer."""

    values = variadic_operand()
    outs = variadic_result()
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    @classmethod
    def make(cls, values: Sequence[Value]) -> Self:
        return cls(values, [value.type for value in values])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["outs"] = types["values"]


class UnfoldableConstant(Op, name="util.unfoldable_constant"):
    """A constant that the optimizer takes for a run-time value; tests feed their programs with it."""

    value = attribute(Attribute)
    result = result()
    assembly_format = "attr-dict $value"

    @classmethod
    def make(cls, value: Attribute) -> Self:
        typed: Any = value
        return cls((), (typed.type,), {"value": value})

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = [attributes["value"].type]


class Unreachable(Op, name="util.unreachable", traits=(TERMINATOR,)):
    """Stops with ``message``: control must not come here."""

    message = attribute(StringAttr)
    assembly_format = "$message attr-dict"

    @classmethod
    def make(cls, message: str) -> Self:
        return cls((), (), {"message": StringAttr(message)})


class IntAssumptionAttr(Attribute):
    """``#util.int.assumption<umin = 0, umax = 10, udiv = 4>``; None where nothing is assumed."""

    __slots__ = _fields = ("umin", "umax", "udiv")
    umin: int | None
    umax: int | None
    udiv: int | None
    mnemonic = "util.int.assumption"

    def __new__(cls, umin: int | None = None, umax: int | None = None, udiv: int | None = None) -> Any:
        return super().__new__(cls, umin, umax, udiv)

    def check(self) -> None:
        if self.umin is not None and self.umax is not None and self.umin > self.umax:
            raise ValueError(f"umin {self.umin} is larger than umax {self.umax}")
        if self.udiv is not None and self.udiv <= 0:
            raise ValueError("udiv must be positive")

    @classmethod
    def parse_parameters(cls, p: Any) -> IntAssumptionAttr:
        fields: dict[str, int] = {}

        def entry() -> None:
            name = p.keyword()
            if name not in cls._fields or name in fields:
                p.fail_at_previous(f"'{name}' is not one of {', '.join(cls._fields)}, each once")
            p.expect("=")
            fields[name] = p.integer()

        p.comma_list(entry, "<", ">")
        return cls(**fields)  # type: ignore[no-any-return]

    def print_parameters(self, printer: Any) -> str:
        given = [(name, getattr(self, name)) for name in self._fields]
        return f"<{', '.join(f'{name} = {value}' for name, value in given if value is not None)}>"

    def holds(self, value: int) -> bool:
        """Whether the unsigned number ``value`` is as assumed."""
        return (
            (self.umin is None or value >= self.umin)
            and (self.umax is None or value <= self.umax)
            and (self.udiv is None or value % self.udiv == 0)
        )


class AssumeInt(Op, name="util.assume.int", traits=(PURE,)):
    """Its operands, with what may be assumed of each: one assumption, or one per call site."""

    values = variadic_operand(INTEGER_OR_INDEX)
    assumptions = attribute(ArrayAttr)
    outs = variadic_result(INTEGER_OR_INDEX)

    @classmethod
    def make(cls, values: Sequence[Value], assumptions: Sequence[Sequence[IntAssumptionAttr]]) -> Self:
        """``assumptions``: a list for each value, one entry per call site (or one for all)."""
        attribute = ArrayAttr([ArrayAttr(row) for row in assumptions])
        return cls(values, [value.type for value in values], {"assumptions": attribute})

    @classmethod
    def parse(cls, p: Any) -> Self:
        names: list[str] = []
        rows: list[ArrayAttr] = []

        def entry() -> None:
            names.append(p.operand_name())
            if p.at("["):
                row = p.comma_list(lambda: IntAssumptionAttr.parse_parameters(p), "[", "]")
            elif p.at("<"):
                row = [IntAssumptionAttr.parse_parameters(p)]
            else:
                row = []
            rows.append(ArrayAttr(row))

        p.comma_list(entry, "")
        attributes = p.attribute_dict()
        p.expect(":")
        types = p.comma_list(p.type, "")
        attributes["assumptions"] = ArrayAttr(rows)
        return cls(p.resolve_all(names, types), types, attributes)

    def print(self, printer: Any) -> None:
        entries = []
        for value, row in zip(self.values, self.assumptions, strict=True):
            items: Any = row
            texts = [item.print_parameters(printer) for item in items]
            text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
            entries.append(f"{printer.name(value)}{text}")
        printer.write(f" {', '.join(entries)}")
        printer.attribute_dict(self.attributes, ("assumptions",))
        printer.write(f" : {printer.types(self.values)}")

    def verify_op(self) -> None:
        if len(self.assumptions) != len(self.operands):
            raise VerifyError(self, "needs one list of assumptions per operand")
        sizes: set[Any] = {len(row) for row in self.rows} - {1}
        if len(sizes) > 1:
            raise VerifyError(self, f"lists assumptions for {sorted(sizes)} call sites")

    @property
    def rows(self) -> list[list[IntAssumptionAttr]]:
        """Per operand its assumptions: one for each call site, one for all, or none."""
        rows: Any = self.assumptions
        return [list(row) for row in rows]


class BroadcastDim(Op, name="util.broadcast_dim"):
    """The common size of two dims that broadcast: equal, or one of them 1; anything else is an error.

    Not PURE although it computes a value: an unused one must still stop on bad shapes.
    """

    lhs = operand(index)
    rhs = operand(index)
    result = result(index)
    assembly_format = "$lhs `,` $rhs attr-dict"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (index,))


def materialize_constant(value: Attribute, type: Type) -> Op:
    """arith's constant."""
    from iree_core_ir.dialects import arith

    return arith.materialize_constant(value, type)


DIALECT = Dialect(
    "util",
    ops=[
        Align, AssumeInt, BroadcastDim, Global, GlobalLoad, GlobalStore, Initializer, OptimizationBarrier,
        Return, SizeOf, UnfoldableConstant, Unreachable,
    ],
    attributes=[IntAssumptionAttr],
    materialize_constant=materialize_constant,
)  # fmt: skip
