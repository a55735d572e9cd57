"""Attributes of ``linalg``: iterator types and the function names that some named ops take."""

from __future__ import annotations

from iree_core_ir.ir.enums import EnumAttr


class IteratorTypeAttr(EnumAttr):
    """How the iterations of a loop may be ordered."""

    __slots__ = ()
    mnemonic = "linalg.iterator_type"
    cases = ("parallel", "reduction", "window")


class TypeFnAttr(EnumAttr):
    """How a named op converts integers: as signed or as unsigned."""

    __slots__ = ()
    mnemonic = "linalg.type_fn"
    cases = ("cast_signed", "cast_unsigned")


class UnaryFnAttr(EnumAttr):
    """The function of ``linalg.elemwise_unary``."""

    __slots__ = ()
    mnemonic = "linalg.unary_fn"
    cases = (
        "exp", "log", "abs", "ceil", "floor", "negf", "reciprocal", "round", "sqrt", "rsqrt", "square",
        "tanh", "erf",
    )  # fmt: skip


class ElementwiseKindAttr(EnumAttr):
    """The function of ``linalg.elementwise``: unary, binary or ternary."""

    __slots__ = ()
    mnemonic = "linalg.elementwise_kind"
    cases = (
        "exp", "log", "abs", "ceil", "floor", "negf", "reciprocal", "round", "sqrt", "rsqrt", "square",
        "tanh", "erf", "add", "sub", "mul", "div", "div_unsigned", "max_signed", "min_signed",
        "max_unsigned", "min_unsigned", "powf", "select",
    )  # fmt: skip


class BinaryFnAttr(EnumAttr):
    """The function of ``linalg.elemwise_binary``."""

    __slots__ = ()
    mnemonic = "linalg.binary_fn"
    cases = (
        "add", "sub", "mul", "div", "div_unsigned", "max_signed", "min_signed", "max_unsigned",
        "min_unsigned", "powf",
    )  # fmt: skip
