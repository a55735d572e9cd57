"""``ml_program``: globals as torch-mlir and JAX write them; the input phase turns them into ``util`` ones."""

from __future__ import annotations

from typing import Any, Self

from iree_core_ir.ir.attributes import UNIT, Attribute, StringAttr, SymbolRefAttr, Type, TypeAttr, UnitAttr
from iree_core_ir.ir.declaration import attribute, operand, optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE, READS, SYMBOL


class ExternAttr(Attribute):
    """``#ml_program.extern<type>``: an initial value provided from outside."""

    __slots__ = _fields = ("type",)
    type: Type
    mnemonic = "ml_program.extern"

    @classmethod
    def parse_parameters(cls, p: Any) -> ExternAttr:
        if p.accept("<"):
            type = p.type()
            p.expect(">")
        else:
            p.expect(":")
            type = p.type()
        return cls(type)

    def print_parameters(self, printer: Any) -> str:
        return f" : {printer.text(self.type)}"


class Global(Op, name="ml_program.global", traits=(SYMBOL,)):
    """A variable of the module."""

    sym_name = attribute(StringAttr)
    type_attribute = attribute(TypeAttr, key="type")
    is_mutable = optional_attribute(UnitAttr)
    value = optional_attribute(Attribute)
    sym_visibility = optional_attribute(StringAttr)

    @classmethod
    def make(
        cls,
        name: str,
        type: Type,
        value: Attribute | None = None,
        mutable: bool = False,
        visibility: str = "private",
    ) -> Self:
        attributes: dict[str, Attribute] = {"sym_name": StringAttr(name), "type": TypeAttr(type)}
        if mutable:
            attributes["is_mutable"] = UNIT
        if value is not None:
            attributes["value"] = value
        attributes["sym_visibility"] = StringAttr(visibility)
        return cls((), (), attributes)

    @property
    def type(self) -> Type:
        return self.type_attribute.value

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes: dict[str, Attribute] = {}
        visibility = p.accept_keyword(("public", "private", "nested")) or "public"
        attributes["sym_visibility"] = StringAttr(visibility)
        if p.accept("mutable"):
            attributes["is_mutable"] = UNIT
        attributes["sym_name"] = StringAttr(p.symbol_name())
        if p.accept("("):
            attributes["value"] = p.attribute()
            p.expect(")")
        attributes.update(p.attribute_dict())
        p.expect(":")
        attributes["type"] = TypeAttr(p.type())
        return cls((), (), attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {self.sym_visibility.value if self.sym_visibility is not None else 'public'}")
        printer.write(" mutable" if self.is_mutable is not None else "")
        printer.write(f" {printer.symbol(self.sym_name.value)}")
        if self.value is not None:
            printer.write(f"({printer.text(self.value)})")
        printer.attribute_dict(self.attributes, ("sym_visibility", "is_mutable", "sym_name", "value", "type"))
        printer.write(f" : {printer.text(self.type)}")


class _Load(Op):
    global_name = attribute(SymbolRefAttr, key="global")
    result = result()
    assembly_format = "$global_name attr-dict `:` type($result)"

    @classmethod
    def make(cls, name: str, type: Type) -> Self:
        return cls((), (type,), {"global": SymbolRefAttr(name)})


class GlobalLoad(_Load, name="ml_program.global_load", traits=(READS,)):
    """The value of a global."""


class GlobalLoadConst(_Load, name="ml_program.global_load_const", traits=(PURE,)):
    """The value of an immutable global."""


class GlobalStore(Op, name="ml_program.global_store"):
    """Writes a mutable global."""

    global_name = attribute(SymbolRefAttr, key="global")
    value = operand()
    assembly_format = "$global_name `=` $value attr-dict `:` type($value)"

    @classmethod
    def make(cls, value: Value, name: str) -> Self:
        return cls((value,), (), {"global": SymbolRefAttr(name)})


DIALECT = Dialect(
    "ml_program", ops=[Global, GlobalLoad, GlobalLoadConst, GlobalStore], attributes=[ExternAttr]
)
