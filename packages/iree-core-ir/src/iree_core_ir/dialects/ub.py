"""``ub``: undefined behaviour made explicit, as in MLIR. Here poison reads as zero: nothing is undefined."""

from __future__ import annotations

from typing import Self

from iree_core_ir.ir.attributes import Attribute, Type
from iree_core_ir.ir.declaration import optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.traits import PURE, TERMINATOR


class PoisonAttr(Attribute):
    """``#ub.poison``."""

    __slots__ = ()
    mnemonic = "ub.poison"


class Poison(Op, name="ub.poison", traits=(PURE,)):
    """A value nobody may depend on."""

    value = optional_attribute(Attribute)
    result = result()
    assembly_format = "attr-dict (`<` $value^ `>`)? `:` type($result)"

    @classmethod
    def make(cls, type: Type) -> Self:
        return cls((), (type,))


class Unreachable(Op, name="ub.unreachable", traits=(TERMINATOR,)):
    """Control does not come here."""

    assembly_format = "attr-dict"

    @classmethod
    def make(cls) -> Self:
        return cls()


DIALECT = Dialect("ub", ops=[Poison, Unreachable], attributes=[PoisonAttr])
