"""Types of the ``vm`` dialect: ``!vm.ref<T>`` (``<?>``: of anything), ``!vm.buffer``, ``!vm.list<T>``.

i32, i64, f32 and f64 are values; every other type lives in a ref register.
"""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.declaration import TypeConstraint
from iree_core_ir.ir.types import FloatType, IntegerType, f32, f64, i32, i64

SCALARS: dict[str, Type] = {"i32": i32, "i64": i64, "f32": f32, "f64": f64}


class _Reference(Type):
    """A reference to ``element``; None prints as ``?``."""

    __slots__ = _fields = ("element",)
    element: Type | None

    @classmethod
    def parse_parameters(cls, p: Any) -> Any:
        p.expect("<")
        element = None if p.accept("?") else p.type()
        p.expect(">")
        return cls(element)

    def print_parameters(self, printer: Any) -> str:
        return f"<{'?' if self.element is None else printer.text(self.element)}>"


class RefType(_Reference):
    """``!vm.ref<T>``."""

    __slots__ = ()
    mnemonic = "vm.ref"


class ListType(_Reference):
    """``!vm.list<T>``; the elements of any list are variants, T is what the program puts there."""

    __slots__ = ()
    mnemonic = "vm.list"


class BufferType(Type):
    """``!vm.buffer``: bytes on the host."""

    __slots__ = ()
    mnemonic = "vm.buffer"

    @classmethod
    def parse_parameters(cls, p: Any) -> BufferType:
        return cls()

    def print_parameters(self, printer: Any) -> str:
        return ""


ANY_REF = RefType(None)
BUFFER = BufferType()


def register_type(type: Type) -> str:
    """The bank a type lives in. Raises ValueError for integers and floats of other widths."""
    for name, scalar in SCALARS.items():
        if type is scalar:
            return name
    if isinstance(type, IntegerType | FloatType):
        raise ValueError(f"{type} has no register")
    return "ref"


REFERENCE = TypeConstraint("a reference", lambda t: not isinstance(t, IntegerType | FloatType))
REGISTER = TypeConstraint(
    "i32, i64, f32, f64 or a reference", lambda t: t in SCALARS.values() or REFERENCE.accepts(t)
)
