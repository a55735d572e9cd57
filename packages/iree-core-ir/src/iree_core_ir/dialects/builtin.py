"""builtin: ``module`` and ``unrealized_conversion_cast``."""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.attributes import Attribute, StringAttr, Type
from iree_core_ir.ir.declaration import optional_attribute, region, variadic_operand, variadic_result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value, single_block_region
from iree_core_ir.ir.traits import ISOLATED, NO_TERMINATOR, PURE, SINGLE_BLOCK, SYMBOL, SYMBOL_TABLE


class ModuleOp(
    Op, name="builtin.module", traits=(ISOLATED, SYMBOL_TABLE, SYMBOL, NO_TERMINATOR, SINGLE_BLOCK)
):
    """A container of symbols; the root of every compilation."""

    __slots__ = ()
    sym_name = optional_attribute(StringAttr)
    sym_visibility = optional_attribute(StringAttr)
    body = region()
    default_dialect = "builtin"

    @classmethod
    def make(cls, name: str | None = None) -> ModuleOp:
        """An empty module."""
        attributes: dict[str, Attribute] = {} if name is None else {"sym_name": StringAttr(name)}
        return cls((), (), attributes, (single_block_region(),))

    @classmethod
    def parse(cls, p: Any) -> ModuleOp:
        attributes: dict[str, Attribute] = {}
        visibility = p.accept_keyword(("private", "public", "nested"))
        if visibility is not None:
            attributes["sym_visibility"] = StringAttr(visibility)
        if p.kind == "symbol":
            attributes["sym_name"] = StringAttr(p.symbol_name())
        attributes.update(p.attribute_dict_with_keyword())
        return cls((), (), attributes, (p.region(),))

    def print(self, pr: Any) -> None:
        if self.sym_visibility is not None:
            pr.write(f" {self.sym_visibility.value}")
        if self.sym_name is not None:
            pr.write(f" {pr.symbol(self.sym_name.value)}")
        pr.attribute_dict(self.attributes, ("sym_name", "sym_visibility"), keyword=True)
        pr.write(" ")
        pr.region(self.body)


class UnrealizedConversionCast(Op, name="builtin.unrealized_conversion_cast", traits=(PURE,)):
    """Bridges types while a conversion is under way; none is left after it."""

    __slots__ = ()
    inputs = variadic_operand()
    outputs = variadic_result()
    assembly_format = "($inputs^ `:` type($inputs))? `to` type($outputs) attr-dict"

    @classmethod
    def make(cls, inputs: list[Value], types: list[Type]) -> UnrealizedConversionCast:
        return cls(inputs, types)


DIALECT = Dialect("builtin", ops=[ModuleOp, UnrealizedConversionCast])
