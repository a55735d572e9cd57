"""Attributes of ``vector``: combining kinds of reductions and iterator types of contractions."""

from __future__ import annotations

from iree_core_ir.ir.enums import EnumAttr


class CombiningKindAttr(EnumAttr):
    """How reductions combine; ``minnumf``/``maxnumf`` ignore NaN, ``minimumf``/``maximumf`` keep it."""

    __slots__ = ()
    mnemonic = "vector.kind"
    cases = (
        "add", "mul", "minui", "minsi", "minnumf", "maxui", "maxsi", "maxnumf", "and", "or", "xor",
        "minimumf", "maximumf",
    )  # fmt: skip


class IteratorTypeAttr(EnumAttr):
    """How a contraction walks a dim."""

    __slots__ = ()
    mnemonic = "vector.iterator_type"
    cases = ("parallel", "reduction")
