"""Symbols of the ``vm`` dialect: modules, functions, exports, imports, globals and rodata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.func import FunctionLike
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    Type,
    TypeAttr,
    UnitAttr,
)
from iree_core_ir.ir.declaration import (
    attribute,
    optional_attribute,
    region,
)
from iree_core_ir.ir.operation import Op, OpMeta
from iree_core_ir.ir.traits import (
    ISOLATED,
    NO_TERMINATOR,
    SINGLE_BLOCK,
    SYMBOL,
    SYMBOL_TABLE,
)
from iree_core_ir.ir.types import i32, i64
from iree_vm.compiler.types import REFERENCE, REGISTER, SCALARS


def _visibility(p: Any, attributes: dict[str, Attribute]) -> None:
    word = p.accept_keyword(("private", "public", "nested"))
    if word is not None:
        attributes["sym_visibility"] = StringAttr(word)


def _print_visibility(op: Any, pr: Any) -> None:
    if op.sym_visibility is not None:
        pr.write(f" {op.sym_visibility.value}")


def types_of(array: Any) -> list[Any]:
    """The values in an array of type (or string) attributes."""
    return [entry.value for entry in array]


class Module(Op, name="vm.module", traits=(ISOLATED, SYMBOL_TABLE, SYMBOL, NO_TERMINATOR, SINGLE_BLOCK)):
    """A bytecode module; ``version`` is what importers may ask for."""

    sym_name = attribute(StringAttr)
    version = optional_attribute(IntegerAttr)
    body = region()

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes: dict[str, Attribute] = {"sym_name": StringAttr(p.symbol_name())}
        attributes.update(p.attribute_dict_with_keyword())
        return cls((), (), attributes, (p.region(),))

    def print(self, pr: Any) -> None:
        pr.write(f" {pr.symbol(self.sym_name.value)}")
        pr.attribute_dict(self.attributes, ("sym_name",), keyword=True)
        pr.write(" ")
        pr.region(self.body)


class Func(FunctionLike, name="vm.func", traits=(ISOLATED, SYMBOL)):
    """A function of the module."""

    def verify_op(self) -> None:
        super().verify_op()
        if self.is_declaration:
            raise VerifyError(self, "needs a body; functions of other modules are vm.import")
        for type in (*self.type.inputs, *self.type.results):
            if not REGISTER.accepts(type):
                raise VerifyError(self, f"{type} has no register")


class Export(Op, name="vm.export"):
    """Makes a function callable from outside as ``export_name``."""

    function_ref = attribute(SymbolRefAttr)
    export_name = attribute(StringAttr)

    @classmethod
    def make(cls, function: str, name: str | None = None) -> Self:
        return cls(
            (), (), {"function_ref": SymbolRefAttr(function), "export_name": StringAttr(name or function)}
        )

    @classmethod
    def parse(cls, p: Any) -> Self:
        name = p.symbol_name()
        op = cls.make(name)
        if p.accept("as"):
            p.expect("(")
            op.attributes["export_name"] = StringAttr(p.string())
            p.expect(")")
        op.attributes.update(p.attribute_dict())
        return op

    def print(self, pr: Any) -> None:
        pr.write(f" {pr.symbol(self.function_ref.root)}")
        if self.export_name.value != self.function_ref.root:
            pr.write(f" as({pr.text(self.export_name)})")
        pr.attribute_dict(self.attributes, ("function_ref", "export_name"))

    def verify_symbol_uses(self, lookup: Any) -> None:
        if not isinstance(lookup(self.function_ref), Func):
            raise VerifyError(self, f"'{self.function_ref}' does not name a vm.func")


class Import(Op, name="vm.import", traits=(SYMBOL,)):
    """Declares ``module.function``. A variadic argument is written ``%name : type ...``; ``tuple`` types
    repeat their elements.
    """

    sym_name = attribute(StringAttr)
    sym_visibility = optional_attribute(StringAttr)
    arguments = attribute(ArrayAttr)
    argument_names = attribute(ArrayAttr)
    variadic = attribute(DenseArrayAttr)
    outputs = attribute(ArrayAttr)
    is_optional = optional_attribute(UnitAttr)
    minimum_version = optional_attribute(IntegerAttr)

    @classmethod
    def make(
        cls,
        name: str,
        arguments: Sequence[tuple[str, Type, bool]],
        outputs: Sequence[Type],
        *,
        optional: bool = False,
        version: int = 0,
    ) -> Self:
        """``arguments``: (name, type, whether variadic) each."""
        attributes: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "sym_visibility": StringAttr("private"),
            "arguments": ArrayAttr([TypeAttr(t) for _, t, _ in arguments]),
            "argument_names": ArrayAttr([StringAttr(n) for n, _, _ in arguments]),
            "variadic": DenseArrayAttr(i64, [int(v) for _, _, v in arguments]),
            "outputs": ArrayAttr([TypeAttr(t) for t in outputs]),
        }
        if optional:
            attributes["is_optional"] = UnitAttr()
        if version:
            attributes["minimum_version"] = IntegerAttr(version, i32)
        return cls((), (), attributes)

    @property
    def entries(self) -> list[tuple[str, Any, bool]]:
        """(name, type, whether variadic) per argument."""
        return [
            (name, type, bool(variadic))
            for name, type, variadic in zip(
                types_of(self.argument_names), types_of(self.arguments), self.variadic.values, strict=True
            )
        ]

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes: dict[str, Attribute] = {}
        _visibility(p, attributes)
        optional = p.accept("optional")
        name = p.symbol_name()

        def argument() -> tuple[str, Type, bool]:
            label = ""
            if p.kind == "value":
                label = p.operand_name().removeprefix("%")
                p.expect(":")
            type = p.type()
            return label, type, p.accept("...")

        arguments = p.comma_list(argument)
        outputs: list[Type] = []
        if p.accept("->"):
            outputs = p.comma_list(p.type) if p.at("(") else [p.type()]
        op = cls.make(name, arguments, outputs, optional=optional)
        del op.attributes["sym_visibility"]
        op.attributes.update(attributes)
        op.attributes.update(p.attribute_dict_with_keyword())
        return op

    def print(self, pr: Any) -> None:
        _print_visibility(self, pr)
        parts = []
        for name, type, variadic in self.entries:
            label = f"%{name} : " if name else ""
            parts.append(f"{label}{pr.text(type)}{' ...' if variadic else ''}")
        pr.write(f"{' optional' if self.is_optional is not None else ''} {pr.symbol(self.sym_name.value)}")
        pr.write(f"({', '.join(parts)})")
        outputs = [pr.text(t) for t in types_of(self.outputs)]
        if outputs:
            pr.write(f" -> {outputs[0]}" if len(outputs) == 1 else f" -> ({', '.join(outputs)})")
        hidden = (
            "sym_name",
            "sym_visibility",
            "arguments",
            "argument_names",
            "variadic",
            "outputs",
            "is_optional",
        )
        pr.attribute_dict(self.attributes, hidden, keyword=True)


class _Global(Op):
    """A variable of the module."""

    sym_name = attribute(StringAttr)
    sym_visibility = optional_attribute(StringAttr)
    is_mutable = optional_attribute(UnitAttr)
    type = attribute(TypeAttr)
    initial_value = optional_attribute((IntegerAttr, FloatAttr))

    @classmethod
    def make(cls, name: str, type: Type, *, mutable: bool = False, initial: Attribute | None = None) -> Self:
        attributes: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "sym_visibility": StringAttr("private"),
            "type": TypeAttr(type),
        }
        if mutable:
            attributes["is_mutable"] = UnitAttr()
        if initial is not None:
            attributes["initial_value"] = initial
        return cls((), (), attributes)

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes: dict[str, Attribute] = {}
        _visibility(p, attributes)
        if p.accept("mutable"):
            attributes["is_mutable"] = UnitAttr()
        attributes["sym_name"] = StringAttr(p.symbol_name())
        attributes.update(p.attribute_dict())
        if p.accept("="):
            initial = p.attribute()
            attributes["initial_value"] = initial
            attributes["type"] = TypeAttr(initial.type)
        else:
            p.expect(":")
            attributes["type"] = TypeAttr(p.type())
        return cls((), (), attributes)

    def print(self, pr: Any) -> None:
        _print_visibility(self, pr)
        pr.write(f"{' mutable' if self.is_mutable is not None else ''} {pr.symbol(self.sym_name.value)}")
        pr.attribute_dict(
            self.attributes, ("sym_name", "sym_visibility", "is_mutable", "type", "initial_value")
        )
        if self.initial_value is not None:
            pr.write(f" = {pr.text(self.initial_value)}")
        else:
            pr.write(f" : {pr.text(self.type.value)}")

    def verify_op(self) -> None:
        kind = self.name.rpartition(".")[2]
        constraint = REFERENCE if kind == "ref" else None
        if not (constraint.accepts(self.type.value) if constraint else self.type.value is SCALARS[kind]):
            raise VerifyError(self, f"type {self.type.value} is not {kind}")


def _global(kind: str) -> type[_Global]:
    made: Any = OpMeta(
        f"Global{kind.capitalize()}",
        (_Global,),
        {"__module__": __name__, "__doc__": f"A variable of type {kind}."},
        name=f"vm.global.{kind}",
        traits=(SYMBOL,),
    )
    cls: type[_Global] = made
    return cls


GLOBALS: dict[str, type[_Global]] = {kind: _global(kind) for kind in (*SCALARS, "ref")}
"""Register type -> class of its global."""


class Rodata(Op, name="vm.rodata", traits=(SYMBOL,)):
    """Read-only bytes: a string, or dense elements in little-endian order."""

    sym_name = attribute(StringAttr)
    sym_visibility = optional_attribute(StringAttr)
    value = attribute(Attribute)
    alignment = optional_attribute(IntegerAttr)

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes: dict[str, Attribute] = {}
        _visibility(p, attributes)
        attributes["sym_name"] = StringAttr(p.symbol_name())
        attributes.update(p.attribute_dict())
        attributes["value"] = p.attribute()
        return cls((), (), attributes)

    def print(self, pr: Any) -> None:
        _print_visibility(self, pr)
        pr.write(f" {pr.symbol(self.sym_name.value)}")
        pr.attribute_dict(self.attributes, ("sym_name", "sym_visibility", "value"))
        pr.write(f" {pr.text(self.value)}")

    @property
    def data(self) -> bytes:
        """The bytes. Raises ValueError for an attribute that has none."""
        if isinstance(self.value, StringAttr):
            return self.value.value.encode()
        to_array = getattr(self.value, "to_array", None)
        if to_array is None:
            raise ValueError(f"{self.value} has no bytes")
        array = to_array()
        return bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())
