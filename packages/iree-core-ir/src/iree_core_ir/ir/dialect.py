"""Dialects: a file declares ops, attributes and types and lists them in a ``Dialect`` at its end.

Dialects are found by name when text or a pass first needs them: the built-in ones are modules of
``iree_core_ir.dialects``; a plugin's come through the hook ``iree_dialects``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.operation import Op


class Dialect:
    """Name and contents. Creating one registers it.

    ``attributes`` (types included) are classes with ``mnemonic = "dialect.name"`` and
    ``parse_parameters(cls, parser)`` / ``print_parameters(self, printer)``.
    """

    def __init__(
        self,
        name: str,
        *,
        ops: Iterable[type[Op]] = (),
        attributes: Iterable[type[Attribute]] = (),
        materialize_constant: Callable[..., Op] | None = None,
    ) -> None:
        self.name = name
        self.ops: dict[str, type[Op]] = {}
        self.attributes: dict[str, type[Attribute]] = {}
        self.materialize_constant = materialize_constant
        for op in ops:
            assert op.name.partition(".")[0] == name, op.name
            self.ops[op.name] = op
        for cls in attributes:
            self.attributes[cls.mnemonic] = cls
        register(self)


CORE = (
    "builtin",
    "func",
    "arith",
    "math",
    "complex",
    "index",
    "cf",
    "scf",
    "affine",
    "tensor",
    "linalg",
    "linalg_ext",
    "memref",
    "vector",
    "gpu",
    "sync",
    "amx",
    "x86vector",
    "bufferization",
    "ml_program",
    "util",
    "check",
    "ub",
)

_dialects: dict[str, Dialect] = {}
_ops: dict[str, type[Op]] = {}
_getters: dict[str, Callable[[], Any]] = {}


def register(dialect: Dialect) -> None:
    _dialects[dialect.name] = dialect
    _ops.update(dialect.ops)


def add_dialect_getter(name: str, getter: Callable[[], Any]) -> None:
    """Where to find dialect ``name`` when it is first needed (plugins)."""
    _getters[name] = getter


def find_dialect(name: str) -> Dialect | None:
    """The dialect, imported when need be; None when nobody provides it."""
    dialect = _dialects.get(name)
    if dialect is not None:
        return dialect
    if name in CORE:
        importlib.import_module(f"iree_core_ir.dialects.{name}")
    elif name in _getters:
        _getters[name]()
    else:
        from iree_core_ir.plugins import dialect_getters

        getter = dialect_getters().get(name)
        if getter is None:
            return None
        getter()
    return _dialects.get(name)


def find_op(name: str) -> type[Op] | None:
    """The op class called ``dialect.op``; None when unknown."""
    cls = _ops.get(name)
    if cls is None and find_dialect(name.partition(".")[0]) is not None:
        cls = _ops.get(name)
    return cls
