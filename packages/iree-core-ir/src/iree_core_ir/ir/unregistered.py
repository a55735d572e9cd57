"""Ops of dialects that are not loaded, carried in generic form."""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.operation import Op


class UnregisteredOp(Op):
    """An op of an unknown dialect, kept in generic form (only under the allow flag)."""

    __slots__ = ("inherent", "op_name")
    op_name: str
    inherent: frozenset[str]
    """Attributes that stood in ``<{...}>`` and are printed there again."""

    def __init__(self, op_name: str, *args: Any, **kwargs: Any) -> None:
        self.op_name = op_name
        self.inherent = frozenset()
        super().__init__(*args, **kwargs)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.op_name

    def _copy_extra(self, copy: Any) -> None:
        copy.op_name = self.op_name
        copy.inherent = self.inherent
